"""Windows: blocks of the corpus in an order of the epoch's own, cut into batches of pairs of like length.

What a window holds is a function of the seed, the epoch and the window's place alone, so a run that is
resumed sees the batches it would have seen. Random numbers come straight from the bit generator (PCG64),
whose stream numpy promises to keep; the streams of its higher functions may change from version to version.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onehop.data.packing import Layout, pack
from onehop.data.ragged import Ints, Ragged, cut
from onehop.data.tokens import TokenBlock, TokenBlocks
from onehop.errors import ConfigError

WINDOW_BLOCKS = 16

# Last words of the keys of draws, so that no two are alike; the order of blocks and pairs has none.
SOME, SOURCES, TARGETS = 1, 2, 3


@dataclass(frozen=True)
class Sampling:
    """What an epoch sees of the corpus, where that is not each pair once and in its usual pieces.

    Attributes:
        weights: For each file of the store, how often an epoch sees each of its pairs, on average; empty: once. Of a
            weight of 2.3, each pair is seen twice, and three in ten are drawn for a third time.
        tags: For each file of the store, the token put before its sources (Caswell et al. 2019, "Tagged
            Back-Translation"), or None; empty: none. The length limit does not count it.
        dropout: Probability with which each merge of pieces is left out (Provilkov et al. 2020, "BPE-Dropout"), drawn
            anew in each epoch, in [0, 1].

    Example:
        >>> Sampling(weights=(1.0, 0.5)).visits([0, 1, 1])
        [(0, 0, 1.0), (1, 0, 0.5), (2, 0, 0.5)]
    """

    weights: tuple[float, ...] = ()
    tags: tuple[int | None, ...] = ()
    dropout: float = 0.0

    def check(self, num_files: int) -> None:
        """Raise a `ConfigError` unless there is one weight and one tag for each file."""
        for name, values in (("weights", self.weights), ("tags", self.tags)):
            if values and len(values) != num_files:
                raise ConfigError(f"{len(values)} {name} for {num_files} files", "Give one for each file.", name)

    def visits(self, files: Sequence[int]) -> list[tuple[int, int, float]]:
        """Return what an epoch reads: blocks, how often each was read before, and which share of its pairs it takes.

        Args:
            files: Of each block, the number of its file.
        """
        found: list[tuple[int, int, float]] = []
        for block, file in enumerate(files):
            weight = self.weights[file] if self.weights else 1.0
            found += [(block, time, 1.0) for time in range(int(weight))]
            if weight % 1:
                found.append((block, int(weight), weight % 1))
        return found


@dataclass(frozen=True)
class Window:
    """The pairs of a window and their batches.

    Attributes:
        numbers: The pairs' numbers in the store.
        source: Their source tokens.
        target: Their target tokens.
        batches: Which of them go together.
    """

    numbers: Ints
    source: Ragged
    target: Ragged
    batches: list[Layout]


class Windows:
    """Makes the windows of an epoch.

    Args:
        blocks: The tokenised corpus.
        batch_tokens: Most tokens of a batch on each side, padding included.
        seed: Not negative.
        sampling: What an epoch sees of the corpus.
        packing: Whether pairs share rows.

    Attributes:
        stop: Once set, a window in the making is given up at its next block.
    """

    def __init__(self, blocks: TokenBlocks, batch_tokens: int, seed: int, sampling: Sampling, packing: bool) -> None:
        self.blocks = blocks
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.sampling, self.packing = sampling, packing
        self.visits = sampling.visits([blocks.store.file(index) for index in range(blocks.store.num_blocks)])
        self.stop = threading.Event()

    def __len__(self) -> int:
        return -(-len(self.visits) // WINDOW_BLOCKS)

    def prepare(self, epoch: int, window: int) -> Window:
        """Return a window of an epoch.

        Raises:
            CancelledError: `stop` was set.
        """
        visits = self._visits_of(epoch, window)
        blocks = [self._block(epoch, *visit) for visit in visits]
        starts = [self.blocks.store.numbers(index).start for index, _, _ in visits]
        numbers = [start + block.kept.astype(np.int64) for start, block in zip(starts, blocks, strict=True)]
        source = Ragged.concatenate([block.source for block in blocks])
        target = Ragged.concatenate([block.target for block in blocks])
        return Window(np.concatenate(numbers), source, target, self._batches(source, target, epoch, window))

    def indices(self, epoch: int, window: int) -> list[int]:
        """Return the blocks that a window of an epoch visits, in order; one may come twice."""
        return [index for index, _, _ in self._visits_of(epoch, window)]

    def _visits_of(self, epoch: int, window: int) -> list[tuple[int, int, float]]:
        order = np.argsort(_draw(len(self.visits), self.seed, epoch, 0), kind="stable")
        places = order[window * WINDOW_BLOCKS : (window + 1) * WINDOW_BLOCKS]
        return [self.visits[place] for place in places.tolist()]

    def _block(self, epoch: int, index: int, time: int, share: float) -> TokenBlock:
        """Return what one visit takes of a block; each draw depends on the seed, the epoch and the pair's number."""
        if self.stop.is_set():
            raise CancelledError
        block, size = self.blocks.block(index), len(self.blocks.store.numbers(index))
        key = self.seed, epoch, index + 1
        if share < 1:
            some = _draw(size, *key, SOME) < np.uint64(share * 2**64)
            block = block.select(np.flatnonzero(some[block.kept]))
        if self.sampling.dropout:
            keys = _draw(size, *key, SOURCES, time), _draw(size, *key, TARGETS, time)
            block = self.blocks.drawn(index, block, keys, self.sampling.dropout)
        return block

    def _batches(self, source: Ragged, target: Ragged, epoch: int, window: int) -> list[Layout]:
        draws = _draw(2 * len(source) + 1, self.seed, epoch, window + 1)
        ties, shuffle = draws[1 : len(source) + 1], draws[len(source) + 1 :]
        if self.packing:
            order = np.argsort(ties, kind="stable").tolist()
            return pack(order, source.lengths, target.lengths, self.batch_tokens)
        order = order_by_length(source.lengths, target.lengths, int(draws[0]), ties)
        batches = cut(order.tolist(), np.maximum(source.lengths, target.lengths), self.batch_tokens)
        return [Layout(batches[place]) for place in np.argsort(shuffle[: len(batches)], kind="stable")]


def order_by_length(source: Ints, target: Ints, shift: int, ties: npt.NDArray[np.uint64]) -> Ints:
    """Order pairs so that neighbours need little padding, and yet have other neighbours in each epoch.

    Pairs are sorted by the longer side, which counts for the budget of a batch, and then by the difference of
    the sides, in steps of two and with alternating sign, so that it does not jump where the longer side grows
    by one. Ties are broken at random, and `shift` moves the steps and turns the signs.
    """
    longest = np.maximum(source, target)
    offset, turn = shift & 1, shift >> 1 & 1
    step = (source - target + offset) // 2
    return np.lexsort((ties, np.where((longest + turn) % 2 == 0, step, -step), longest))


def _draw(count: int, *key: int) -> npt.NDArray[np.uint64]:
    return np.random.PCG64(list(key)).random_raw(count)
