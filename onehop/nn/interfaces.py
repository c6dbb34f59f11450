"""The two protocols that everything above hangs on: what encodes, and what decodes.

Teacher forcing, reading a prompt and stepping are one call, `decode`, for recurrent, encoder-decoder and decoder-only
models alike; `logits` stands apart, since only the caller knows which rows must meet the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from onehop.nn.state import Batched, State, over_time


@dataclass(frozen=True)
class Source:
    """What an encoder reads: tokens, or features of something that is no text.

    Args:
        tokens: `(B, S)` int64.
        lengths: `(B,)` int64, real tokens of each row; None when all rows are full.
        segments: `(B, S)` int64, for packed rows: the number of the sentence each token belongs to, -1 for padding.
            A token sees its own segment only.
        types: `(B, S)` int64, for two texts that are read as one: 0 in the first, 1 in the second; None for 0.
        features: `(B, S, F)` float, such as the pixels of patches, in place of tokens; see `of_features`.
        groups: `(N,)` int64, ascending from 0: the number of the text that each row, or each segment of packed rows, is
            a window of; None where each is a text. Encoders do not read it; what pools their states does.

    Example:
        >>> source = Source.of_features(torch.zeros(2, 5, 16), lengths=torch.tensor([5, 3]))
        >>> source.tokens.shape
        torch.Size([2, 0])
    """

    tokens: Tensor
    lengths: Tensor | None = None
    segments: Tensor | None = None
    types: Tensor | None = None
    features: Tensor | None = None
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        if self.features is not None and self.tokens.numel():
            raise ValueError("a source has tokens or features, not both")

    @classmethod
    def of_features(cls, features: Tensor, lengths: Tensor | None = None, segments: Tensor | None = None) -> Source:
        """Return a source of features, with no tokens: `(B, 0)`. Lengths and segments are those of its features."""
        none = torch.zeros(len(features), 0, dtype=torch.int64, device=features.device)
        return cls(none, lengths, segments, None, features)

    def known_lengths(self) -> Tensor:
        """Return `(B,)`, tokens or features of each row, also where all are full."""
        read = self.tokens if self.features is None else self.features
        full = torch.full(read.shape[:1], read.size(1), dtype=torch.int64, device=read.device)
        return full if self.lengths is None else self.lengths


@dataclass(frozen=True)
class Memory(Batched):
    """Encoder states that a decoder reads: `states (B, S, D)`, with the lengths or segments of their source."""

    states: Tensor = over_time(1)
    lengths: Tensor | None = None
    segments: Tensor | None = None

    def merge(self, other: Any) -> Memory:
        """Put the sources of `other` behind these; packed rows cannot be joined."""
        if self.segments is not None or other.segments is not None:
            raise ValueError("packed memories cannot be merged: their segments are numbered apart")
        one, two = (replace(m, lengths=m.known_lengths()) for m in (self, other))
        merged: Any = Batched.merge(one, two)
        return merged

    def known_lengths(self) -> Tensor:
        """Return `(B,)`, real positions of each row, also where all are full."""
        rows, size = self.states.shape[:2]
        full = torch.full((rows,), size, dtype=torch.int64, device=self.states.device)
        return full if self.lengths is None else self.lengths


@runtime_checkable
class Encoder(Protocol):
    """Reads a source once."""

    def encode(self, source: Source) -> Memory:
        """Return the states of every source position."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """Writes a target, any number of tokens at a time."""

    @property
    def output(self) -> nn.Linear:
        """The last linear map of `logits`, which a loss may fuse with the softmax."""
        ...

    def start(self, memory: Memory) -> State:
        """Return the state before the first token, with everything computed that depends on the source alone."""
        ...

    def decode(
        self, tokens: Tensor, state: State, lengths: Tensor | None = None, segments: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read `tokens (B, T)` after what `state` holds; return `hidden (B, T, D)` and the state behind them.

        Args:
            tokens: int64; the first chunk of a target starts with the begin mark.
            state: Used up by the call.
            lengths: `(B,)` int64, real tokens of each row of the chunk; None when all are real.
            segments: `(B, T)` int64 for packed targets (see `Source`), numbered as those of the source; such a
                chunk is a whole target, and its state cannot be continued.
        """
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """Return scores over the vocabulary, `(..., D)` -> `(..., V)`, not normalised."""
        ...
