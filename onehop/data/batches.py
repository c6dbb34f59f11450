"""Batches of tokens: for training, without end and from any position; for validation; and for inference.

Batches are filled to a budget of tokens rather than of sentences, with pairs of like length together, so that
little of the work goes into padding.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from typing import final

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from onehop.data.ragged import Ints, Ragged, cut
from onehop.data.store import PairStore
from onehop.data.tokens import BatchEncoder, LabelEncoder, TokenBlocks, WindowEncoder
from onehop.data.windows import Sampling, Window, Windows, order_by_length
from onehop.errors import DataError
from onehop.text.ledger import Counts, Ledger

EVERYTHING = Sampling()


@dataclass(frozen=True)
class Batch:
    """Pairs of sentences as tokens, padded on the right with 0; each sentence ends with the end mark, 2.

    A row holds one pair, or several of a packed batch, each a segment of its own.

    Attributes:
        source: Source tokens.
        source_lengths: Tokens of each source row, end marks included.
        target: Target tokens, without a begin mark.
        target_lengths: Tokens of each target row, end marks included.
        pairs: Numbers of the pairs in their store or list, row by row.
        num_targets: Target tokens of the batch, end marks included and padding not.
        source_segments: Of a packed batch, the number of each token's pair in its row, -1 for padding; else None.
        target_segments: The same for the targets; a target reads the source of its own number.
    """

    source: Int64[Tensor, "B S"]
    source_lengths: Int64[Tensor, " B"]
    target: Int64[Tensor, "B T"]
    target_lengths: Int64[Tensor, " B"]
    pairs: tuple[int, ...]
    num_targets: int
    source_segments: Int64[Tensor, "B S"] | None = None
    target_segments: Int64[Tensor, "B T"] | None = None

    @property
    def num_cells(self) -> int:
        """Cells of both sides, padding included."""
        return self.source.numel() + self.target.numel()

    @property
    def num_tokens(self) -> int:
        """Tokens of both sides, end marks included and padding not."""
        return int(self.source_lengths.sum() + self.target_lengths.sum())

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on a device."""
        return self.map(lambda rows: rows.to(device))

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch with every tensor changed; the numbers beside them stay."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: change(value) for name, value in values.items() if isinstance(value, Tensor)})


@dataclass(frozen=True)
class Position:
    """A place in the endless sequence of training batches, from 0.

    Attributes:
        epoch: Passes over the corpus that are complete.
        window: Windows of this epoch that are complete.
        batch: Batches of this window that have been given out.

    Example:
        >>> Position(**Position(1, 0, 7).to_dict())
        Position(epoch=1, window=0, batch=7)
    """

    epoch: int = 0
    window: int = 0
    batch: int = 0

    def to_dict(self) -> dict[str, int]:
        """Return the fields, for a record."""
        return asdict(self)


