"""The tasks by name: a literal table, loaded when asked for.

A *task* is a model with all it needs to run: tokenizers, settings, names of classes. What a package needs to know of
one to save, load, check and describe it is a `Kind`, and nothing else in `onehop.tasks` asks which task it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import torch

from onehop.config import Table
from onehop.errors import ModelError
from onehop.text import Tokenizer


class Task(Protocol):
    """What every task has; its class has more, such as `translate`.

    Attributes:
        task: Its name, as in the registry.
        model: An `nn.Module`.
        settings: What its package remembers, with `architecture`, `model` and `text.max_length` among it.
        drift: What it does otherwise than when it was made, where that was allowed.
    """

    task: str
    model: Any
    settings: Any
    drift: str

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of classes, in the order of their ids; None for a task without."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    def to(self, device: torch.device | str) -> Any:
        """Move the weights; return the task."""
        ...


Line = dict[str, Any]  # of golden.jsonl


@dataclass(frozen=True)
class Kind:
    """What a package needs to know of a task.

    Args:
        name: Of the task.
        verb: Of the command line, that uses a model of it.
        settings: Their class.
        build: From settings and tokenizers, by the names of their files, to a task with fresh weights.
        tokenizers: Of a task, by the names of their files.
        lengths: From settings to the limits that `onehop.json` tells, in tokens.
        golden: Golden lines of some texts: outputs, with the log-probabilities that led to them.
        is_golden: Whether a value can be a golden line of a task.
        replay: The first golden line that comes out otherwise by more than a tolerance, in words; empty if none does.
        decides: From settings to those that make outputs of scores, such as thresholds, as JSON has them: no score
            shows that they were changed, so they stand in the first golden line, too.
    """

    name: str
    verb: str
    settings: type[Table]
    build: Callable[[Any, Mapping[str, Tokenizer]], Any]
    tokenizers: Callable[[Any], dict[str, Tokenizer]]
    lengths: Callable[[Any], dict[str, int]]
    golden: Callable[[Any, Sequence[str]], list[Line]]
    is_golden: Callable[[Any, Any], bool]
    replay: Callable[[Any, Sequence[Mapping[str, Any]], float], str]
    decides: Callable[[Any], dict[str, Any]] = lambda settings: {}

    def lines(self, task: Any, texts: Sequence[str]) -> tuple[Line, ...]:
        """Return the golden lines of some texts; the first has the settings that decide."""
        found, decides = self.golden(task, texts), self.decides(task.settings)
        if found and decides:
            found[0] = {**found[0], DECIDES: decides}
        return tuple(found)


DECIDES = "settings"  # key of golden lines

TASKS = {
    "translation": "onehop.tasks.golden:KIND",
    "classify": "onehop.tasks.classify_golden:KIND",
    "multilabel": "onehop.tasks.multilabel_golden:KIND",
    "tag": "onehop.tasks.tag_golden:KIND",
    "answer": "onehop.tasks.answer_golden:KIND",
    "choose": "onehop.tasks.choose_golden:KIND",
    "regress": "onehop.tasks.regression:KIND",
    "embed": "onehop.tasks.embed_golden:KIND",
}


def kind(name: str) -> Kind:
    """Return the kind of that name.

    Example:
        >>> kind("classify").verb
        'predict'
    """
    module, _, attribute = TASKS[name].partition(":")
    return getattr(import_module(module), attribute)


def check_task(found: str, wanted: str | None, model: str, where: str = "") -> None:
    """Refuse a model of another task than is wanted, or of one that this Onehop does not know.

    Args:
        found: The task of the model.
        wanted: The task that a verb works on; None for any.
        model: Its folder or name, for the remedy.
        where: For the message; default: `model`.

    Raises:
        ModelError: So it is; names the verb to use.
    """
    if wanted is None:
        if found not in TASKS:
            raise ModelError(f"a model of the unknown task {found!r}", "Update onehop.", where or model)
        return
    if found != wanted:
        remedy = f"Use it with: onehop {kind(found).verb} {model}" if found in TASKS else "Name another model."
        raise ModelError(f"a model of the task {found!r}, not {wanted!r}", remedy, where or model)
