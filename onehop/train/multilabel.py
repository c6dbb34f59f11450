"""From a recipe with `task = "multilabel"` to everything a run trains: labels, their separator, the model.

What is minimised is the binary cross-entropy of each label, in the mean over labels, so that rates do not depend on how
many there are. A text's labels are carried as tokens: the number of labels, which says that here a text begins, and the
ids of those it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from onehop.data import Batch, PairStore, TrainingBatches, evaluation_batches
from onehop.data.label_sets import divided_at, read
from onehop.data.labelled import label_cells
from onehop.errors import DataError
from onehop.files import Run, write_text
from onehop.metrics.multilabel import FEWEST
from onehop.nn.masks import places
from onehop.tasks.multilabel import Multilabeller, MultilabelSettings
from onehop.text import Ledger, Tokenizer
from onehop.train.choose import Tell
from onehop.train.classify_recipe import encoder_faults
from onehop.train.jobs import Job
from onehop.train.labels import find_label_sets
from onehop.train.multilabel_card import FoundSets, LabelledSets, multilabel_card
from onehop.train.multilabel_recipe import MultilabelRecipe
from onehop.train.objective import Forgetful, Objective
from onehop.train.parent import Parent
from onehop.train.progress import Progress
from onehop.train.texts import chosen, counted, inherit, read_data


@dataclass(frozen=True)
class PreparedMultilabeller:
    """What `fit` needs; see `onehop.train.jobs.Ready`.

    Args:
        recipe: With everything that was chosen filled in.
        task: With fresh weights, or those of the parent.
        batches: For training.
        validation: Held-out texts with their labels.
        num_pairs: Training texts.
        store: The text that the numbers of a batch's examples refer to.
        limited: What the length limit did to the validation texts.
        parent: The model that the run continues, if it does.
        folder: Of the run.
    """

    recipe: MultilabelRecipe
    task: Multilabeller
    batches: TrainingBatches
    validation: LabelledSets
    num_pairs: int
    store: PairStore
    limited: Ledger
    parent: Parent | None = None
    folder: Path = Path()

    unit = "texts"

    def objective(self, device: str) -> Objective:
        """Return the loss of a batch."""
        train, task, kind = self.recipe.train, self.task, torch.device(device).type
        narrow = train.precision == "bfloat16"

        def loss(model: Any, batch: Batch) -> Tensor:
            with torch.autocast(kind, torch.bfloat16, enabled=narrow):
                return loss_sum(task, model, batch, train.label_smoothing)

        return Forgetful(loss)

    def validator(self) -> LabelledSets:
        """Return the held-out texts."""
        return self.validation

    def sample_batch(self, rows: int, words: int) -> Batch:
        """Return a batch of texts of so many tokens."""
        row = [[len(self.task.labels)]] * rows
        return counted(next(evaluation_batches([[5] * words] * rows, row, rows * (words + 1))))

    def tokenizers(self) -> dict[str, Tokenizer]:
        """Return the one there is."""
        return {"text": self.task.tokenizer}

    def card(self, progress: Progress, loss: float, found: FoundSets) -> str:
        """Return the model card, and write the report that stands beside the package."""
        if len(self.validation):
            write_text(Run(self.folder).page, self.validation.page(found))
        return multilabel_card(self, progress, loss, found)


def loss_sum(task: Multilabeller, model: Any, batch: Batch, smoothing: float = 0.0) -> Tensor:
    """Return the summed loss of the texts: of each the mean over labels of the binary cross-entropy, in nats.

    Args:
        task: Says how rows are read.
        model: Its model.
        batch: Texts, packed or a row each, with their labels as `LabelSetIds` encodes them.
        smoothing: Share of a label's mass that is spread over having it and not.
    """
    source = task.source(batch.source, batch.source_lengths, batch.source_segments)
    logits = model(source).float()
    wanted = sets_of(batch, len(task.labels)).to(logits.dtype)
    wanted = wanted * (1 - smoothing) + smoothing / 2
    return binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(1).sum()


def sets_of(batch: Batch, size: int) -> Tensor:
    """Return whether each text of a batch has each of so many labels, `(N, size)` bool, text by text."""
    segments = batch.target_segments
    if segments is None:
        ends = batch.target_lengths.unsqueeze(1) - 1  # where the end mark stands
        real = torch.arange(batch.target.size(1), device=batch.target.device) < ends
    else:
        follows = torch.zeros_like(segments, dtype=torch.bool)
        follows[:, :-1] = places(segments)[:, 1:] > 0
        real = follows & (segments >= 0)
    tokens = batch.target[real]
    texts = (tokens == size).cumsum(0) - 1  # each begins with that token
    table = torch.zeros(int(texts[-1]) + 1, size + 1, dtype=torch.bool, device=tokens.device)
    table[texts, tokens] = True
    return table[:, :size]


class LabelSetIds:
    """Encodes the labels of a text as the number of labels, and the ids of those it has.

    Args:
        labels: In the order of their ids.
        names: Of labels that the data call otherwise.

    Attributes:
        labels: The same, from which the length ledger knows whose texts were too long.

    Example:
        >>> LabelSetIds(["dark", "loud"], {}).encode_batch(['["loud"]', "[]"])
        [[2, 1], [2]]
    """

    def __init__(self, labels: Sequence[str], names: dict[str, str]) -> None:
        self.ids = {label: place for place, label in enumerate(labels)}
        self.ids |= {value: self.ids[name] for value, name in names.items() if name in self.ids}
        self.labels, self.size = tuple(labels), len(labels)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text's labels."""
        return [[self.size, *sorted({self.ids[label] for label in read(text)})] for text in texts]


