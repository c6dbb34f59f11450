"""Similarity search: the texts of a collection whose vectors are nearest to that of another text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from onehop.errors import DataError, ModelError

TOGETHER = 1 << 22  # cosines that are held at once
DIGITS = 1e6  # to which cosines are rounded: equal vectors differ beyond, by where they stand in a product
NEVER = -2.0  # in place of a cosine, of what is not to be found
NEARLY = 1e-6  # how far a length may be from 1


@dataclass(frozen=True)
class Near:
    """A text that was found.

    Args:
        place: Its number in the collection, from 0.
        cosine: Of its vector and that of what was asked.
    """

    place: int
    cosine: float


class Nearest:
    """Vectors of a collection, all of which are compared: what is found is exact.

    Args:
        vectors: `(N, D)` in float32; one of zeros stands for a text that has none, and is never found.

    Raises:
        DataError: There are none.
        ModelError: One is not finite.

    Example:
        >>> nearest = Nearest(torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
        >>> [(near.place, round(near.cosine, 2)) for near in nearest.find(torch.tensor([[0.0, 1.0]]), 2)[0]]
        [(1, 1.0), (2, 0.71)]
    """

    def __init__(self, vectors: Tensor) -> None:
        if vectors.dim() != 2 or not len(vectors):
            raise DataError("no text to search in", "Give a file of texts.")
        self.vectors = unit(vectors)
        self.nothing = self.vectors.square().sum(1) == 0

    def __len__(self) -> int:
        return len(self.vectors)

    def find(self, asked: Tensor, count: int) -> list[list[Near]]:
        """Return the nearest texts of each vector `(Q, D)`, the nearest first; of equal ones, the first.

        Args:
            asked: What is looked for.
            count: How many of the collection to find; fewer where it is smaller.
        """
        found: list[list[Near]] = []
        for cosines in self._cosines(asked):
            if count < 1:
                found += [[] for _ in cosines]
                continue
            values, places = _first(cosines, min(count, len(self)))
            for own, near in zip(places.tolist(), values.tolist(), strict=True):
                found.append([Near(place, value) for place, value in zip(own, near, strict=True) if value > NEVER])
        return found

    def ranks(self, asked: Tensor, right: Sequence[Sequence[int]], besides: Sequence[Sequence[int]] = ()) -> list[int]:
        """Return the place, from 1, at which the best of the right texts of each vector stands.

        A text of the same cosine stands before it, so that a model that gives all texts one vector finds nothing.

        Args:
            asked: `(Q, D)`.
            right: Numbers of the right texts of each, at least one.
            besides: Numbers of texts that are left out, for each; none where it is empty.

        Example:
            >>> nearest = Nearest(torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
            >>> nearest.ranks(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), [[1], [0, 2]])
            [1, 2]
        """
        places: list[int] = []
        for cosines in self._cosines(asked):
            for row, own in zip(cosines, right[len(places) : len(places) + len(cosines)], strict=True):
                best = row[list(own)].max()
                others = torch.ones_like(row, dtype=torch.bool)
                others[[*own, *(besides[len(places)] if besides else ())]] = False
                places.append(1 + int((row[others] >= best).sum()))
        return places

    def _cosines(self, asked: Tensor) -> Iterator[Tensor]:
        """Yield the cosines of some at a time, `(q, N)`."""
        for part in unit(asked).split(max(1, TOGETHER // len(self))):
            cosines = (part @ self.vectors.T).mul_(DIGITS).round_().div_(DIGITS)
            yield cosines.masked_fill_(self.nothing, NEVER)


def unit(vectors: Tensor) -> Tensor:
    """Return vectors `(N, D)` of length 1, or of zeros; the same tensor where they are so.

    Raises:
        ModelError: One is not finite.
    """
    vectors = vectors.float()
    lengths = vectors.norm(dim=1, keepdim=True)
    if not bool(lengths.isfinite().all()):
        problem = "a model whose vectors are not finite numbers"
        raise ModelError(problem, "Train it anew with a lower learning rate, or use another.")
    if bool(((lengths - 1).abs() < NEARLY).logical_or(lengths == 0).all()):
        return vectors
    return F.normalize(vectors, dim=-1)


def _first(cosines: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest of each row and their places, equal ones in the order of their places."""
    values, places = cosines.topk(count, dim=1)
    for row in ((cosines >= values[:, -1:]).sum(1) > count).nonzero().flatten().tolist():  # equal ones at the end
        places[row] = torch.argsort(cosines[row], descending=True, stable=True)[:count]
    places = places.sort(dim=1)[0]
    values = cosines.gather(1, places)
    order = torch.argsort(values, dim=1, descending=True, stable=True)
    return values.gather(1, order), places.gather(1, order)
