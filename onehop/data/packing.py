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
LONGEST_ROW = 256  # tokens of a row that is filled; attention reads a packed row whole, in the square of its length


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

    A row has room for eight pairs on average, or for a few more where less would leave a part of the batch unused; but
    where pairs are long, for 256 tokens, and a pair that is longer stands in a row of its own. The shorter side, whose
    cells cost less, gets some room beyond its average: where it is labels, two tokens each, they would else close a row
    before its texts do.

    Args:
        source: Tokens of each source, the end mark included; at least one.
        target: Tokens of each target, likewise.
        batch_tokens: Of a batch; longest row, unless a pair is longer.

    Returns:
        At least the longest pair's, if that is no more than 256.

    Example:
        >>> row_sizes(np.array([4, 6]), np.array([9, 11]), batch_tokens=900)
        (51, 81)
    """
    means = float(source.mean()), float(target.mean())
    longer = max(means)
    rows = max(1, int(batch_tokens / (ROW_PAIRS * longer)))
    room = batch_tokens / rows
    shares = [min(1.0, mean / longer * (ROOM if mean < longer else 1.0)) for mean in means]
    left, right = (int(room * share) for share in shares)
    whole = max(int(source.max()), left), max(int(target.max()), right)
    if max(whole) <= LONGEST_ROW:
        return whole
    left, right = (max(1, int(min(room, LONGEST_ROW) * share)) for share in shares)
    return left, right


def pack(order: Iterable[int], source: Ints, target: Ints, batch_tokens: int) -> list[Layout]:
    """Fill rows first-fit in the order given, and cut the rows into batches of at most `batch_tokens` a side.

    A pair longer than a row is a row alone, and stands in a batch with others of like length; those batches are spread
    over the rest in the order of their first pairs. When none of the 16 open rows has room, the oldest is closed.

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
    lengths = [int(max(source[row].sum(), target[row].sum())) for row in rows]
    filled = [row for row, length in zip(rows, lengths, strict=True) if length <= max(sizes)]
    size = max(1, batch_tokens // max(sizes))
    batches = [_layout(filled[start : start + size]) for start in range(0, len(filled), size)]
    alone = [number for number, length in enumerate(lengths) if length > max(sizes)]
    return _spread(batches, _alike(alone, lengths, batch_tokens), rows)


def _alike(numbers: list[int], lengths: list[int], batch_tokens: int) -> list[list[int]]:
    """Return the numbers of rows in batches of like length, in the order of the first of each."""
    batches: list[list[int]] = []
    for number in sorted(numbers, key=lambda one: (-lengths[one], one)):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= batch_tokens:
            batches[-1].append(number)
        else:
            batches.append([number])
    return sorted(batches, key=min)


def _spread(batches: list[Layout], others: list[list[int]], rows: list[list[int]]) -> list[Layout]:
    """Return batches with others, which are numbers of rows, evenly between them."""
    found: list[Layout] = []
    for place, numbers in enumerate(others):
        upto = (place + 1) * len(batches) // (len(others) + 1)
        found += batches[len(found) - place : upto]
        found.append(_layout([rows[number] for number in numbers]))
    return found + batches[len(found) - len(others) :]


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
