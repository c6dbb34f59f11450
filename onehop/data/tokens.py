"""A store's pairs as tokens within the length limit, block by block, in memory as far as there is room.

Where pieces are drawn anew in each epoch (BPE-dropout), the limit is still applied to the usual pieces, once: what it
keeps depends on the text alone. A line whose drawn pieces are too many keeps its usual ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from onehop.data.ragged import Ints, Ragged
from onehop.data.store import PairStore
from onehop.text.ledger import LabelCounts, Ledger
from onehop.text.limit import limit, limit_pair

Words = npt.NDArray[np.uint64]
CACHE_BYTES = 256 << 20


@runtime_checkable
class BatchEncoder(Protocol):
    """What is needed of a tokenizer here."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, without control tokens."""
        ...


@runtime_checkable
class SampleEncoder(BatchEncoder, Protocol):
    """What is needed besides for BPE-dropout."""

    def sample_batch(self, texts: Sequence[str], keys: Sequence[int], p: float) -> list[list[int]]:
        """Return tokens of each text, drawn by its key alone: each merge is left out with probability `p`."""
        ...


@runtime_checkable
class LabelEncoder(BatchEncoder, Protocol):
    """What encodes targets that are no text, so that the length limit leaves them alone.

    Attributes:
        labels: Their names, in the order of the tokens; what the limit does is then counted by label, too. A greater
            token is no label. Empty where targets have none, such as numbers.
    """

    labels: Sequence[str]


@runtime_checkable
class WindowEncoder(BatchEncoder, Protocol):
    """What divides sources that are too long into windows, which only sources of labels and the like can be."""

    def in_windows(self, tokens: list[int], ledger: Ledger, where: str) -> list[int]:
        """Return the row of a source that is too long; the ledger counts its windows."""
        ...


def names_of(labels: Sequence[str], target: Sequence[int]) -> list[str]:
    """Return the labels of a target.

    Example:
        >>> names_of(["dark", "loud"], [2, 1])
        ['loud']
    """
    return [labels[token] for token in target if token < len(labels)]


@dataclass(frozen=True)
class TokenBlock:
    """Those pairs of a block that train.

    Attributes:
        kept: Their places in the block, uint16.
        source: Their source tokens.
        target: Their target tokens.
    """

    kept: npt.NDArray[np.uint16]
    source: Ragged
    target: Ragged

    def select(self, rows: Ints) -> TokenBlock:
        """Return some of the pairs."""
        return TokenBlock(self.kept[rows], self.source.select(rows), self.target.select(rows))


