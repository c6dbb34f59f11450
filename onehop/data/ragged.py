"""Token sequences of unequal length in flat arrays, and how they are put into padded batches.

Rows are kept without end marks; padding writes them. Ten million sentences as Python lists would need
gigabytes; here a token takes two bytes (four if the vocabulary has more than 65,536 pieces).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from onehop.text import EOS

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """Rows of tokens, one after the other.

    Attributes:
        flat: The tokens of all rows, uint16 or uint32.
        starts: Where each row starts, and the end of the last: one more entry than there are rows, int32.
    """

    flat: npt.NDArray[Any]
    starts: npt.NDArray[np.int32]

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[int]]) -> Ragged:
        """Pack rows of tokens."""
        starts = _starts(np.fromiter(map(len, rows), np.int64, len(rows)))
        flat = np.fromiter(chain.from_iterable(rows), np.uint32, int(starts[-1]))
        narrow = flat.size == 0 or int(flat.max()) <= np.iinfo(np.uint16).max
        return cls(flat.astype(np.uint16) if narrow else flat, starts)

    @classmethod
    def concatenate(cls, parts: Sequence[Ragged]) -> Ragged:
        """Join the rows of several, in their order; there must be at least one."""
        lengths = np.concatenate([np.diff(part.starts) for part in parts])
        return cls(np.concatenate([part.flat for part in parts]), _starts(lengths))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def nbytes(self) -> int:
        """Bytes of memory the arrays take."""
        return self.flat.nbytes + self.starts.nbytes

    @property
    def lengths(self) -> Ints:
        """Tokens of each row, the end mark included."""
        return np.diff(self.starts).astype(np.int64) + 1

    def padded(self, rows: Ints) -> tuple[Ints, Ints]:
        """Return the chosen rows with end marks, padded on the right, `(B, S)`, and their lengths, `(B,)`."""
        starts = self.starts[rows, None]
        lengths = self.starts[rows + 1, None] - starts
        columns = np.arange(int(lengths.max(initial=0)) + 1)
        inside = columns < lengths
        tokens = np.zeros(inside.shape, np.int64)  # zero is the padding
        tokens[inside] = self.flat[(starts + columns)[inside]]
        np.put_along_axis(tokens, lengths, EOS, axis=1)
        return tokens, lengths[:, 0].astype(np.int64) + 1

    def row(self, number: int) -> list[int]:
        """Return the tokens of a row, without its end mark."""
        return self.flat[self.starts[number] : self.starts[number + 1]].tolist()

    def select(self, rows: Ints) -> Ragged:
        """Return some of the rows, in the order given."""
        lengths = np.diff(self.starts)[rows]
        starts = _starts(lengths)
        return Ragged(self.flat[_runs(self.starts[rows], lengths, starts)], starts)

    def packed(self, pairs: Ints, rows: Ints) -> tuple[Ints, Ints, Ints]:
        """Return the chosen rows with end marks, several of them in one, and padding on the right.

        Args:
            pairs: The rows that are chosen.
            rows: Where each goes, ascending from 0.

        Returns:
            Tokens `(B, S)`; how many each row has, `(B,)`; and the number of each token's segment in its row,
            `(B, S)`, -1 for padding.
        """
        lengths = self.lengths[pairs]
        ends = np.cumsum(lengths)
        last = np.append(np.flatnonzero(np.diff(rows)), len(rows) - 1)  # of each row
        totals = np.diff(ends[last], prepend=0)
        inside = np.arange(int(totals.max())) < totals[:, None]
        flat = np.full(int(ends[-1]), EOS, np.int64)
        flat[np.delete(np.arange(len(flat)), ends - 1)] = self.select(pairs).flat
        first = np.append(0, last[:-1] + 1)
        tokens, segments = np.zeros(inside.shape, np.int64), np.full(inside.shape, -1, np.int64)
        tokens[inside], segments[inside] = flat, np.repeat(np.arange(len(rows)) - first[rows], lengths)
        return tokens, totals, segments


def _runs(begins: npt.NDArray[np.int32], lengths: npt.NDArray[np.int32], starts: npt.NDArray[np.int32]) -> Ints:
    """Return the places of runs that begin at `begins`, one behind the other; `starts` are the sums of `lengths`."""
    return np.repeat(begins.astype(np.int64) - starts[:-1], lengths) + np.arange(int(starts[-1]))


def _starts(lengths: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int32]:
    starts = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=starts[1:])
    return starts


def cut(order: Iterable[int], lengths: Ints, batch_tokens: int) -> list[Ints]:
    """Cut an order of rows into batches of which rows times longest length is at most `batch_tokens`.

    A row longer than that is a batch alone.

    Example:
        >>> [batch.tolist() for batch in cut([0, 1, 2], np.array([2, 2, 5]), batch_tokens=6)]
        [[0, 1], [2]]
    """
    sizes: list[int] = lengths.tolist()
    batches: list[Ints] = []
    rows: list[int] = []
    longest = 0
    for row in order:
        longest = max(longest, sizes[row])
        if rows and (len(rows) + 1) * longest > batch_tokens:
            batches.append(np.array(rows))
            rows, longest = [], sizes[row]
        rows.append(row)
    return [*batches, np.array(rows)] if rows else batches
