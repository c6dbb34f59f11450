"""Decoding state as a value: batch-first, passed in and returned, reordered by rows.

A state is *used once*: after `decode(tokens, state)` only the returned state may be used, so that it may be written
to in place. `fork()` gives a second one where two continuations are wanted.

With beams, rows are grouped by example: row `b * beams + k` is beam `k` of example `b`. Fields marked `static` belong
to the example (the encoded source): beams share them, so `expand` and `reorder` do not touch them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F


def static() -> Any:
    """Mark a field that belongs to the example, not to the beam."""
    return field(metadata={"static": True})


def over_time(axis: int) -> Any:
    """Mark a tensor field with a time axis, which `merge` pads at its end to the longer of the two."""
    return field(metadata={"axis": axis})


Rows = TypeVar("Rows", bound="Batched")
Beams = TypeVar("Beams", bound="State")


class Batched:
    """A frozen dataclass whose every tensor, however deep, has the batch first; other values pass through."""

    def map(self: Rows, rows: Callable[[Tensor], Tensor], examples: Callable[[Tensor], Tensor]) -> Rows:
        """Apply `rows` to every tensor of the beams and `examples` to every static one."""
        changes: dict[str, Any] = {}
        for f in fields(self):  # type: ignore[arg-type]
            change = examples if f.metadata.get("static") else rows
            changes[f.name] = _map(getattr(self, f.name), change, examples)
        return replace(self, **changes)  # type: ignore[type-var]

    def merge(self: Rows, other: Any) -> Rows:
        """Put the rows of `other` behind those of this one, padding time axes with zeros."""
        changes: dict[str, Any] = {}
        for f in fields(self):  # type: ignore[arg-type]
            pair = getattr(self, f.name), getattr(other, f.name)
            changes[f.name] = _merge(*pair, axis=f.metadata.get("axis"))
        return replace(self, **changes)  # type: ignore[type-var]


def _map(value: Any, change: Callable[[Tensor], Tensor], examples: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Batched):
        return value.map(change, examples)
    if isinstance(value, tuple):
        return tuple(_map(item, change, examples) for item in value)
    return value


def _merge(one: Any, two: Any, axis: int | None) -> Any:
    if isinstance(one, Batched):
        return one.merge(two)
    if isinstance(one, tuple):
        return tuple(_merge(a, b, axis) for a, b in zip(one, two, strict=True))
    if not isinstance(one, Tensor):
        return one
    if axis is not None:
        size = max(one.size(axis), two.size(axis))
        one, two = (_pad(x, axis, size) for x in (one, two))
    return torch.cat([one, two])


def _pad(x: Tensor, axis: int, size: int) -> Tensor:
    missing = size - x.size(axis)
    return F.pad(x, [0, 0] * (x.dim() - 1 - axis) + [0, missing]) if missing else x


@dataclass(frozen=True, slots=True)
class KV(Batched):
    """Keys and values that queries read: `(B, G, S, K)` each.

    As a cache its time axis may be longer than what is filled; whoever holds it knows how much is (`Slots`).
    """

    keys: Tensor = over_time(2)
    values: Tensor = over_time(2)

    def append(self, new: KV, slots: Slots) -> KV:
        """Write `new` behind each row's last entry; outside autograd the memory held is reused."""
        if slots.size == 0 and not slots.ragged:
            return new
        return KV(_append(self.keys, new.keys, slots), _append(self.values, new.values, slots))

    def filled(self, size: int) -> KV:
        """Return the first `size` entries, as views."""
        return self if self.keys.size(2) == size else KV(self.keys[:, :, :size], self.values[:, :, :size])


@dataclass(frozen=True, slots=True)
class Slots(Batched):
    """How much of a cache is filled.

    Args:
        lengths: `(B,)` int64, entries of each row.
        size: The largest of them.
        ragged: Whether rows may differ; if not, no mask and no scattered write is needed.
    """

    lengths: Tensor
    size: int = 0
    ragged: bool = False

    def advance(self, width: int, lengths: Tensor | None) -> Slots:
        """Return the slots after a chunk of `width` tokens, of which `lengths` (B,) are real in each row."""
        if lengths is None:
            return Slots(self.lengths + width, self.size + width, self.ragged)
        after = self.lengths + lengths
        size = int(after.max()) if len(after) else self.size
        return Slots(after, size, bool((after != size).any()))

    def merge(self, other: Any) -> Slots:
        """Join two sets of rows, which may have come to different lengths."""
        lengths, size = torch.cat([self.lengths, other.lengths]), max(self.size, other.size)
        return Slots(lengths, size, self.ragged or other.ragged or self.size != other.size)


SPARE = 32  # entries allocated ahead, so that stepping copies the cache once in 32 tokens


def _append(old: Tensor, new: Tensor, slots: Slots) -> Tensor:
    """`old (B, G, >=size, K)`, `new (B, G, T, K)` -> a tensor holding both."""
    width, recording = new.size(2), torch.is_grad_enabled() and (old.requires_grad or new.requires_grad)
    if recording:
        if not slots.ragged:
            return torch.cat([old[:, :, : slots.size], new], 2)
        old = F.pad(old[:, :, : slots.size], [0, 0, 0, width])
    elif old.size(2) < slots.size + width:
        old = F.pad(old[:, :, : slots.size], [0, 0, 0, width + SPARE])
    if not slots.ragged:
        old[:, :, slots.size : slots.size + width] = new
        return old
    rows = torch.arange(len(old), device=old.device).unsqueeze(1)
    where = slots.lengths.unsqueeze(1) + torch.arange(width, device=old.device)
    place = rows, slice(None), where
    new = new.transpose(1, 2)  # an index, a slice, an index: the indexed axes come first
    if recording:
        return old.transpose(1, 2).index_put((rows, where), new).transpose(1, 2)
    old[place] = new
    return old


@dataclass(frozen=True)
class State(Batched):
    """What a decoder remembers: `beams` rows for each example. Families add their fields."""

    beams: int

    def select(self: Beams, examples: Tensor) -> Beams:
        """Keep these examples, with all their beams, in this order. `examples`: int64 `(B',)`."""
        rows = examples
        if self.beams > 1:
            rows = (examples.unsqueeze(1) * self.beams + torch.arange(self.beams, device=examples.device)).flatten()
        return self.map(lambda x: x.index_select(0, rows), lambda x: x.index_select(0, examples))

    def reorder(self: Beams, rows: Tensor) -> Beams:
        """Let row `i` continue from what row `rows[i]` was, an example's rows among themselves."""
        return self.map(lambda x: x.index_select(0, rows), lambda x: x)

    def expand(self: Beams, beams: int) -> Beams:
        """Give each example `beams` equal rows; what belongs to the example is shared, not copied."""
        if self.beams != 1:
            raise ValueError(f"state has {self.beams} beams already; expand() starts from 1")
        wide = self.map(lambda x: x.repeat_interleave(beams, 0), lambda x: x)
        return replace(wide, beams=beams)

    def merge(self: Beams, other: Any) -> Beams:
        """Put the examples of `other`, of as many beams, behind these."""
        if self.beams != other.beams:
            raise ValueError(f"cannot merge states of {self.beams} and {other.beams} beams")
        return super().merge(other)

    def fork(self: Beams) -> Beams:
        """Return a state that may be decoded without touching this one."""
        return self.map(torch.clone, lambda x: x)
