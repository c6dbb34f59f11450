"""Windows: blocks of the corpus in an order of the epoch's own, cut into batches of pairs of like length.

What a window holds is a function of the seed, the epoch and the window's place alone, so a run that is
resumed sees the batches it would have seen. Random numbers come straight from the bit generator (PCG64),
whose stream numpy promises to keep; the streams of its higher functions may change from version to version.
"""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onehop.data.ragged import Ints, Ragged, cut
from onehop.data.tokens import TokenBlock, TokenBlocks

WINDOW_BLOCKS = 16


@dataclass(frozen=True)
class Window:
    """The pairs of a window and their batches.

    Attributes:
        numbers: The pairs' numbers in the store.
        source: Their source tokens.
        target: Their target tokens.
        batches: Rows of the three above, for each batch.
    """

    numbers: Ints
    source: Ragged
    target: Ragged
    batches: list[Ints]


class Windows:
    """Makes the windows of an epoch.

    Args:
        blocks: The tokenised corpus.
        batch_tokens: Most tokens of a batch on each side, padding included.
        seed: Not negative.

    Attributes:
        stop: Once set, a window in the making is given up at its next block.
    """

    def __init__(self, blocks: TokenBlocks, batch_tokens: int, seed: int) -> None:
        self.blocks = blocks
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.stop = threading.Event()

    def __len__(self) -> int:
        return -(-self.blocks.store.num_blocks // WINDOW_BLOCKS)

    def prepare(self, epoch: int, window: int) -> Window:
        """Return a window of an epoch.

        Raises:
            CancelledError: `stop` was set.
        """
        order = np.argsort(_draw(self.blocks.store.num_blocks, self.seed, epoch, 0), kind="stable")
        indices = order[window * WINDOW_BLOCKS : (window + 1) * WINDOW_BLOCKS].tolist()
        blocks = [self._block(index) for index in indices]
        starts = [self.blocks.store.numbers(index).start for index in indices]
        numbers = [start + block.kept.astype(np.int64) for start, block in zip(starts, blocks, strict=True)]
        source = Ragged.concatenate([block.source for block in blocks])
        target = Ragged.concatenate([block.target for block in blocks])
        return Window(np.concatenate(numbers), source, target, self._batches(source, target, epoch, window))

    def _block(self, index: int) -> TokenBlock:
        if self.stop.is_set():
            raise CancelledError
        return self.blocks.block(index)

    def _batches(self, source: Ragged, target: Ragged, epoch: int, window: int) -> list[Ints]:
        draws = _draw(2 * len(source) + 1, self.seed, epoch, window + 1)
        ties, shuffle = draws[1 : len(source) + 1], draws[len(source) + 1 :]
        order = order_by_length(source.lengths, target.lengths, int(draws[0]), ties)
        batches = cut(order.tolist(), np.maximum(source.lengths, target.lengths), self.batch_tokens)
        return [batches[place] for place in np.argsort(shuffle[: len(batches)], kind="stable")]


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
