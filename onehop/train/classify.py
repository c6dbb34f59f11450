"""From a recipe with `task = "classify"` to everything a run trains: labels, vocabulary, sizes, the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from onehop.data import Batch, PairStore, TrainingBatches, evaluation_batches
from onehop.nn.loss import linear_cross_entropy, linear_r_drop
from onehop.nn.masks import places
from onehop.tasks.classification import Classifier
from onehop.tasks.classify_settings import ClassifySettings
from onehop.text import Ledger, Tokenizer
from onehop.train.choose import Tell
from onehop.train.classify_card import Classified, LabelledTexts, classifier_card
from onehop.train.classify_recipe import ClassifyRecipe, ClassifyTrain, encoder_faults
from onehop.train.jobs import Job
from onehop.train.labels import LabelIds, find_labels, judged
from onehop.train.objective import Forgetful, Objective
from onehop.train.parent import Parent
from onehop.train.progress import Progress
from onehop.train.texts import chosen, counted, inherit, read_data


@dataclass(frozen=True)
class PreparedClassifier:
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
        weights: Of the labels, `(C,)`; None where all texts count alike.
    """

    recipe: ClassifyRecipe
    task: Classifier
    batches: TrainingBatches
    validation: LabelledTexts
    num_pairs: int
    store: PairStore
    limited: Ledger
    parent: Parent | None = None
    weights: Tensor | None = None

    unit = "texts"

    def objective(self, device: str) -> Objective:
        """Return the loss of a batch."""
        train, task, kind = self.recipe.train, self.task, torch.device(device).type
        narrow = train.precision == "bfloat16"

        def loss(model: Any, batch: Batch) -> Tensor:
            with torch.autocast(kind, torch.bfloat16, enabled=narrow):
                return loss_sum(task, model, batch, train.label_smoothing, train.r_drop, self.weights)

        return Forgetful(loss)

    def validator(self) -> LabelledTexts:
        """Return the held-out texts."""
        return self.validation

    def sample_batch(self, rows: int, words: int) -> Batch:
        """Return a batch of texts of so many tokens."""
        return counted(next(evaluation_batches([[5] * words] * rows, [[0]] * rows, rows * (words + 1))))

    def tokenizers(self) -> dict[str, Tokenizer]:
        """Return the one there is."""
        return {"text": self.task.tokenizer}

    def card(self, progress: Progress, loss: float, found: Classified) -> str:
        """Return the model card."""
        return classifier_card(self, progress, loss, found)


