"""Combinations of settings: all of them, or few that hold every pair of values."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from typing import Any

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
