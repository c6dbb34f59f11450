"""Similarity search: the texts of a collection whose vectors are nearest to that of another text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from onehop.errors import DataError

TOGETHER = 1 << 22  # cosines that are held at once


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
        vectors: `(N, D)` in float32, of any length but 0.

    Raises:
        DataError: There are none.

    Example:
        >>> nearest = Nearest(torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
        >>> [(near.place, round(near.cosine, 2)) for near in nearest.find(torch.tensor([[0.0, 1.0]]), 2)[0]]
        [(1, 1.0), (2, 0.71)]
    """

    def __init__(self, vectors: Tensor) -> None:
        if vectors.dim() != 2 or not len(vectors):
            raise DataError("no text to search in", "Give a file of texts.")
        self.vectors = F.normalize(vectors.float(), dim=-1)

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
            pairs = zip(places.tolist(), values.tolist(), strict=True)
            found += [list(map(Near, own, near)) for own, near in pairs]
        return found

    def ranks(self, asked: Tensor, right: Sequence[Sequence[int]]) -> list[int]:
        """Return the place, from 1, at which the best of the right texts of each vector stands.

        A text of the same cosine stands before it, so that a model that gives all texts one vector finds nothing.

        Args:
            asked: `(Q, D)`.
            right: Numbers of the right texts of each, at least one.

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
                others[list(own)] = False
                places.append(1 + int((row[others] >= best).sum()))
        return places

    def _cosines(self, asked: Tensor) -> Iterator[Tensor]:
        """Yield the cosines of some at a time, `(q, N)`."""
        for part in F.normalize(asked.float(), dim=-1).split(max(1, TOGETHER // len(self))):
            yield part @ self.vectors.T


def _first(cosines: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest of each row and their places, equal ones in the order of their places."""
    values, places = cosines.topk(count, dim=1)
    for row in ((cosines >= values[:, -1:]).sum(1) > count).nonzero().flatten().tolist():  # equal ones at the end
        places[row] = torch.argsort(cosines[row], descending=True, stable=True)[:count]
    places = places.sort(dim=1)[0]
    values = cosines.gather(1, places)
    order = torch.argsort(values, dim=1, descending=True, stable=True)
    return values.gather(1, order), places.gather(1, order)
