"""Combinations of settings: few that hold every value, every pair of values, or every three, and any number drawn."""

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from math import prod
from typing import Any

import numpy as np

Axes = Mapping[str, Sequence[Any]]
Row = dict[str, Any]
Refused = Callable[[Row], bool]


def everything(axes: Axes) -> list[Row]:
    """Return the full product."""
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def pairwise(axes: Axes, refused: Refused = lambda row: False) -> list[Row]:
    """Return few rows that together hold every pair of values of two axes, found greedily.

    Args:
        axes: At least two; the values of each.
        refused: Rows to leave out; it is asked about rows with axes missing too, and once it refuses such a row it
            must refuse every completion.
    """
    missing = [pair for pair in _pairs(axes) if not refused(dict(pair))]
    rows: list[Row] = []
    while missing:
        row = dict(missing[0])
        for axis in axes:
            if axis not in row:
                choices = [{**row, axis: value} for value in axes[axis]]
                new = [pair for pair in missing if axis in (pair[0][0], pair[1][0])]
                row = max((c for c in choices if not refused(c)), key=lambda c: _held(c, new))
        rows.append({axis: row[axis] for axis in axes})
        missing = [pair for pair in missing if not _holds(row, pair)]
    return rows


TRIED = 30  # rows of which the best is taken


def covering(axes: Axes, strength: int, refused: Refused = lambda row: False) -> list[Row]:
    """Return few rows that together hold every combination of values of so many axes; the same ones each time.

    Rows are drawn around one that is missing still, and of `TRIED` the one that holds most of them is taken.

    Args:
        axes: At least `strength`; the values of each.
        strength: 2 for every pair, 3 for every three.
        refused: As for `pairwise`.
    """
    draw, names, missing = random.Random(0), list(axes), _Missing(axes, strength, refused)
    rows: list[Row] = []
    while (wanted := missing.first()) is not None:
        found = [row for _ in range(TRIED) if (row := _drawn(draw, axes, wanted, refused))]
        if not found:
            raise ValueError(f"no row holds {wanted}, though it is not refused")
        rows.append({axis: max(found, key=missing.held)[axis] for axis in names})
        missing.take(rows[-1])
    return rows


def _drawn(draw: random.Random, axes: Axes, wanted: Row, refused: Refused) -> Row | None:
    row = dict(wanted)
    for axis in draw.sample(list(axes), len(axes)):
        if axis not in row:
            free = [value for value in axes[axis] if not refused({**row, axis: value})]
            if not free:
                return None
            row[axis] = draw.choice(free)
    return row


class _Missing:
    """The combinations of values of a few axes that no row holds yet, as a flat array of bits."""

    def __init__(self, axes: Axes, strength: int, refused: Refused) -> None:
        self.axes = {name: list(values) for name, values in axes.items()}
        self.groups = list(combinations(self.axes, strength))
        sizes = [prod(len(self.axes[name]) for name in group) for group in self.groups]
        self.starts = np.cumsum([0, *sizes])
        found = [not refused(row) for group in self.groups for row in self._rows(group)]
        self.bits = np.array(found, dtype=bool)
        self.places = np.array([[list(self.axes).index(name) for name in group] for group in self.groups])
        self.sizes = np.array([[len(self.axes[name]) for name in group] for group in self.groups])

    def _rows(self, group: tuple[str, ...]) -> list[Row]:
        return everything({name: self.axes[name] for name in group})

    def _of(self, row: Row) -> Any:
        """Return the place of the bit of each group of axes."""
        values = np.array([self.axes[name].index(row[name]) for name in self.axes])[self.places]
        found = np.zeros(len(self.groups), np.int64)
        for column in range(self.places.shape[1]):
            found = found * self.sizes[:, column] + values[:, column]
        return found + self.starts[:-1]

    def first(self) -> Row | None:
        """Return a combination that is missing, or None."""
        if not self.bits.any():
            return None
        place = int(self.bits.argmax())
        group = int(np.searchsorted(self.starts, place, "right")) - 1
        return self._rows(self.groups[group])[place - int(self.starts[group])]

    def held(self, row: Row) -> int:
        """Return how many of the missing combinations a row holds."""
        return int(self.bits[self._of(row)].sum())

    def take(self, row: Row) -> None:
        """Note that a row is there."""
        self.bits[self._of(row)] = False


def each(axes: Axes, refused: Refused = lambda row: False) -> list[Row]:
    """Return few rows that together hold every value of every axis that is not refused by itself."""
    missing = [(axis, value) for axis in axes for value in axes[axis]]
    rows: list[Row] = []
    while missing:
        row = dict(missing[:1])
        for axis in axes:
            if axis not in row:
                new = [value for other, value in missing if other == axis]
                choices = [{**row, axis: value} for value in (*new, *axes[axis])]
                row = next(c for c in choices if not refused(c))
        rows.append({axis: row[axis] for axis in axes})
        missing = [(axis, value) for axis, value in missing if row[axis] != value]
    return rows


def _pairs(axes: Axes) -> list[tuple[tuple[str, Any], tuple[str, Any]]]:
    return [((a, x), (b, y)) for a, b in combinations(axes, 2) for x in axes[a] for y in axes[b]]


def _holds(row: Row, pair: tuple[tuple[str, Any], ...]) -> bool:
    return all(axis in row and row[axis] == value for axis, value in pair)


def _held(row: Row, pairs: Sequence[tuple[tuple[str, Any], ...]]) -> int:
    return sum(_holds(row, pair) for pair in pairs)
