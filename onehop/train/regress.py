"""From a recipe with `task = "regress"` to everything a run trains: numbers, their scale, the model.

What is minimised is the squared error in units of the training numbers' deviation, so that rates and schedules do not
depend on whether the numbers are stars or prices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onehop.data import Batch, PairStore, TrainingBatches, evaluation_batches
from onehop.errors import DataError
from onehop.tasks.regression import Regressor, RegressSettings, number
from onehop.text import Ledger, Tokenizer
from onehop.train.choose import Tell
from onehop.train.classify import labels_of
from onehop.train.classify_recipe import encoder_faults
from onehop.train.jobs import Job
from onehop.train.look import look_at_store
from onehop.train.objective import Forgetful, Objective
from onehop.train.parent import Parent
from onehop.train.progress import Progress
from onehop.train.regress_card import NumberedTexts, Regressed, regressor_card
from onehop.train.regress_recipe import RegressRecipe
from onehop.train.texts import Read, chosen, counted, inherit, read_data

NEARLY = 0.9  # share of one number, from which on people are told


@dataclass(frozen=True)
class PreparedRegressor:
    """What `fit` needs; see `onehop.train.jobs.Ready`.

    Args:
        recipe: With everything that was chosen filled in.
        task: With fresh weights, or those of the parent.
        batches: For training.
        validation: Held-out texts with their numbers.
        num_pairs: Training texts.
        store: The text that the numbers of a batch's examples refer to.
        limited: What the length limit did to the validation texts.
        parent: The model that the run continues, if it does.
    """

    recipe: RegressRecipe
    task: Regressor
    batches: TrainingBatches
    validation: NumberedTexts
    num_pairs: int
    store: PairStore
    limited: Ledger
    parent: Parent | None = None

    unit = "texts"

    def objective(self, device: str) -> Objective:
        """Return the loss of a batch."""
        task, kind = self.task, torch.device(device).type
        narrow = self.recipe.train.precision == "bfloat16"

        def loss(model: Any, batch: Batch) -> Tensor:
            with torch.autocast(kind, torch.bfloat16, enabled=narrow):
                return loss_sum(task, model, batch)

        return Forgetful(loss)

    def validator(self) -> NumberedTexts:
        """Return the held-out texts."""
        return self.validation

    def sample_batch(self, rows: int, words: int) -> Batch:
        """Return a batch of texts of so many tokens."""
        return counted(next(evaluation_batches([[5] * words] * rows, [[0]] * rows, rows * (words + 1))))

    def tokenizers(self) -> dict[str, Tokenizer]:
        """Return the one there is."""
        return {"text": self.task.tokenizer}

    def card(self, progress: Progress, loss: float, found: Regressed) -> str:
        """Return the model card."""
        return regressor_card(self, progress, loss, found)


def loss_sum(task: Regressor, model: Any, batch: Batch) -> Tensor:
    """Return the summed squared error of the texts' numbers, in squared deviations.

    Args:
        task: Says how rows are read, and the scale.
        model: Its model.
        batch: Texts, packed or a row each, with their numbers as `Numbers` encodes them.
    """
    source = task.source(batch.source, batch.source_lengths, batch.source_segments)
    wanted = (numbers_of(labels_of(batch)) - task.settings.mean) / task.settings.deviation
    return (model(source).float().squeeze(-1) - wanted).square().sum()


def numbers_of(tokens: Tensor) -> Tensor:
    """Return the numbers that tokens encode: the bits of a float32.

    Example:
        >>> tokens = Numbers().encode_batch(["3.25", "-1"])
        >>> numbers_of(torch.tensor(tokens)[:, 0]).tolist()
        [3.25, -1.0]
    """
    signed = torch.where(tokens >= 1 << 31, tokens - (1 << 32), tokens)
    return signed.to(torch.int32).view(torch.float32)


class Numbers:
    """Encodes a number as one token, so that whatever carries targets carries it: the bits of its float32."""

    labels: tuple[str, ...] = ()  # it has no name, and is no text either

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token of each number."""
        return [[int(np.float32(float(text)).view(np.uint32))] for text in texts]


def prepare(
    recipe: RegressRecipe, folder: Path, tell: Tell, device: str = "cpu", parent: Parent | None = None
) -> PreparedRegressor:
    """Read the data, choose what the recipe leaves open, and build the model.

    Args:
        recipe: As the user wrote it, or as it was inherited.
        folder: Where a large corpus is spooled.
        tell: Hears what was chosen and why.
        device: Where it will train.
        parent: The model to continue.
    """
    read = read_data(recipe, folder, tell)
    scale = find_scale(recipe, read, parent, tell)
    made = chosen(recipe, read, parent, tell, device, best="spearman")
    settings = RegressSettings(**made.settings(read.columns), mean=scale[0], deviation=scale[1])
    torch.manual_seed(made.recipe.train.seed)
    task = made.weigh(Regressor.build(settings, made.tokenizer))
    batches = made.batches(read, task.documents, Numbers())
    held = made.held_out(read, task.documents, Numbers(), tell)
    wanted = numbers_of(torch.tensor([token for (token,) in held.targets], dtype=torch.int64))
    validation = NumberedTexts(task, held.texts, held.rows, wanted, made.recipe.train.tokens)
    return PreparedRegressor(
        made.recipe, task, batches, validation, read.num_pairs, read.store, held.ledger, parent
    )  # fmt: skip


def find_scale(recipe: RegressRecipe, read: Read, parent: Parent | None, tell: Tell) -> tuple[float, float]:
    """Return mean and deviation of the training numbers, or the parent's; tell what looks wrong with them.

    Raises:
        DataError: A target is no finite number, or all are the same.
    """
    held, found, store = set(read.split.held.tolist()), list[float](), read.store
    for index in range(store.num_blocks):
        for place, text in zip(store.numbers(index), store.columns(index)[1], strict=True):
            value = number(text, store.where(place).target)
            if place not in held:
                found.append(value)
    for place, pair in enumerate(read.split.validation):
        number(pair.target, read.split.where(place).target)
    low, high = min(found), max(found)
    if low == high:
        problem = f"one number only, {low:g}: there is nothing to learn"
        raise DataError(problem, "Give texts of different numbers.", ", ".join(recipe.data.train))
    mean = fsum(found) / len(found)
    deviation = sqrt(fsum((value - mean) ** 2 for value in found) / len(found))
    tell(f"data: numbers from {low:g} to {high:g}, mean {mean:.4g}; always that would be {deviation:.4g} off (RMSE)")
    usual, count = Counter(found).most_common(1)[0]
    if count > NEARLY * len(found):
        tell(f"data: warning: {100 * count / len(found):.1f} % of the texts have the number {usual:g}")
    if recipe.data.check:
        look_at_store("numbers", store, read.split, tell)
    if parent and parent.task.task == "regress":
        return parent.task.settings.mean, parent.task.settings.deviation
    return mean, deviation


JOB = Job(RegressRecipe, encoder_faults, prepare, inherit)
