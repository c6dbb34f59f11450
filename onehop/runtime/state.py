"""What a fast decoder remembers: rows by numbers into a cache that is written once and never copied.

Each row has a *slot*: at every step it writes its keys and values into the cell (step, slot). Which cells are a row's
past stands in a table of numbers, so reordering beams moves numbers, and a beam that is continued twice is read from
one place. A cell is never written again while a row that may read it lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F

from onehop.runtime.memory import roomy

GROWN = 32  # columns by which the table of the past grows


class Cache:
    """Keys and values of all layers, in blocks of steps: `(L, times, 2, slots, numbers)` each.

    Args:
        layers: L.
        times: Steps of a block.
        numbers: Of a key, all groups together.
        slots: Rows that can write.
    """

    def __init__(self, layers: int, times: int, numbers: int, slots: int) -> None:
        self.layers, self.times, self.numbers, self.slots = layers, times, numbers, slots
        self.blocks: list[Tensor] = []
        self.addresses = torch.zeros(0, dtype=torch.int64)

    def reach(self, time: int) -> None:
        """Take memory for all steps up to `time`."""
        if time < len(self.blocks) * self.times:
            return
        while time >= len(self.blocks) * self.times:
            shape = self.layers, self.times, 2, self.slots, self.numbers
            self.blocks.append(roomy(4 * prod(shape)).view(torch.float32).view(shape))
        self.addresses = torch.tensor([block.data_ptr() for block in self.blocks])

    def widened(self, slots: int) -> Cache:
        """Return a cache with more slots behind those of this one."""
        return self.beside([block.new_empty(*block.shape[:3], slots, self.numbers) for block in self.blocks], slots)

    def beside(self, blocks: Sequence[Tensor], slots: int) -> Cache:
        """Return a cache with the cells of this one, then those of `blocks`, which have so many slots."""
        new = Cache(self.layers, self.times, self.numbers, self.slots + slots)
        for i in range(max(len(self.blocks), len(blocks))):
            shape = self.layers, self.times, 2
            one = (
                self.blocks[i]
                if i < len(self.blocks)
                else torch.empty(*shape, self.slots, self.numbers, dtype=torch.float32)
            )
            two = blocks[i] if i < len(blocks) else torch.empty(*shape, slots, self.numbers, dtype=torch.float32)
            new.blocks.append(torch.cat([one, two], 3))
        new.addresses = torch.tensor([block.data_ptr() for block in new.blocks], dtype=torch.int64)
        return new

    def copy(self) -> Cache:
        """Return a cache with the same cells."""
        return self.beside([block[..., :0, :] for block in self.blocks], 0)


@dataclass(frozen=True)
class FastState:
    """The rows of a batch, `beams` for each example; used as `onehop.nn.State` is.

    Args:
        beams: Rows for each example.
        cache: Where keys and values stand.
        own: `(R,)` int64, the slot that each row writes to.
        past: `(R, T)` int64, the slot of each step of a row's past.
        times: `(R,)` int64, steps so far.
        longest: The most of them.
        sources: `(B,)` int64, addresses of the projected sources.
        sizes: `(B,)` int64, tokens of the sources.
        kept: What the addresses point into, of each example.
    """

    beams: int
    cache: Cache
    own: Tensor
    past: Tensor
    times: Tensor
    longest: int
    sources: Tensor
    sizes: Tensor
    kept: tuple[Tensor, ...]

    def select(self, examples: Tensor) -> FastState:
        """Keep these examples, with all their beams, in this order; one may be kept several times."""
        rows = (examples.unsqueeze(1) * self.beams + torch.arange(self.beams)).flatten()
        cache, own = self.cache, self.own[rows]
        if len(examples) > len(self.sources) or len(set(examples.tolist())) < len(examples):
            cache, own = self._fresh(len(rows))
        return replace(
            self, cache=cache, own=own, past=self.past[rows], times=self.times[rows], sources=self.sources[examples],
            sizes=self.sizes[examples], kept=tuple(self.kept[i] for i in examples.tolist()),
        )  # fmt: skip

    def reorder(self, rows: Tensor) -> FastState:
        """Let row `i` continue from what row `rows[i]` was, an example's rows among themselves."""
        past, times = self.past[rows], self.times[rows]
        if torch.equal(times, self.times):
            return replace(self, past=past, times=times)
        cache, own = self._fresh(len(rows))  # a row that is behind would write what another has in its past
        return replace(self, cache=cache, own=own, past=past, times=times)

    def expand(self, beams: int) -> FastState:
        """Give each example `beams` equal rows."""
        if self.beams != 1:
            raise ValueError(f"state has {self.beams} beams already; expand() starts from 1")
        if beams == 1:
            return self
        cache, own = self._fresh(len(self.own) * beams)
        past, times = (x.repeat_interleave(beams, 0) for x in (self.past, self.times))
        return replace(self, beams=beams, cache=cache, own=own, past=past, times=times)

    def merge(self, other: FastState) -> FastState:
        """Put the examples of `other`, of as many beams, behind these."""
        if self.beams != other.beams:
            raise ValueError(f"cannot merge states of {self.beams} and {other.beams} beams")
        free = self._free() if other.longest == 0 else self.own[:0]
        if len(free) < len(other.own):
            cache, own = self.cache.beside(other.cache.blocks, other.cache.slots), other.own + self.cache.slots
        else:
            cache, own = self.cache, free[: len(other.own)]
        width = max(self.past.size(1), other.past.size(1))
        one, two = (F.pad(x, [0, width - x.size(1)]) for x in (self.past, other.past + self.cache.slots))
        return FastState(
            self.beams, cache, torch.cat([self.own, own]), torch.cat([one, two]),
            torch.cat([self.times, other.times]), max(self.longest, other.longest),
            torch.cat([self.sources, other.sources]), torch.cat([self.sizes, other.sizes]), self.kept + other.kept,
        )  # fmt: skip

    def fork(self) -> FastState:
        """Return a state that may be decoded without touching this one."""
        return replace(self, cache=self.cache.copy(), past=self.past.clone())

    def stepped(self) -> FastState:
        """Make room for one more step, and note that it will have been written."""
        self.cache.reach(self.longest)
        past = self.past
        if past.size(1) <= self.longest:
            past = F.pad(past, [0, GROWN])
        past.scatter_(1, self.times.unsqueeze(1), self.own.unsqueeze(1))
        return replace(self, past=past)

    def _fresh(self, rows: int) -> tuple[Cache, Tensor]:
        """Return a cache in which every one of so many rows has a slot that none has written to, and these slots."""
        if not self.longest:
            return Cache(self.cache.layers, self.cache.times, self.cache.numbers, rows), torch.arange(rows)
        return self.cache.widened(rows), self.cache.slots + torch.arange(rows)

    def _free(self) -> Tensor:
        """Return the slots that no row writes to or has in its past: those of examples that are gone."""
        taken = torch.zeros(self.cache.slots, dtype=torch.bool)
        taken[self.own] = True
        taken[self.past[torch.arange(self.past.size(1)) < self.times.unsqueeze(1)]] = True
        return (~taken).nonzero().flatten()
