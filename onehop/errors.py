"""Errors a person can mend.

Every error that a user can cause is an `OnehopError`: what was given, where, and what to do about it. The command line
prints it as one message and exits with status 2; a traceback means a defect of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

STDIN = "standard input"  # what it is called in messages


class OnehopError(Exception):
    """A fault in usage, configuration, data or a model, with its remedy.

    Args:
        problem: What is wrong, naming the value that was given.
        remedy: What the reader can do about it; an imperative sentence.
        where: File, with the line if there is one (`train.en:17`), or recipe key.
    """

    def __init__(self, problem: str, remedy: str = "", where: str = "") -> None:
        super().__init__(problem, remedy, where)
        self.problem, self.remedy, self.where = problem, remedy, where

    def __str__(self) -> str:
        text = f"{self.where}: {self.problem}" if self.where else self.problem
        return f"{text}\n  {self.remedy}" if self.remedy else text


class ConfigError(OnehopError):
    """A recipe, a preset or an option that cannot be used."""


class DataError(OnehopError):
    """Text that cannot be used as it stands."""


class LengthError(DataError):
    """A line longer than the model's `max_length`."""


class ModelError(OnehopError):
    """A run or package that cannot be loaded, or is of another task."""


class FileError(OnehopError):
    """A file or folder that is missing, in the way, unwritable or on a full disk."""


class TrainingError(OnehopError):
    """Training that cannot go on: not finite, diverged or out of memory."""


class Stopped(Exception):  # noqa: N818 - it is no error
    """A signal ended the work after its state was saved.

    Args:
        signal: The signal's number.
        remedy: How to go on.
    """

    def __init__(self, signal: int, remedy: str) -> None:
        super().__init__(signal, remedy)
        self.signal, self.status, self.remedy = signal, 128 + signal, remedy

    def __str__(self) -> str:
        return f"interrupted; a checkpoint was written\n  {self.remedy}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as ``did you mean 'dropout'?``, or the empty string.

    Example:
        >>> nearest("droput", ["dropout", "dim"])
        "did you mean 'dropout'?"
    """
    close = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""
