"""Holding out pairs for validation, when the user names no validation files.

Which sources are held out depends on the text alone, by its SHA-256: not on the order of the lines, the
machine or a seed. So a corpus that is shuffled, or grows, keeps most of its validation sentences, and two
runs can be compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onehop.data.pair import Pair
from onehop.data.store import PairStore

SHARE = 0.01
FEWEST, MOST = 200, 2_000
LARGEST_SHARE = 0.2


@dataclass(frozen=True)
class Split:
    """What validates, and what therefore may not train.

    Attributes:
        validation: The held-out sources, each once, with the first of its targets, in the order of the store.
        held: The numbers of all pairs that have one of these sources, ascending, int64.
        where: From the place of a validation pair, from 0, to file and line of its two sides.
    """

    validation: list[Pair]
    held: npt.NDArray[np.int64]
    where: Callable[[int], Pair]

    @classmethod
    def of(cls, store: PairStore) -> Split:
        """Return a split whose validation pairs come from files of their own: nothing is held out."""
        return cls(list(store), np.empty(0, np.int64), store.where)


def hold_out(store: PairStore) -> Split:
    """Hold out 1 % of the pairs for validation, at least 200 and at most 2,000, but no more than a fifth.

    The sources with the smallest SHA-256 are held out. All pairs with such a source leave the training data,
    so no source stands on both sides. A source so frequent that its pairs would exceed the fifth is passed
    over; a corpus of fewer than five pairs has no validation.

    Example:
        >>> store = PairStore()
        >>> store.add((Pair(str(n % 50), str(n)) for n in range(100)), "numbers")
        >>> split = hold_out(store)
        >>> len(split.validation), len(split.held)
        (10, 20)
    """
    digests = _digests(store)
    chosen = _choose(np.sort(digests))
    low = np.flatnonzero(digests <= chosen.max(initial=0))
    held = low[np.isin(digests[low], chosen)]
    first = held[np.sort(np.unique(digests[held], return_index=True)[1])]
    return Split(_fetch(store, first), held, lambda place: store.where(int(first[place])))


def _digests(store: PairStore) -> npt.NDArray[np.uint64]:
    digests = np.empty(len(store), np.uint64)
    sha256 = hashlib.sha256
    for index in range(store.num_blocks):
        sources, _ = store.columns(index)
        data = b"".join([sha256(source.encode("utf-8", "surrogatepass")).digest()[:8] for source in sources])
        numbers = store.numbers(index)
        digests[numbers.start : numbers.stop] = np.frombuffer(data, ">u8")
    return digests


def _choose(ordered: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    room = int(len(ordered) * LARGEST_SHARE)
    wanted = min(max(int(len(ordered) * SHARE), FEWEST), MOST, room)
    chosen: list[int] = []
    start = 0
    while start < len(ordered) and room and len(chosen) < wanted:
        end = int(np.searchsorted(ordered, ordered[start], side="right"))
        if end - start <= room:
            room -= end - start
            chosen.append(start)
        start = end
    return ordered[chosen]


def _fetch(store: PairStore, numbers: npt.NDArray[np.int64]) -> list[Pair]:
    pairs: list[Pair] = []
    for index in range(store.num_blocks):
        block = store.numbers(index)
        low, high = np.searchsorted(numbers, (block.start, block.stop))
        if low < high:
            columns = store.columns(index)
            pairs.extend(Pair(*(column[n - block.start] for column in columns)) for n in numbers[low:high])
    return pairs