@final
class TrainingBatches:
    """An endless iterator of batches, in an order that the seed and the text alone decide.

    The corpus is read in windows of 16 blocks, in another order in each epoch; within a window, batches are
    made of pairs of like length and then shuffled; or, packed, of pairs of all lengths that fill its rows. A thread
    prepares the next window while this one is used.

    Args:
        store: The corpus.
        source_tokenizer: For the sources.
        target_tokenizer: For the targets.
        batch_tokens: Rows times longest row of a batch at most, on either side, end marks included. A pair
            longer than this is a batch alone.
        max_length: Tokens of a sentence at most, without its end mark.
        long_policy: What happens to longer pairs: `drop`, `cut` or `error`; or `window`, where targets are no text and
            the sources' tokenizer is a `WindowEncoder`.
        seed: Not negative.
        held: Numbers of the pairs that do not train, ascending; see `hold_out`.
        sampling: How often each file is seen, tags, and BPE-dropout; default: each pair once in each epoch.
        packing: Put several pairs into a row; see `Batch`.
        finish: What is done to every batch before it is given out.

    Attributes:
        position: The place of the batch that comes next; to be saved, and restored with `seek`.
        ledgers: For each file of the store, what the length limit did, so far, to the pairs of the windows that batches
            were given out of, each pair once; to be saved and restored likewise.

    Raises:
        ConfigError: `long_policy`, `max_length` or `sampling` cannot be used.

    Example:
        >>> from onehop.data import Pair
        >>> class Letters:
        ...     def encode_batch(self, texts):
        ...         return [[ord(letter) for letter in text] for text in texts]
        >>> store = PairStore()
        >>> store.add([Pair("ab", "AB"), Pair("c", "C")], "letters")
        >>> settings = dict(batch_tokens=6, max_length=9, long_policy="drop", seed=1)
        >>> batches = TrainingBatches(store, Letters(), Letters(), **settings)
        >>> next(batches).num_targets
        5
        >>> batches.position
        Position(epoch=0, window=0, batch=1)
    """

    def __init__(
        self,
        store: PairStore,
        source_tokenizer: BatchEncoder,
        target_tokenizer: BatchEncoder,
        *,
        batch_tokens: int,
        max_length: int,
        long_policy: str,
        seed: int,
        held: Ints | None = None,
        sampling: Sampling = EVERYTHING,
        packing: bool = False,
        finish: Callable[[Batch], Batch] | None = None,
    ) -> None:
        self._finish = finish or (lambda batch: batch)
        divides = isinstance(source_tokenizer, WindowEncoder) and isinstance(target_tokenizer, LabelEncoder)
        self._limit = (Ledger if divides else Ledger.of_pairs)("train", max_length, long_policy)
        self.ledgers = [replace(self._limit) for _ in range(store.num_files)]
        self._looked: set[int] = set()  # blocks that are entered in the ledgers
        self._at = (-1, -1)  # the window whose blocks were entered last
        self.position = Position()
        held = np.empty(0, np.int64) if held is None else held
        sampling.check(store.num_files)
        blocks = TokenBlocks(store, source_tokenizer, target_tokenizer, self._limit, held, sampling.tags)
        self._windows = Windows(blocks, batch_tokens, seed, sampling, packing)
        self._worker = ThreadPoolExecutor(1, "batches")
        self._futures: dict[tuple[int, int], Future[Window]] = {}
        weakref.finalize(self, self._windows.stop.set)  # an iterator that is dropped stops its thread

    @property
    def ledger(self) -> Ledger:
        """What the length limit did, so far, to all files together."""
        total = replace(self._limit)
        for ledger in self.ledgers:
            total.add(ledger)
        return total

    @property
    def whole(self) -> bool:
        """Whether the ledgers hold every pair that an epoch sees."""
        return len(self._looked) >= len({index for index, _, _ in self._windows.visits})

    def seek(self, position: Position, counts: Sequence[Counts] = ()) -> None:
        """Go on from a position, as if all batches before it had just been given out.

        Args:
            position: Where.
            counts: The figures of `ledgers` there; without them, counting goes on from what this object has seen.

        Raises:
            DataError: The corpus has no such window.
        """
        if position.window >= len(self._windows):
            raise DataError(
                f"no window {position.window} in a corpus of {len(self._windows)}",
                "The data is not what the run was started with; restore it or start a new run.",
            )
        self.position = position
        if counts and not self._looked:
            self.ledgers = [replace(self._limit, **figures) for figures in counts]
            past = len(self._windows) if position.epoch else position.window + (position.batch > 0)
            self._looked = {index for window in range(past) for index in self._windows.indices(0, window)}

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """Return the next batch.

        Raises:
            DataError: No pair of the corpus is short enough to train on.
            LengthError: A pair is too long and the policy is `error`.
            FileError: The store cannot be read.
        """
        at = self.position
        while at.batch >= len((window := self._window(at.epoch, at.window)).batches):
            at = Position(*self._after(at.epoch, at.window))
        self.position = Position(at.epoch, at.window, at.batch + 1)
        layout = window.batches[at.batch]
        numbers = window.numbers[layout.pairs]
        if layout.rows is not None:
            return self._finish(_packed(window.source, window.target, layout.pairs, layout.rows, numbers))
        return self._finish(_batch(window.source, window.target, layout.pairs, numbers))

    def _window(self, epoch: int, window: int) -> Window:
        """Return a window; it and the one after it are kept at hand."""
        here, ahead = (epoch, window), self._after(epoch, window)
        if self._futures.keys() != {here, ahead}:
            future = self._futures.get(here) or self._worker.submit(self._windows.prepare, *here)
            self._futures = {here: future}
            if not future.result().batches and self._windows.blocks.barren:
                self._look(range(self._windows.blocks.store.num_blocks))
                raise DataError(
                    f"no pair is left to train on; {self.ledger.summary()}",
                    "Give a larger text.max_length, or cut long lines instead of dropping them.",
                )
            self._futures[ahead] = self._worker.submit(self._windows.prepare, *ahead)
        found = self._futures[here].result()
        if here != self._at:
            self._look(self._windows.indices(*here))
            self._at = here
        return found

    def _look(self, blocks: Iterable[int]) -> None:
        """Enter blocks, which have been read, in the ledgers; not those that were before."""
        for index in blocks:
            if index not in self._looked:
                self._looked.add(index)
                self.ledgers[self._windows.blocks.store.file(index)].add(self._windows.blocks.ledger_of(index))

    def _after(self, epoch: int, window: int) -> tuple[int, int]:
        return (epoch, window + 1) if window + 1 < len(self._windows) else (epoch + 1, 0)

    def check_lengths(self) -> None:
        """Read the whole corpus once, so that a pair that is too long is an error now and not hours later.

        Raises:
            LengthError: A pair is too long and the policy is `error`.
        """
        blocks = range(self._windows.blocks.store.num_blocks)
        for index in blocks:
            self._windows.blocks.block(index)
        self._look(blocks)

    def close(self) -> None:
        """Stop the thread that prepares windows; no batch may be asked for after that."""
        self._windows.stop.set()
        self._worker.shutdown(wait=True, cancel_futures=True)