def loss_sum(
    task: Classifier, model: Any, batch: Batch, smoothing: float = 0.0, r_drop: float = 0.0,
    weights: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the summed cross-entropy of the texts' labels, in nats.

    Args:
        task: Says how rows are read.
        model: Its model.
        batch: Texts, packed or a row each, with the ids of their labels as targets.
        smoothing: See `onehop.nn.cross_entropy`.
        r_drop: The alpha of `onehop.nn.linear_r_drop`, for which each text passes twice; 0 for once.
        weights: How much a text of each label counts; not with `r_drop`.
    """
    if r_drop:
        batch = batch.map(lambda rows: rows.repeat_interleave(2, 0))
    source = task.source(batch.source, batch.source_lengths, batch.source_segments)
    pooled = model.dropout(model.pool(source))
    if r_drop:
        return r_dropped(model, batch, pooled, smoothing, r_drop)
    if weights is not None:
        logits = model.output(pooled).float()
        labels = labels_of(batch)
        # a text counts by its own label: torch would weigh what smoothing spreads by the labels that get it
        each = cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
        return (each * weights.to(each)[labels]).sum()
    return linear_cross_entropy(pooled, model.output.weight, model.output.bias, labels_of(batch), smoothing)


def r_dropped(model: Any, batch: Batch, pooled: Tensor, smoothing: float, alpha: float) -> Tensor:
    """Return the loss of R-Drop (Liang 2021) of a batch whose rows all stand twice, one behind the other.

    Args:
        model: With the last map.
        batch: Of twice as many rows; packed ones hold the same texts in the same order.
        pooled: The vectors of its texts.
        smoothing: See `onehop.nn.cross_entropy`.
        alpha: See `onehop.nn.linear_r_drop`.
    """
    labels = labels_of(batch)
    if batch.target_segments is None:
        both, targets = pooled.unflatten(0, (-1, 2)), labels[::2]
    else:
        texts = (batch.target_segments.amax(1) + 1).tolist()  # of each row
        starts = [sum(texts[:row]) for row in range(len(texts))]
        first = [n for row in range(0, len(texts), 2) for n in range(starts[row], starts[row] + texts[row])]
        second = [n for row in range(1, len(texts), 2) for n in range(starts[row], starts[row] + texts[row])]
        both, targets = torch.stack([pooled[first], pooled[second]], 1), labels[first]
    return linear_r_drop(both, model.output.weight, model.output.bias, targets, smoothing, alpha)


def labels_of(batch: Batch) -> Tensor:
    """Return the id of each text's label, text by text: the token that stands before its end mark."""
    if batch.target_segments is None:
        return batch.target[:, 0]
    first = (places(batch.target_segments) == 0) & (batch.target_segments >= 0)
    return batch.target[first]


# ------------------------------------------------------------------------------------------------ preparing


def prepare(
    recipe: ClassifyRecipe, folder: Path, tell: Tell, device: str = "cpu", parent: Parent | None = None
) -> PreparedClassifier:
    """Read the data, choose what the recipe leaves open, and build the model.

    Args:
        recipe: As the user wrote it, or as it was inherited.
        folder: Where a large corpus is spooled.
        tell: Hears what was chosen and why.
        device: Where it will train.
        parent: The model to continue.
    """
    read = read_data(recipe, folder, tell)
    counts = find_labels(recipe, read.store, read.split, parent, tell)
    labels, recipe = list(counts), judged(recipe, counts, tell)
    made = chosen(recipe, read, parent, tell, device, best="accuracy")
    aliases = recipe.data.names or (getattr(parent.task.settings, "aliases", {}) if parent else {})
    settings = ClassifySettings(**made.settings(read.columns), labels=labels, aliases=aliases)
    torch.manual_seed(made.recipe.train.seed)
    task = made.weigh(Classifier.build(settings, made.tokenizer))
    ids = LabelIds(labels, recipe.data.names, "training data")
    batches = made.batches(read, task.documents, ids)
    held = made.held_out(read, task.documents, ids, tell)
    train = made.recipe.train
    validation = LabelledTexts(
        task, held.texts, held.rows, [label for label, in held.targets], train.tokens, train.answer_accuracy,
        told_of(train, read.num_pairs),
    )  # fmt: skip
    weights = balanced(list(counts.values())) if train.class_weights == "balanced" else None
    return PreparedClassifier(
        made.recipe, task, batches, validation, read.num_pairs, read.store, held.ledger, parent, weights
    )  # fmt: skip


def told_of(train: ClassifyTrain, texts: int) -> dict[str, str]:
    """Return what a report and a card tell of the training."""
    names = {"mcc": "Matthews' correlation", "macro_f1": "macro F1", "loss": "the loss", "accuracy": "accuracy"}
    alike = "labels count alike, so probabilities are those of labels that are equally frequent"
    return {
        "trained on": f"{texts:,} texts" + (f"; {alike}" if train.class_weights == "balanced" else ""),
        "model kept": f"the best by {names[train.best or 'accuracy']} of the texts for validation",
    }


def balanced(counts: Sequence[int]) -> Tensor:
    """Return a weight for each label by which all that texts have count alike, and texts 1 in the mean.

    Example:
        >>> balanced([30, 10, 0])
        tensor([0.6667, 2.0000, 0.0000])
    """
    present = sum(count > 0 for count in counts)
    return torch.tensor([sum(counts) / (present * count) if count else 0.0 for count in counts])


JOB = Job(ClassifyRecipe, encoder_faults, prepare, inherit)
