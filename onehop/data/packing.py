"""Packing: several pairs in one row of a batch, so that hardly a cell is padding.

A pair's source and target stand in the same row of the two sides and bear the same segment number there; a token
attends to its own segment only. So packing changes which cells are computed, never what is learned from a pair.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from onehop.data.ragged import Ints

ROW_PAIRS = 8  # average pairs of a row: with more, less is left empty at its end, but attention has more to read
ROOM = 1.25  # of the shorter side's rows, beside its average
OPEN_ROWS = 16  # rows that are tried for a pair before the oldest is closed


@dataclass(frozen=True)
class Layout:
    """Which pairs make a batch, and in which rows.

    Attributes:
        pairs: Their places in the window; those of a row stand together.
        rows: The row of each, ascending from 0; None where each has a row of its own.
    """

    pairs: Ints
    rows: Ints | None = None


def row_sizes(source: Ints, target: Ints, batch_tokens: int) -> tuple[int, int]:
    """Return how long the rows of the two sides may be, so that the longer side's are full.

    A row has room for eight pairs on average, or for a few more where less would leave a part of the batch unused. The
    shorter side, whose cells cost less, gets some room beyond its average: where it is labels, two tokens each, they
    would else close a row before its texts do.

    Args:
        source: Tokens of each source, the end mark included; at least one.
        target: Tokens of each target, likewise.
        batch_tokens: Of a batch; longest row, unless a pair is longer.

    Example:
        >>> row_sizes(np.array([4, 6]), np.array([9, 11]), batch_tokens=900)
        (51, 81)
    """
    means = float(source.mean()), float(target.mean())
    longer = max(means)
    rows = max(1, int(batch_tokens / (ROW_PAIRS * longer)))
    room = batch_tokens / rows
    left, right = (int(room * min(1.0, mean / longer * (ROOM if mean < longer else 1.0))) for mean in means)
    return max(int(source.max()), left), max(int(target.max()), right)


def pack(order: Iterable[int], source: Ints, target: Ints, batch_tokens: int) -> list[Layout]:
    """Fill rows first-fit in the order given, and cut the rows into batches of at most `batch_tokens` a side.

    A pair longer than that is a row, and a batch, alone. When none of the 16 open rows has room, the oldest is closed.

    Args:
        order: Places of pairs.
        source: Tokens of each source, the end mark included.
        target: Tokens of each target, likewise.
        batch_tokens: Rows times longest row of a batch at most, on either side.

    Example:
        >>> lengths = np.array([2, 3, 2, 3])
        >>> [(batch.pairs.tolist(), batch.rows.tolist()) for batch in pack(range(4), lengths, lengths, 10)]
        [([0, 1, 2, 3], [0, 0, 0, 0])]
    """
    if not len(source):
        return []
    sizes = row_sizes(source, target, batch_tokens)
    rows = _first_fit(order, source.tolist(), target.tolist(), sizes)
    size = max(1, batch_tokens // max(sizes))
    return [_layout(rows[start : start + size]) for start in range(0, len(rows), size)]


def _layout(rows: list[list[int]]) -> Layout:
    return Layout(np.concatenate([np.array(row) for row in rows]), np.repeat(np.arange(len(rows)), [*map(len, rows)]))


def _first_fit(order: Iterable[int], source: list[int], target: list[int], sizes: tuple[int, int]) -> list[list[int]]:
    """Return the places of each row, in the order in which rows were opened."""
    rows: list[list[int]] = []
    free: list[list[int]] = []  # of each open row: its number, and its room on either side
    for place in order:
        left, right = source[place], target[place]
        for row in free:
            if left <= row[1] and right <= row[2]:
                break
        else:
            row = [len(rows), *sizes]
            rows.append([])
            free.append(row)
            if len(free) > OPEN_ROWS:
                del free[0]
        rows[row[0]].append(place)
        row[1] -= left
        row[2] -= right
    return rows
