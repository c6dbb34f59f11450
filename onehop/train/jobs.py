"""What training needs to know of a task: a literal table beside `onehop.tasks.TASKS`, loaded when asked for.

The loop, limits, checkpoints, resuming, averages and records are the same for all tasks; a `Job` has the recipe's
class and turns a recipe into a `Ready`, which has the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from onehop.config import Table
from onehop.data import Batch, PairStore, TrainingBatches
from onehop.errors import ConfigError, nearest
from onehop.text import Ledger, Tokenizer
from onehop.train.objective import Objective

Tell = Callable[[str], None]


class Found(Protocol):
    """What validation measured beside the loss."""

    @property
    def figures(self) -> Mapping[str, float | int]:
        """Each by its name, in the order of the log; `train.best` names one of them, or the loss."""
        ...

    @property
    def told(self) -> str:
        """The same in words, for people."""
        ...


class Validation(Protocol):
    """Held-out examples, tokenised once.

    Attributes:
        unknown: A `Found` for a model whose loss is not finite.
    """

    unknown: Any

    def __len__(self) -> int:
        """How many there are; there may be none, and then all figures are 0."""
        ...

    def loss(self) -> float:
        """Return the loss in nats for each target, without smoothing."""
        ...

    def measure(self) -> Any:
        """Return a `Found` of the model as it is."""
        ...

    def texts(self, count: int) -> list[str]:
        """Return that many texts for golden lines, evenly spread."""
        ...


@runtime_checkable
class Paged(Protocol):
    """Held-out examples of which there is a page to show."""

    def page(self, found: Any) -> str:
        """Return what the last `measure` found, as HTML; `found` is what that returned."""
        ...


class Ready(Protocol):
    """Everything that a run trains, as `fit` needs it."""

    @property
    def recipe(self) -> Any:
        """The recipe, with everything that was chosen filled in."""
        ...

    @property
    def task(self) -> Any:
        """The model with all it needs to run; see `onehop.tasks.Task`."""
        ...

    @property
    def batches(self) -> TrainingBatches:
        """What it trains on."""
        ...

    @property
    def num_pairs(self) -> int:
        """Training examples."""
        ...

    @property
    def store(self) -> PairStore:
        """The text that the numbers of a batch's examples refer to."""
        ...

    @property
    def limited(self) -> Ledger:
        """What the length limit did to the validation examples."""
        ...

    @property
    def parent(self) -> Any:
        """The model that the run continues, or None."""
        ...

    @property
    def unit(self) -> str:
        """What `Batch.num_targets` counts: `tokens`, `texts`, `words`, `rows` or `choices`."""
        ...

    def objective(self, device: str) -> Objective:
        """Return what is minimised: `(model, batch) -> loss`, summed over the batch's targets, in nats."""
        ...

    def validator(self) -> Validation:
        """Return the held-out examples."""
        ...

    def sample_batch(self, rows: int, words: int) -> Batch:
        """Return a batch of so many texts of so many tokens, to measure what one takes."""
        ...

    def tokenizers(self) -> dict[str, Tokenizer]:
        """Return the tokenizers by the names that a run's record gives them."""
        ...

    def card(self, progress: Any, loss: float, found: Any) -> str:
        """Return the model card, as Markdown."""
        ...


@dataclass(frozen=True)
class Job:
    """How a task is trained.

    Args:
        recipe: The class of its recipes.
        faults: What is wrong with a recipe's tables beyond what that class tells.
        prepare: From a recipe, the folder of the run, a listener, a device and a parent to a `Ready`.
        inherit: From a recipe and the model that it continues to the recipe with what it takes from that.
    """

    recipe: type[Table]
    faults: Callable[[Mapping[str, Any]], list[str]]
    prepare: Callable[[Any, Path, Tell, str, Any], Any]
    inherit: Callable[[Any, Any], Any]


JOBS = {
    "translation": "onehop.train.prepare:JOB",
    "classify": "onehop.train.classify:JOB",
    "multilabel": "onehop.train.multilabel:JOB",
    "tag": "onehop.train.tag:JOB",
    "answer": "onehop.train.answer:JOB",
    "choose": "onehop.train.choosing:JOB",
    "mlm": "onehop.train.pretrain:JOB",
    "regress": "onehop.train.regress:JOB",
    "embed": "onehop.train.embed:JOB",
}


PACKAGED = {"mlm": "embed"}  # what the package of a task is, where that is another


def job(task: Any, where: str = "recipe") -> Job:
    """Return how a task is trained.

    Raises:
        ConfigError: No such task.

    Example:
        >>> job("classify").recipe.__name__
        'ClassifyRecipe'
    """
    if not isinstance(task, str) or task not in JOBS:
        hint = nearest(str(task), JOBS) or f"known: {', '.join(JOBS)}"
        raise ConfigError(f"unknown task {task!r}", f"Use one that can be trained; {hint}", f"{where}: task")
    module, _, attribute = JOBS[task].partition(":")
    return getattr(import_module(module), attribute)
