"""What the scoring of all tasks of labels, numbers and answers shares: what a system gave, and what is shown of it.

A task that is scored has a `Scored` in its module here; `onehop evaluate` and the pages know nothing else of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from onehop.errors import DataError
from onehop.metrics import Interval
from onehop.tasks.fates import Fate, Fates, fates_of, to_dict

T = TypeVar("T")


@dataclass(frozen=True)
class Given(Generic[T]):
    """What a system gave for each example, and how; where only a file of it is known, the rest is None.

    Args:
        name: For the report.
        each: A label, number, answer, place of an option or list of labels for each example; None for none, which
            counts as wrong.
        scores: The probability of that, where a task has one; of a set of labels, those of all labels by name.
        fates: What became of examples that were longer than the model's limit.
        seconds: Of predicting.
        drift: What the model does otherwise than when it was made, where that was allowed.
        abstained: Examples that got nothing because nothing was likely enough.
    """

    name: str
    each: list[T]
    scores: list[Any] | None = None
    fates: Fates | None = None
    seconds: float | None = None
    drift: str | None = None
    abstained: int | None = None

    def to_dict(self, *more: str) -> dict[str, Any]:
        """Return counts as JSON values, those named in `more` too."""
        seconds = None if self.seconds is None else round(self.seconds, 2)
        counts = {name: getattr(self, name) for name in more}
        return {**to_dict(self.fates), **counts, "seconds": seconds, "drift": self.drift}

    def check(self, count: int, what: str, examples: str) -> None:
        """Refuse what was given for other examples.

        Raises:
            DataError: There is not as much of it.
        """
        if len(self.each) != count:
            problem = f"{len(self.each)} {what} for {count} {examples}"
            raise DataError(problem, f"Give one for each {examples.removesuffix('s')}.", self.name)


def given(
    name: str, found: Sequence[Fate], each: list[T], seconds: float, drift: str,
    labels: Iterable[Mapping[str, int]] = (),
) -> Given[T]:  # fmt: skip
    """Return what a model gave, with counts of the predictions that were too long.

    Args:
        name: Of the system.
        found: The predictions.
        each: What they say.
        seconds: Of predicting.
        drift: What the model does otherwise than when it was made.
        labels: Of each example its own, with the tokens not read under them, if these are known.
    """
    return Given(name, each, None, fates_of(found, labels), seconds, drift or None)


def figures(result: Any, intervals: Mapping[str, Interval], names: Iterable[str]) -> dict[str, Any]:
    """Return figures with their intervals, as JSON values."""
    values: dict[str, Any] = {}
    for name in names:
        found = intervals[name]
        values[name] = rounded(getattr(result, name))
        values[f"{name}_interval"] = [rounded(found.low), rounded(found.high)]
    return values


def rounded(value: Any) -> Any:
    """Return a number with four decimals, and anything else as it is."""
    return round(value, 4) if isinstance(value, float) else value


# ------------------------------------------------------------------------------------------------ shown


@dataclass(frozen=True)
class Grid:
    """A table for people.

    Args:
        title: Above it.
        head: Names of its columns.
        rows: Cells.
        left: Columns of words, which stand to the left.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Sequence[int] = (0,)


@dataclass(frozen=True)
class Shown:
    """A report for people, in a terminal or on a page.

    Args:
        grids: The first has the figures with their intervals.
        notes: Sentences.
    """

    grids: Sequence[Grid]
    notes: Sequence[str] = field(default=())


def figure_grid(
    title: str, rows: Iterable[tuple[str, str, Interval | str | None]], system: Given[Any] | None = None
) -> Grid:
    """Return the table of figures; intervals are of shares, or in words."""
    seconds = f" in {system.seconds:.1f} s" if system and system.seconds is not None else ""
    cells = [[name, value, as_range(one) if isinstance(one, Interval) else one or ""] for name, value, one in rows]
    return Grid(f"{title}{seconds}", ("", "score", "95 % interval"), cells)


def label_grid(classes: Iterable[Any], what: str, more: Sequence[str] = (), name: str = "") -> Grid:
    """Return the table of labels.

    Args:
        classes: With `label`, `support`, `predicted`, `precision`, `recall` and `f1`.
        what: They are labels of.
        more: A last cell for each.
        name: Of the last column; none without.
    """
    rows = [
        [one.label, f"{one.support:,}", f"{one.predicted:,}", *map(as_percent, (one.precision, one.recall, one.f1))]
        for one in classes
    ]
    head = ("label", what, "found", "precision", "recall", "F1")
    if not name:
        return Grid("by label", head, rows)
    return Grid("by label", (*head, name), [[*row, cell] for row, cell in zip(rows, more, strict=True)], left=(0, 6))


def length_notes(system: Given[Any], what: str) -> list[str]:
    """Return what became of examples that were too long."""
    return system.fates.told(what) if system.fates else []


def against_note(name: str, theirs: str, difference: str, chance: float, more: str = "") -> str:
    """Return how a system compares with another."""
    return f"against {name} ({theirs}): {difference}, p {f'= {chance:.3f}' if chance >= 0.0005 else '< 0.001'}{more}"


def as_percent(share: float) -> str:
    """Return a share as people read it."""
    return f"{100 * share:.1f} %"


def as_range(interval: Interval) -> str:
    """Return an interval of shares as people read it."""
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


# ------------------------------------------------------------------------------------------------ the mechanism


@dataclass(frozen=True)
class Scored:
    """How a task is scored: what `onehop evaluate` needs to know of it.

    Args:
        task: Its name.
        needs: What `--data` must hold.
        read: From a file, the columns that were named, and the model, to examples.
        run: From a model and examples, with `name` and `long`, to what it gives; messages name the examples' places.
        judge: Likewise, with `long` and `against`, to a report with `system`, `to_dict` and `shown`.
        theirs: From a file and the model to what another system gave.
        line: From what was given for an example and the model to how `theirs` reads it.
    """

    task: str
    needs: str
    read: Callable[[str, tuple[tuple[str, ...], str], Any], Any]
    run: Callable[..., Given[Any]]
    judge: Callable[..., Any]
    theirs: Callable[[str, Any], Given[Any]]
    line: Callable[[Any, Any], str]