def evaluation_batches(
    sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], batch_tokens: int
) -> Iterator[Batch]:
    """Batch all pairs once, by length, for a validation loss.

    Args:
        sources: Source tokens of each pair, without end marks.
        targets: Target tokens of each pair, likewise.
        batch_tokens: Rows times longest row of a batch at most, on either side, end marks included.

    Example:
        >>> [batch.pairs for batch in evaluation_batches([[5, 6], [7], [8]], [[5], [6], [7]], batch_tokens=4)]
        [(1, 2), (0,)]
    """
    source, target = Ragged.from_rows(sources), Ragged.from_rows(targets)
    order = order_by_length(source.lengths, target.lengths, 0, np.arange(len(source), dtype=np.uint64))
    for rows in cut(order.tolist(), np.maximum(source.lengths, target.lengths), batch_tokens):
        yield _batch(source, target, rows, rows)


def fixed_batches(
    sources: Sequence[Sequence[int]], batch_tokens: int
) -> Iterator[tuple[list[int], Int64[Tensor, "B S"], Int64[Tensor, " B"]]]:
    """Batch source sentences by length, for inference; the longest first, which need most memory.

    Args:
        sources: Tokens of each sentence, without end marks.
        batch_tokens: Rows times longest row of a batch at most, end marks included.

    Yields:
        The places of the sentences in `sources`; their tokens, with end marks and padded on the right with 0;
        and their lengths, the end mark included.

    Example:
        >>> for places, tokens, lengths in fixed_batches([[5], [6, 7, 8], [9]], batch_tokens=4):
        ...     print(places, tokens.tolist(), lengths.tolist())
        [1] [[6, 7, 8, 2]] [4]
        [0, 2] [[5, 2], [9, 2]] [2, 2]
    """
    source = Ragged.from_rows(sources)
    order = np.argsort(-source.lengths, kind="stable")
    for rows in cut(order.tolist(), source.lengths, batch_tokens):
        tokens, lengths = source.padded(rows)
        yield rows.tolist(), torch.from_numpy(tokens), torch.from_numpy(lengths)


def _batch(source: Ragged, target: Ragged, rows: Ints, pairs: Ints) -> Batch:
    (source_tokens, source_lengths), (target_tokens, target_lengths) = (
        source.padded(rows),
        target.padded(rows),
    )
    return Batch(
        torch.from_numpy(source_tokens),
        torch.from_numpy(source_lengths),
        torch.from_numpy(target_tokens),
        torch.from_numpy(target_lengths),
        tuple(pairs.tolist()),
        num_targets=int(target_lengths.sum()),
    )


def _packed(source: Ragged, target: Ragged, places: Ints, rows: Ints, pairs: Ints) -> Batch:
    sides = [*source.packed(places, rows), *target.packed(places, rows)]
    source_tokens, source_lengths, source_segments, target_tokens, target_lengths, target_segments = map(
        torch.from_numpy, sides
    )
    return Batch(
        source_tokens,
        source_lengths,
        target_tokens,
        target_lengths,
        tuple(pairs.tolist()),
        num_targets=int(target_lengths.sum()),
        source_segments=source_segments,
        target_segments=target_segments,
    )
