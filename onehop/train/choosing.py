"""From a recipe with `task = "choose"` to everything a run trains: choices, rows of their options, the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from onehop.data import Batch, Pair, PairStore, TrainingBatches, evaluation_batches, hold_out
from onehop.data.choices import Choice, first_number, open_choices
from onehop.errors import ConfigError, DataError
from onehop.files import Run, write_text
from onehop.tasks.choosing import Chooser, ChooseSettings
from onehop.tasks.classify_settings import DocumentLimits
from onehop.text import EOS, Ledger, Tokenizer
from onehop.train.answer import Numbers
from onehop.train.choose import Tell, precision
from onehop.train.choosing_card import ChosenFigures, HeldOutChoices, chooser_card
from onehop.train.choosing_recipe import ChooseRecipe
from onehop.train.encoded import limited_rows, stored
from onehop.train.jobs import Job
from onehop.train.look import Rows, look
from onehop.train.objective import Forgetful, Objective
from onehop.train.parent import Parent, notices
from onehop.train.pretrained import begin, begin_with, is_pretrained
from onehop.train.progress import Progress
from onehop.train.texts import choose, counted, inherit


@dataclass(frozen=True)
class PreparedChooser:
    """What `fit` needs; see `onehop.train.jobs.Ready`.

    Args:
        recipe: With everything that was chosen filled in.
        task: With a new head, or the weights of the parent.
        batches: For training.
        validation: Held-out choices.
        num_pairs: Choices to train on.
        store: Rows within the limit that the numbers of a batch's examples refer to.
        divided: What the length limit did to the training choices.
        limited: What it did to those for validation.
        parent: The model that the run continues.
        folder: Of the run.
    """

    recipe: ChooseRecipe
    task: Chooser
    batches: TrainingBatches
    validation: HeldOutChoices
    num_pairs: int
    store: PairStore
    divided: Ledger
    limited: Ledger
    parent: Parent | None = None
    folder: Path = Path()

    unit = "choices"

    def objective(self, device: str) -> Objective:
        """Return the loss of a batch."""
        task, kind = self.task, torch.device(device).type
        narrow = self.recipe.train.precision == "bfloat16"

        def loss(model: Any, batch: Batch) -> Tensor:
            with torch.autocast(kind, torch.bfloat16, enabled=narrow):
                return loss_sum(task, model, batch)

        return Forgetful(loss)

    def validator(self) -> HeldOutChoices:
        """Return the held-out choices."""
        return self.validation

    def sample_batch(self, rows: int, words: int) -> Batch:
        """Return a batch of choices of two options, of so many tokens, half of them a context."""
        context, option = [5] * (words // 2), [self.task.documents.mark, *[5] * max(1, words // 4)]
        return counted(next(evaluation_batches([[*context, *option, *option]] * rows, [[0]] * rows, 1 << 40)))

    def tokenizers(self) -> dict[str, Tokenizer]:
        """Return the one there is."""
        return {"text": self.task.tokenizer}  # type: ignore[dict-item]

    def card(self, progress: Progress, loss: float, found: ChosenFigures) -> str:
        """Return the model card, and write the report that stands beside the package."""
        if len(self.validation):
            write_text(Run(self.folder).page, self.validation.page(found))
        return chooser_card(self, progress, loss, found)


def loss_sum(task: Chooser, model: Any, batch: Batch) -> Tensor:
    """Return the summed cross-entropy of the right options, in nats.

    Args:
        task: Says how rows are read.
        model: Its model.
        batch: Choices, with the place of the right option as target.
    """
    ends = (batch.source_lengths - 1).tolist()  # where the end mark stands
    each = [task.documents.expand(row[:end]) for row, end in zip(batch.source.tolist(), ends, strict=True)]
    rows = [torch.tensor([*option, EOS]) for options in each for option in options]
    lengths = torch.tensor([len(row) for row in rows], device=batch.source.device)
    tokens = pad_sequence(rows, batch_first=True).to(batch.source.device)
    scores = model(task.source(tokens, lengths)).squeeze(-1)
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    counts = [len(options) for options in each]
    padded = pad_sequence(list(scores.split(counts)), batch_first=True, padding_value=float("-inf"))
    return F.cross_entropy(padded, batch.target[:, 0], reduction="sum")


# ------------------------------------------------------------------------------------------------ preparing


def prepare(
    recipe: ChooseRecipe, folder: Path, tell: Tell, device: str = "cpu", parent: Parent | None = None
) -> PreparedChooser:
    """Read the choices, choose what the recipe leaves open, and build the model.

    Args:
        recipe: As it was inherited.
        folder: Where a large corpus is spooled.
        tell: Hears what was chosen and why.
        device: Where it will train.
        parent: The model to continue.

    Raises:
        ConfigError: There is none.
        DataError: A choice cannot be used.
    """
    if parent is None:
        problem = "choices are learnt by a pretrained encoder only"
        raise ConfigError(problem, "Name one: --init CHECKPOINT (in a recipe: train.init).", "train.init")
    recipe = recipe.model_copy(
        update={"train": precision(recipe.train, device, tell, pretrained=is_pretrained(parent))}
    )
    recipe, training, held_out = read_data(recipe, folder, tell)
    task = new_model(recipe, parent)
    ledger = Ledger.of_pairs("train", task.settings.text.max_length, recipe.text.long or "cut")
    limited = Ledger.of_pairs("valid", ledger.max_length, ledger.policy)

    def encoded(some: Sequence[Choice], counts: Ledger) -> Iterator[tuple[Choice, list[int]]]:
        found = limited_rows(some, task.rows, task.documents.limited, counts)
        return ((one, row) for one, row in found if row is not None)

    def of_file(number: int) -> Iterator[tuple[str, list[int], str]]:
        own, base = [one for file, one in training if file == number], task.settings.first_number
        return ((one.where, row, str(one.index(base))) for one, row in encoded(own, ledger))

    store, mean = stored(recipe.data.train, of_file, folder)
    held = list(encoded(held_out, limited))
    for each in (ledger, limited):
        if summary := each.summary():
            tell(summary)
    if not len(store):
        raise DataError(f"no choice is left to train on; {ledger.summary()}", "Give a larger text.max_length.")
    recipe = choose(recipe, len(store), mean, tell, pretrained=is_pretrained(parent))
    batches = TrainingBatches(
        store, Numbers(), Numbers(), batch_tokens=recipe.train.tokens, max_length=1 << 20, long_policy="error",
        seed=recipe.train.seed, finish=counted,
    )  # fmt: skip
    base = task.settings.first_number
    validation = HeldOutChoices(
        task, [one.text for one, _ in held], [row for _, row in held], [one.index(base) for one, _ in held],
        recipe.train.tokens,
    )  # fmt: skip
    return PreparedChooser(recipe, task, batches, validation, len(store), store, ledger, limited, parent, folder)


def read_data(
    recipe: ChooseRecipe, folder: Path, tell: Tell
) -> tuple[ChooseRecipe, list[tuple[int, Choice]], list[Choice]]:
    """Return the recipe with its columns, the training choices with the numbers of their files, and held-out ones."""
    data, found, valid = recipe.data, list[tuple[int, Choice]](), list[Choice]()
    files = [*enumerate(data.train), *((-1, file) for file in data.valid)]
    for number, file in files:
        opened = open_choices(file, data.columns)
        if data.text_columns and len(opened.contexts) != len(data.text_columns):
            problem = f"{len(opened.contexts)} columns of context where the first file has {len(data.text_columns)}"
            raise DataError(problem, "Name them: data.text_columns", file)
        if not data.text_columns:
            data = data.model_copy(update={"text_columns": list(opened.contexts)})
        named = f"context from {', '.join(opened.contexts)}; options from {', '.join(opened.options)}"
        tell(f"data: {file}: {named}; the right one from {opened.label!r}")
        if number < 0:
            valid += opened.rows
        else:
            found += ((number, one) for one in opened.rows)
    base = first_number(one for _, one in found) if data.first_number is None else data.first_number
    right = [one.index(base) for _, one in found]  # refused before anything is written
    for one in valid:
        one.index(base)
    store = PairStore(folder)
    store.add((Pair(one.text, str(place)) for (_, one), place in zip(found, right, strict=True)), "choices")
    held = set() if data.valid else set(hold_out(store).held.tolist())
    training = [one for number, one in enumerate(found) if number not in held]
    valid = valid or [one for number, (_, one) in enumerate(found) if number in held]
    how = "from your files" if data.valid else "held out by hash of the text"
    tell(f"data: {len(training):,} training choices, {len(valid):,} for validation ({how})")
    _look(training, base, tell)
    if data.check:
        given = [Pair(one.text, str(one.index(base))) for one in valid] if data.valid else []
        rows = (Pair(one.text, str(one.index(base))) for _, one in training)
        asked = Rows(rows, len(training), lambda number: training[number][1].where)
        look("answers", asked, Rows(given, len(given), lambda number: valid[number].where), tell)
    return recipe.model_copy(update={"data": data.model_copy(update={"first_number": base})}), training, valid


def _look(training: Sequence[tuple[int, Choice]], base: int, tell: Tell) -> None:
    """Tell how the right options are spread, and what looks wrong with that."""
    places = [one.index(base) for _, one in training]
    sizes = sorted({len(one.options) for _, one in training})
    counts = [places.count(place) for place in range(sizes[-1])] if sizes else []
    between = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else f"{sizes[0]}" if sizes else "no"
    tell(f"data: {between} options, the first numbered {base}; right is the 1st, 2nd, ... in {counts}")
    if max(counts, default=0) == len(places) > 1:
        problem = f"the right option is always number {places[0] + base}: there is nothing to learn"
        raise DataError(problem, "Check the column of the right option: data.label_column", "data.train")


def new_model(recipe: ChooseRecipe, parent: Parent) -> Chooser:
    """Build what is trained: an encoder with a new head, or the parent as it is."""
    theirs: Any = parent.task.settings
    settings = ChooseSettings(
        architecture=recipe.model["architecture"],
        model={key: value for key, value in recipe.model.items() if key != "architecture"},
        rows=theirs.rows,
        head=recipe.head,
        text=DocumentLimits(max_length=recipe.text.max_length or 1, sentences=False),
        columns=recipe.data.text_columns,
        option_columns=recipe.data.option_columns,
        first_number=recipe.data.first_number or 0,
        language=recipe.data.language,
        license=notices(recipe.data.license, theirs.license),
        attribution=notices(recipe.data.attribution, getattr(theirs, "attribution", "")),
    )
    torch.manual_seed(recipe.train.seed)
    task = Chooser.build(settings, parent.task.tokenizer)
    begin(task, parent, recipe.train, begin_with)
    return task


JOB = Job(ChooseRecipe, lambda tables: [], prepare, inherit)