# ------------------------------------------------------------------------------------------------ preparing


def prepare(
    recipe: MultilabelRecipe, folder: Path, tell: Tell, device: str = "cpu", parent: Parent | None = None
) -> PreparedMultilabeller:
    """Read the data, choose what the recipe leaves open, and build the model.

    Args:
        recipe: As the user wrote it, or as it was inherited.
        folder: Where a large corpus is spooled.
        tell: Hears what was chosen and why.
        device: Where it will train.
        parent: The model to continue.
    """
    recipe = with_separator(recipe, tell)
    read_in = read_data(recipe, folder, tell)
    labels = find_label_sets(recipe, read_in.store, read_in.split, parent, tell)
    made = chosen(recipe, read_in, parent, tell, device, best="micro_f1")
    aliases = recipe.data.names or (getattr(parent.task.settings, "aliases", {}) if parent else {})
    settings = MultilabelSettings(
        **made.settings(read_in.columns), labels=labels, aliases=aliases, separator=recipe.data.label_separator
    )
    torch.manual_seed(made.recipe.train.seed)
    task = made.weigh(Multilabeller.build(settings, made.tokenizer))
    ids = LabelSetIds(labels, recipe.data.names)
    batches = made.batches(read_in, task.documents, ids)
    held = made.held_out(read_in, task.documents, ids, tell)
    wanted = np.zeros((len(held.rows), len(labels)), np.bool_)
    for row, target in enumerate(held.targets):
        wanted[row, target[1:]] = True
    if len(held.rows) < FEWEST:
        tell(f"thresholds: one half for every label: fewer than {FEWEST} texts for validation")
    validation = LabelledSets(task, held.texts, held.rows, wanted, made.recipe.train.tokens)
    return PreparedMultilabeller(
        made.recipe, task, batches, validation, read_in.num_pairs, read_in.store, held.ledger, parent, folder
    )  # fmt: skip


def with_separator(recipe: MultilabelRecipe, tell: Tell) -> MultilabelRecipe:
    """Return the recipe with what stands between the labels of a cell, found by what cells have in them."""
    if recipe.data.label_separator:
        return recipe
    cells: dict[str, None] = {}  # each once
    for file in recipe.data.train:
        with suppress(DataError):  # told with all else when all is read
            cells.update((cell, None) for cell in label_cells(file, recipe.data.columns))
    mark = divided_at(cells)
    if mark:
        tell(f"data: labels are divided at {mark!r} (data.label_separator)")
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"label_separator": mark})})


JOB = Job(MultilabelRecipe, encoder_faults, prepare, inherit)
