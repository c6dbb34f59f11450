"""Recording attention weights by subscription, while a fused kernel goes on computing the context.

A context variable holds the subscriber, so that concurrent requests do not see each other's weights.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from fnmatch import fnmatch

import torch
from torch import Tensor


class Record:
    """Weights `(B, H, T, S)` by the name of the attention, such as `encoder.0.self` or `decoder.3.cross`.

    A loop over it gives the names of what was recorded.

    Args:
        layers: Names to record, with `*` as in file names.
        heads: Numbers of the heads to keep; None for all.
    """

    def __init__(self, layers: Sequence[str], heads: Sequence[int] | None) -> None:
        self.layers, self.heads = tuple(layers), heads
        self._calls: dict[str, list[Tensor]] = {}
        self._steps: dict[str, list[Tensor]] | None = None

    def wants(self, name: str) -> bool:
        """Whether this attention was subscribed to."""
        return any(fnmatch(name, pattern) for pattern in self.layers)

    def add(self, name: str, weights: Tensor) -> None:
        """Take the weights `(B, H, T, S)` of one call."""
        weights = weights.detach()
        weights = weights if self.heads is None else weights[:, list(self.heads)]
        if self._steps is None:
            self._calls.setdefault(name, []).append(weights)
        else:
            self._steps.setdefault(name, []).append(weights)

    @contextmanager
    def one_call(self) -> Generator[None]:
        """Take what is added inside, step by step, as one call over all steps."""
        self._steps = {}
        try:
            yield
        finally:
            steps, self._steps = self._steps, None
        for name, weights in steps.items():
            self.add(name, torch.cat(weights, 2))

    def calls(self, name: str) -> list[Tensor]:
        """Return the weights of every call of this attention, oldest first."""
        return self._calls[name]

    def __getitem__(self, name: str) -> Tensor:
        """Return the weights of the only call; after several calls, as in stepwise decoding, use `calls`."""
        calls = self._calls[name]
        if len(calls) > 1:
            raise LookupError(f"{name} was called {len(calls)} times while recording: use record.calls({name!r})")
        return calls[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)


_RECORD: ContextVar[Record | None] = ContextVar("onehop_record", default=None)


@contextmanager
def record_attention(layers: Sequence[str] = ("*",), heads: Sequence[int] | None = None) -> Generator[Record]:
    """Record the attention weights of every forward pass inside the block.

    Args:
        layers: Names to record, with `*` as in file names.
        heads: Numbers of the heads to keep; None for all.

    Raises:
        LookupError: Nothing was recorded: no name matches, or the forward pass was compiled.

    Example:
        >>> model = onehop.models.build("transformer", {"preset": "transformer-tiny"}, source_vocab=50)
        >>> with record_attention(layers=["encoder.*"]) as record:
        ...     _ = model.encode(onehop.nn.Source(torch.randint(3, 50, (2, 7))))
        >>> record["encoder.0.self"].shape
        torch.Size([2, 4, 7, 7])
    """
    record = Record(layers, heads)
    token = _RECORD.set(record)
    try:
        yield record
    finally:
        _RECORD.reset(token)
    if not record:
        raise LookupError(f"no attention was recorded for {layers}: no such name, or the model ran compiled")


def recorded_as_one() -> AbstractContextManager[None]:
    """Return a block in which the steps of a recurrence are recorded as one call, `(B, H, T, S)`."""
    record = None if torch.compiler.is_compiling() else _RECORD.get()
    return nullcontext() if record is None else record.one_call()


def subscriber(name: str) -> Record | None:
    """Return the record that wants the weights of this attention, if there is one."""
    if torch.compiler.is_compiling():  # Dynamo cannot trace a ContextVar; the empty record is an error
        return None
    record = _RECORD.get()
    return record if record is not None and record.wants(name) else None
