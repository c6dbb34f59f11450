"""What became of examples that were longer than a model's limit, counted over a run and by label, of any task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from onehop.text.ledger import ByLabel, concerned, enter, shown

NOTHING: Mapping[str, int] = {}


class Fate(Protocol):
    """What every task says of an example that was too long."""

    @property
    def dropped(self) -> bool:
        """Whether it was left out."""
        ...

    @property
    def cut(self) -> int:
        """Tokens that were cut off."""
        ...

    @property
    def windows(self) -> int:
        """Windows that it was divided into."""
        ...

    @property
    def lost(self) -> int:
        """Tokens that were not read: those cut off, or all of what was left out."""
        ...


@dataclass
class Fates:
    """The figures of a run of `predict` or `evaluate`.

    Attributes:
        lines: Examples.
        dropped: Left out.
        cut: Read in part.
        divided: Read in windows.
        windows: That they were read in.
        lost: Tokens that were not read.
        by_label: For each label, the examples that have it and what became of them; empty where they have none.

    Example:
        >>> from onehop.tasks.classification import Prediction
        >>> fates = Fates()
        >>> fates.add(Prediction("A long text.", "good", {"good": 1.0}, cut=2, lost=2), {"good": 2})
        >>> fates.add(Prediction("Short.", "bad", {"bad": 1.0}), {"bad": 0})
        >>> fates.told("texts")
        ['1 texts were too long and cut, 2 tokens not read: good 1 of 1']
    """

    lines: int = 0
    dropped: int = 0
    cut: int = 0
    divided: int = 0
    windows: int = 0
    lost: int = 0
    by_label: ByLabel = field(default_factory=dict)

    def add(self, found: Fate, labels: Mapping[str, int] = NOTHING) -> None:
        """Count an example, also under its labels, each with the tokens not read under it."""
        self.lines += 1
        self.dropped += found.dropped
        self.cut += found.cut > 0
        self.divided += found.windows > 0
        self.windows += found.windows
        self.lost += found.lost
        enter(self.by_label, labels, found.dropped or found.cut > 0 or found.windows > 0)

    def told(self, what: str, read: str = "read", whose: str = "") -> list[str]:
        """Return lines for people about examples that were too long; none where there were none.

        Args:
            what: What the examples are called.
            read: What was done with windows.
            whose: Which labels they are counted by, where those are not their own.
        """
        windows = f"{read} in {self.windows:,} windows"
        counts = {"left out": self.dropped, "cut": self.cut, windows: self.divided}
        lines = [f"{count:,} {what} were too long and {done}" for done, count in counts.items() if count]
        if lines:
            lost = f", {self.lost:,} tokens not read" if self.lost else ""
            labels = f"{whose}: {text}" if (text := shown(self.by_label)) else ""
            lines[-1] += lost + labels
        return lines


def to_dict(fates: Fates | None) -> dict[str, Any]:
    """Return figures as JSON values, null where nobody knows them; of the labels, those of what was too long."""
    if fates is None:
        return dict.fromkeys(("dropped", "cut", "windows", "lost"))
    counts = {"dropped": fates.dropped, "cut": fates.cut, "windows": fates.divided, "lost": fates.lost}
    return {**counts, **({"long_by_label": concerned(fates.by_label)} if fates.by_label else {})}


def fates_of(found: Iterable[Fate], labels: Iterable[Mapping[str, int]] = ()) -> Fates:
    """Return the figures of examples, each with the tokens not read under its labels, if these are known."""
    fates, each = Fates(), iter(labels)
    for one in found:
        fates.add(one, next(each, NOTHING))
    return fates


def by_own(found: Iterable[Fate], labels: Iterable[str]) -> list[Mapping[str, int]]:
    """Return for each example its label, with the tokens not read."""
    return [{label: one.lost} for one, label in zip(found, labels, strict=False)]


def by_word(labels: Sequence[str | None], unread: Sequence[int]) -> dict[str, int]:
    """Return how many tokens of words with each label were not read.

    Args:
        labels: Of the words of a sentence; a word without one is left out.
        unread: Tokens of each word that were not read.

    Example:
        >>> by_word(["O", "B-PER", "O"], [0, 2, 3])
        {'O': 3, 'B-PER': 2}
    """
    found: dict[str, int] = {}
    for label, tokens in zip(labels, unread, strict=True):
        if label is not None:
            found[label] = found.get(label, 0) + tokens
    return found
