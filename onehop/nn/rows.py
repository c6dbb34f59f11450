"""Packed rows taken apart into padded ones and put together again, for what reads a sequence step by step."""

from __future__ import annotations

import torch
from torch import Tensor

from onehop.nn.masks import places


class Rows:
    """Where each sentence of packed rows stands.

    Args:
        segments: `(B, S)` int64, the number of each position's sentence, from 0 in every row; -1 for padding.
        counts: `(B,)`, sentences of each row, where another side has them too; None to count them here.

    Example:
        >>> rows = Rows(torch.tensor([[0, 0, 1, -1], [0, 1, 1, 1]]))
        >>> rows.split(torch.tensor([[5, 6, 7, 0], [8, 9, 9, 9]]))
        tensor([[5, 6, 0],
                [7, 0, 0],
                [8, 0, 0],
                [9, 9, 9]])
    """

    def __init__(self, segments: Tensor, counts: Tensor | None = None) -> None:
        self.shape, self.real = segments.shape, segments >= 0
        self.counts = sentences(segments) if counts is None else counts
        first = self.counts.cumsum(0) - self.counts
        self._row = (first.unsqueeze(1) + segments)[self.real]
        self._place = places(segments)[self.real]
        size = int(self.counts.sum())
        ones = torch.ones_like(self._row)
        self.lengths = torch.zeros(size, dtype=torch.int64, device=segments.device).index_add_(0, self._row, ones)

    def split(self, x: Tensor) -> Tensor:
        """Return `x (B, S, ...)` as `(N, L, ...)`: a row for each sentence, zeros behind its end."""
        width = int(self.lengths.max()) if len(self.lengths) else 0
        apart = x.new_zeros(len(self.lengths), width, *x.shape[2:])
        return apart.index_put((self._row, self._place), x[self.real])

    def firsts(self, x: Tensor) -> Tensor:
        """Return what `x (B, S)` has at the first position of each sentence, `(N,)`."""
        return self.split(x)[:, 0]

    def join(self, x: Tensor) -> Tensor:
        """Return `x (N, L, ...)` as `(B, S, ...)`, zeros where there is padding."""
        packed = x.new_zeros(*self.shape, *x.shape[2:])
        return packed.index_put(tuple(self.real.nonzero(as_tuple=True)), x[self._row, self._place])


def sentences(segments: Tensor) -> Tensor:
    """Return `(B,)`: how many sentences stand in each row of `segments (B, S)`."""
    return segments.amax(1) + 1 if segments.size(1) else segments.new_zeros(len(segments))


def together(x: Tensor, lengths: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of each group one behind the other, `(T, L, ...)`, and how long each is, `(T,)`.

    Args:
        x: `(N, S, ...)`, padded rows.
        lengths: `(N,)`, real positions of each.
        groups: `(N,)` int64, ascending from 0, without gaps.

    Example:
        >>> x = torch.tensor([[1, 2, 0], [3, 0, 0], [4, 5, 6]])
        >>> together(x, torch.tensor([2, 1, 3]), torch.tensor([0, 0, 1]))
        (tensor([[1, 2, 3],
                [4, 5, 6]]), tensor([3, 3]))
    """
    count = int(groups[-1]) + 1 if len(groups) else 0
    sizes = torch.zeros(count, dtype=torch.int64, device=x.device).index_add_(0, groups, lengths)
    row, place = (torch.arange(x.size(1), device=x.device) < lengths.unsqueeze(1)).nonzero(as_tuple=True)
    before = lengths.cumsum(0) - lengths  # positions of all rows before each
    first = sizes.cumsum(0) - sizes  # and before each group
    whole = x.new_zeros(count, int(sizes.max()) if count else 0, *x.shape[2:])
    return whole.index_put((groups[row], before[row] - first[groups[row]] + place), x[row, place]), sizes
