"""Recording attention weights by subscription, while a fused kernel goes on computing the context.

What is notable:

- A context variable holds the subscriber, so that concurrent requests do not see each other's weights.
- Only the weights that were asked for are computed beside the kernel, some queries at a time: recording a few heads or
  queries of a long text, or the largest weights of each query, takes no memory for the others.
- Where the context itself is read by explicit weights, those are what is recorded, also what was drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor

from onehop.errors import ConfigError

AT_ONCE = 1 << 20  # weights that are computed at once

Weigh = Callable[[list[int], Tensor], Tensor]
"""`(heads, rows (R,)) -> weights (B, N, R, S)`: those of N heads and R queries, by their numbers."""


@dataclass(frozen=True)
class TopWeights:
    """The largest weights of each query, largest first.

    Args:
        values: `(B, H, T, k)`.
        keys: `(B, H, T, k)` int64: the number of the key that each belongs to.
        size: S.

    Example:
        >>> TopWeights(torch.tensor([[[[0.75]]]]), torch.tensor([[[[2]]]]), 4).dense()
        tensor([[[[0.0000, 0.0000, 0.7500, 0.0000]]]])
    """

    values: Tensor
    keys: Tensor
    size: int

    def dense(self) -> Tensor:
        """Return the weights as `(B, H, T, S)`, with 0 for those that were not kept."""
        empty = self.values.new_zeros(*self.values.shape[:3], self.size)
        return empty.scatter(-1, self.keys, self.values)

    def of(self, queries: Sequence[int]) -> TopWeights:
        """Return those of the queries with these numbers."""
        return TopWeights(self.values[:, :, queries], self.keys[:, :, queries], self.size)


class _Call:
    """The weights of one call while they come in, in one part or step by step.

    Args:
        total: Queries that it will have, T.
        asked: Numbers of the queries to keep.
    """

    def __init__(self, total: int, asked: Sequence[int]) -> None:
        self.total, self.asked, self.wanted = total, list(asked), sorted(set(asked))
        self.seen = 0
        self._parts: list[Tensor | TopWeights] = []

    def due(self, count: int) -> list[int]:
        """Return which of the next `count` queries are to be kept, counted from the first of them."""
        first, self.seen = self.seen, self.seen + count
        return [row - first for row in self.wanted if first <= row < self.seen]

    def take(self, part: Tensor | TopWeights) -> None:
        """Take what was due."""
        self._parts.append(part)

    def joined(self) -> Tensor | TopWeights:
        """Return the weights of the queries in the order in which they were asked for."""
        tops = [part for part in self._parts if isinstance(part, TopWeights)]
        dense = [part for part in self._parts if isinstance(part, Tensor)]
        order = [self.wanted.index(row) for row in self.asked] if self.asked != self.wanted else None
        if tops:
            values, keys = torch.cat([top.values for top in tops], 2), torch.cat([top.keys for top in tops], 2)
            found = TopWeights(values, keys, tops[0].size)
            return found if order is None else found.of(order)
        weights = torch.cat(dense, 2) if len(dense) != 1 else dense[0]
        return weights if order is None else weights[:, :, order]


class Record:
    """Weights `(B, H, T, S)` by the name of the attention, such as `encoder.0.self` or `decoder.3.cross`.

    A loop over it gives the names of what was recorded. The arguments are those of `record_attention`.
    """

    def __init__(
        self,
        layers: str | Sequence[str] = ("*",),
        heads: Sequence[int] | None = None,
        queries: Sequence[int] | None = None,
        top_k: int | None = None,
    ) -> None:
        for what, chosen in (("heads", heads), ("queries", queries)):
            if chosen is not None and not len(chosen):
                raise ConfigError(f"no {what} to record", f"Name some, or leave {what} out for all.", what)
        if top_k is not None and top_k < 1:
            raise ConfigError(f"top_k={top_k} keeps no weight", "Use at least 1, or leave top_k out for all.", "top_k")
        self.layers = (layers,) if isinstance(layers, str) else tuple(layers)
        self.heads, self.queries, self.top_k = heads, queries, top_k
        self._calls: dict[str, list[Tensor | TopWeights]] = {}
        self._open: dict[str, _Call] | None = None  # calls that come in step by step
        self._steps = 1

    def wants(self, name: str) -> bool:
        """Whether this attention was subscribed to."""
        return any(fnmatch(name, pattern) for pattern in self.layers)

    def add(self, name: str, shape: Sequence[int], weigh: Weigh) -> None:
        """Take of the weights of one call what was asked for.

        Args:
            name: Of the attention.
            shape: (B, H, T, S), of all of them.
            weigh: Computes those of some heads and queries.

        Raises:
            LookupError: It has no such head or query.
        """
        call = None if self._open is None else self._open.get(name)
        if call is None:
            total = shape[2] * self._steps
            call = _Call(total, _numbers(self.queries, total, name, ("query", "queries")))
            if self._open is not None:
                self._open[name] = call
        rows = call.due(shape[2])
        if rows or not call.total:
            with torch.no_grad():
                call.take(self._some(shape, _numbers(self.heads, shape[1], name, ("head", "heads")), rows, weigh))
        if self._open is None:
            self._calls.setdefault(name, []).append(call.joined())

    def _some(self, shape: Sequence[int], heads: list[int], rows: list[int], weigh: Weigh) -> Tensor | TopWeights:
        """Compute the weights of these heads and queries, some queries at a time."""
        size = shape[3]
        chunks = torch.tensor(rows, dtype=torch.int64).split(max(1, AT_ONCE // max(1, shape[0] * len(heads) * size)))
        if self.top_k is None:
            return _filled(len(rows), ((weigh(heads, chunk),) for chunk in chunks))[0]
        count = min(self.top_k, size)
        values, keys = _filled(len(rows), (weigh(heads, chunk).topk(count) for chunk in chunks))
        return TopWeights(values, keys, size)

    @contextmanager
    def one_call(self, steps: int) -> Generator[None]:
        """Take what is added inside, in so many steps, as one call over all steps."""
        self._open, self._steps = {}, steps
        try:
            yield
        finally:
            calls, self._open, self._steps = self._open, None, 1
        for name, call in calls.items():
            self._calls.setdefault(name, []).append(call.joined())

    def calls(self, name: str) -> list[Tensor]:
        """Return the weights of every call of this attention, oldest first; with `top_k`, 0 for those not kept."""
        return [found.dense() if isinstance(found, TopWeights) else found for found in self._found(name)]

    def top_calls(self, name: str) -> list[TopWeights]:
        """Return the largest weights of every call of this attention, oldest first; where `top_k` was given."""
        found = [each for each in self._found(name) if isinstance(each, TopWeights)]
        if not found:
            raise LookupError(f"all weights of {name} were recorded: use record[{name!r}], or record with top_k")
        return found

    def top(self, name: str) -> TopWeights:
        """Return the largest weights of the only call; where `top_k` was given."""
        return _only(self.top_calls(name), f"{name} was", f"record.top_calls({name!r})")

    def __getitem__(self, name: str) -> Tensor:
        """Return the weights of the only call; after several calls, as in stepwise decoding, use `calls`."""
        _only(self._found(name), f"{name} was", f"record.calls({name!r})")
        return self.calls(name)[0]

    def _found(self, name: str) -> list[Tensor | TopWeights]:
        if name not in self._calls:
            raise LookupError(f"{name} was not recorded; these were: {', '.join(self._calls) or 'none'}")
        return self._calls[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)


def _filled(rows: int, chunks: Iterable[Sequence[Tensor]]) -> list[Tensor]:
    """Join chunks of several tensors along their third axis, which will have so many rows.

    Memory for the whole is taken when the first chunk is there: small results that are kept one by one, between large
    ones that are freed, would leave the process with memory it cannot use.
    """
    whole, place = list[Tensor](), 0
    for parts in chunks:
        if parts[0].size(2) == rows:
            return [part.detach() for part in parts]
        whole = whole or [part.new_empty(*part.shape[:2], rows, part.size(3)) for part in parts]
        for each, part in zip(whole, parts, strict=True):
            each[:, :, place : place + part.size(2)] = part
        place += parts[0].size(2)
    return whole


def _only(calls: Sequence[Any], name: str, otherwise: str) -> Any:
    if len(calls) > 1:
        raise LookupError(f"{name} called {len(calls)} times while recording: use {otherwise}")
    return calls[0]


def _numbers(chosen: Sequence[int] | None, count: int, name: str, what: tuple[str, str]) -> list[int]:
    """Return the chosen numbers of `count`, counted from 0, or from the end where they are negative; None: all."""
    if chosen is None:
        return list(range(count))
    for number in chosen:
        if not -count <= number < count:
            one, many = what
            raise LookupError(f"{name} has no {one} {number}: it has {count} {many if count != 1 else one}")
    return [number % count for number in chosen]


_RECORD: ContextVar[Record | None] = ContextVar("onehop_record", default=None)


@contextmanager
def record_attention(
    layers: str | Sequence[str] = ("*",),
    heads: Sequence[int] | None = None,
    queries: Sequence[int] | None = None,
    top_k: int | None = None,
) -> Generator[Record]:
    """Record the attention weights of every forward pass inside the block.

    The context is computed as ever, on the fused kernel where there is one; only what is asked for is computed beside
    it, some queries at a time. So a few heads, queries or largest weights of a long text need little memory.

    Args:
        layers: Names to record, with `*` as in file names.
        heads: Numbers of the heads to keep, from 0, or from the last where negative; None for all.
        queries: Numbers of the queries to keep, T in each call's `(B, H, T, S)`, likewise. Of teacher forcing these
            are target positions.
        top_k: Largest weights of each query to keep; None for all. `Record.top` gives them with their keys.

    Raises:
        LookupError: Nothing was recorded: no name matches, or the forward pass was compiled. Or an attention has no
            such head or query.
        ConfigError: An empty choice, or no weight to keep.

    Example:
        >>> model = onehop.models.build("transformer", {"preset": "transformer-tiny"}, source_vocab=50)
        >>> with record_attention(layers="encoder.*", queries=[0, -1], top_k=2) as record:
        ...     _ = model.encode(onehop.nn.Source(torch.randint(3, 50, (2, 7))))
        >>> record.top("encoder.0.self").values.shape, record["encoder.0.self"].shape
        (torch.Size([2, 4, 2, 2]), torch.Size([2, 4, 2, 7]))
    """
    record = Record(layers, heads, queries, top_k)
    token = _RECORD.set(record)
    try:
        yield record
    finally:
        _RECORD.reset(token)
    if not record:
        raise LookupError(f"no attention was recorded for {layers}: no such name, or the model ran compiled")


def recorded_as_one(steps: int) -> AbstractContextManager[None]:
    """Return a block in which so many steps of a recurrence are recorded as one call, `(B, H, T, S)`."""
    record = None if torch.compiler.is_compiling() else _RECORD.get()
    return nullcontext() if record is None else record.one_call(steps)


def subscriber(name: str) -> Record | None:
    """Return the record that wants the weights of this attention, if there is one."""
    if torch.compiler.is_compiling():  # Dynamo cannot trace a ContextVar; the empty record is an error
        return None
    record = _RECORD.get()
    return record if record is not None and record.wants(name) else None