class TokenBlocks:
    """Tokenises the blocks of a store; 256 MiB of tokens stay in memory, the rest is made again when read.

    Args:
        store: The pairs.
        source_tokenizer: For the sources.
        target_tokenizer: For the targets.
        ledger: The length limit; each block gets a ledger of its own like it.
        held: Numbers of the pairs that do not train, ascending.
        tags: For each file of the store, the token put before its sources, or None; the limit does not count it.
    """

    def __init__(
        self,
        store: PairStore,
        source_tokenizer: BatchEncoder,
        target_tokenizer: BatchEncoder,
        ledger: Ledger,
        held: Ints,
        tags: Sequence[int | None],
    ) -> None:
        self.store, self.ledger = store, ledger
        self._encoders = source_tokenizer, target_tokenizer
        self._labelled = isinstance(target_tokenizer, LabelEncoder)
        self._labels = target_tokenizer.labels if isinstance(target_tokenizer, LabelEncoder) else ()
        self._held, self._tags = held, tags
        self._cache: dict[int, TokenBlock] = {}
        self._room = CACHE_BYTES
        self._ledgers: dict[int, Ledger] = {}
        self._num_kept = 0

    @property
    def barren(self) -> bool:
        """Whether all blocks have been read and no pair was left."""
        return not self._num_kept and len(self._ledgers) == self.store.num_blocks

    def ledger_of(self, index: int) -> Ledger:
        """Return what the limit did to a block, which has been read."""
        return self._ledgers[index]

    def block(self, index: int) -> TokenBlock:
        """Return the tokens of a block.

        Raises:
            LengthError: A pair is too long and the policy is `error`.
        """
        if index in self._cache:
            return self._cache[index]
        block = self._tokenise(index)
        size = block.kept.nbytes + block.source.nbytes + block.target.nbytes
        if size <= self._room:
            self._room -= size
            self._cache[index] = block
        return block

    def drawn(self, index: int, block: TokenBlock, keys: tuple[Words, Words], p: float) -> TokenBlock:
        """Return pairs of a block with pieces drawn anew.

        Args:
            index: The block's.
            block: Its pairs with their usual tokens, or some of these pairs.
            keys: For each source and target of the whole block, what its draw depends on.
            p: Probability of each merge to be left out.
        """
        places, tag, columns = block.kept.tolist(), self._tag(index), self.store.columns(index)
        sides: list[Ragged] = []
        for side, usual in enumerate((block.source, block.target)):
            encoder, prefix = cast("SampleEncoder", self._encoders[side]), [] if side else tag
            found = encoder.sample_batch([columns[side][place] for place in places], keys[side][places].tolist(), p)
            fits = [len(row) <= self.ledger.max_length for row in found]
            rows = [prefix + row if fits[n] else usual.row(n) for n, row in enumerate(found)]
            sides.append(Ragged.from_rows(rows))
        return TokenBlock(block.kept, *sides)

    def _tag(self, index: int) -> list[int]:
        """Return what is put before the sources of a block."""
        tag = self._tags[self.store.file(index)] if self._tags else None
        return [] if tag is None else [tag]

    def _tokenise(self, index: int) -> TokenBlock:
        numbers = self.store.numbers(index)
        low, high = np.searchsorted(self._held, (numbers.start, numbers.stop))
        places = np.delete(np.arange(len(numbers)), self._held[low:high] - numbers.start)
        sources, targets = (
            encoder.encode_batch([column[place] for place in places.tolist()])
            for encoder, column in zip(self._encoders, self.store.columns(index), strict=True)
        )
        ledger = replace(self.ledger)
        rows = self._limit(sources, targets, (numbers.start + places).tolist(), ledger)
        if index not in self._ledgers:
            self._ledgers[index] = ledger
            self._num_kept += len(rows)
        tag = self._tag(index)
        return TokenBlock(
            places[rows].astype(np.uint16),
            Ragged.from_rows([tag + sources[row] for row in rows]),
            Ragged.from_rows([targets[row] for row in rows]),
        )

    def _limit(
        self, sources: list[list[int]], targets: list[list[int]], numbers: list[int], ledger: Ledger
    ) -> list[int]:
        """Cut long rows in their place and return the rows that stay."""
        sides = (sources,) if self._labelled else (sources, targets)
        lengths = np.array([list(map(len, side)) for side in sides]).max(axis=0)
        long = lengths > ledger.max_length
        # Short rows, which are nearly all, are entered at once: a call for each would take most of the time
        # here.
        ledger.lines += int(np.count_nonzero(~long))
        ledger.longest = max(ledger.longest, int(lengths.max(initial=0)))
        self._enter_short(targets, long, ledger)
        dropped: set[int] = set()
        for row in np.flatnonzero(long).tolist():
            pair = self._kept(sources[row], targets[row], ledger, self.store.where(numbers[row]))
            if pair is None:
                dropped.add(row)
            else:
                sources[row], targets[row] = pair
        return [row for row in range(len(numbers)) if row not in dropped]

    def _kept(
        self, source: list[int], target: list[int], ledger: Ledger, where: tuple[str, str]
    ) -> tuple[list[int], list[int]] | None:
        """Return what is kept of a pair that is too long, or None."""
        if not self._labelled:
            return limit_pair(source, target, ledger, *where)
        with ledger.of(*names_of(self._labels, target)):
            if ledger.policy == "window":
                return cast("WindowEncoder", self._encoders[0]).in_windows(source, ledger, where[0]), target
            kept = limit(source, ledger, where[0])
        return None if kept is None else (kept, target)

    def _enter_short(self, targets: list[list[int]], long: npt.NDArray[np.bool_], ledger: Ledger) -> None:
        """Count the rows that are not too long under their labels, if they have some."""
        if self._labels:
            short = (target for target, is_long in zip(targets, long.tolist(), strict=True) if not is_long)
            tokens = np.fromiter(chain.from_iterable(short), np.int64)
            counts = np.bincount(tokens, minlength=len(self._labels)).tolist()
            for label, count in zip(self._labels, counts, strict=False):
                if count:
                    ledger.by_label[label] = LabelCounts(lines=count, affected=0, tokens=0)
