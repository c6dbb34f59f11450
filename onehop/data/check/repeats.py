"""Pairs that stand twice: inside of the training data, and in training and what is to test it.

Lines are compared by 64-bit hashes of their normalised form: eight bytes for each line, and two lines of a million
are taken for equal by chance once in ten million corpora.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from onehop.data.check.text import PRIME, Hashes, mix

Numbers = npt.NDArray[np.int64]


class Hashed:
    """The hashes of both sides of a split, in the order of its pairs."""

    def __init__(self) -> None:
        self._parts: tuple[list[Hashes], list[Hashes]] = ([], [])

    def add(self, source: Hashes, target: Hashes) -> None:
        """Append some pairs."""
        for parts, values in zip(self._parts, (source, target), strict=True):
            parts.append(values)

    def side(self, side: int) -> Hashes:
        """Return the hashes of one side."""
        parts = self._parts[side]
        parts[:] = [np.concatenate(parts) if parts else np.zeros(0, np.uint64)]
        return parts[0]

    def pairs(self) -> Hashes:
        """Return a hash of each pair."""
        return mix(self.side(0) * np.uint64(PRIME) + self.side(1))


def repeats(hashes: Hashes) -> Numbers:
    """Return the numbers of those that stood before, ascending.

    Example:
        >>> repeats(np.array([7, 8, 7, 7], np.uint64)).tolist()
        [2, 3]
    """
    order = np.argsort(hashes, kind="stable")
    same = hashes[order[1:]] == hashes[order[:-1]]
    return np.sort(order[1:][same])


def shared(hashes: Hashes, others: Hashes) -> Numbers:
    """Return the numbers of those that are also among the others, ascending.

    Example:
        >>> shared(np.array([7, 8, 9], np.uint64), np.array([9, 7], np.uint64)).tolist()
        [0, 2]
    """
    known = np.sort(hashes)
    if not len(known) or not len(others):
        return np.zeros(0, np.int64)
    found = np.zeros(len(known), bool)
    for start in range(0, len(others), 1 << 16):  # little of a large corpus is copied at once
        part = others[start : start + (1 << 16)]
        place = np.minimum(np.searchsorted(known, part), len(known) - 1)
        found[place[known[place] == part]] = True
    present = known[found]
    place = np.minimum(np.searchsorted(present, hashes), max(len(present) - 1, 0))
    return np.flatnonzero(present[place] == hashes) if len(present) else np.zeros(0, np.int64)
