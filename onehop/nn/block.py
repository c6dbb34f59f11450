"""Transformer blocks: attention and feed-forward sublayers, each inside a residual with normalisation slots.

Post-LN (Vaswani 2017) and pre-LN (Xiong 2020) are two fillings of the same slots; no block asks which it is.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from onehop.nn.attention import Attention
from onehop.nn.dropout import Dropout
from onehop.nn.feedforward import FeedForward, GatedFeedForward
from onehop.nn.masks import Mask
from onehop.nn.state import KV, Slots


class Residual(nn.Module):
    """`after(x + dropout(sublayer(before(x))))`.

    Args:
        before: Normalisation of what the sublayer reads: `nn.LayerNorm` in pre-LN, `nn.Identity` in post-LN.
        after: Normalisation of the sum: `nn.Identity` in pre-LN, `nn.LayerNorm` in post-LN.
        dropout: Share of the sublayer's outputs set to zero in training.
    """

    def __init__(self, before: nn.Module, after: nn.Module, dropout: float) -> None:
        super().__init__()
        self.before, self.after, self.dropout = before, after, Dropout(dropout)

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply `sublayer` beside the identity."""
        return self.after(self.dropout.onto(x, sublayer(self.before(x))))


class EncoderBlock(nn.Module):
    """Self-attention, then feed-forward (Vaswani 2017, figure 1, left).

    Args:
        attention: Self-attention.
        feedforward: The position-wise network.
        residuals: One around each.
    """

    def __init__(
        self,
        attention: Attention,
        feedforward: FeedForward | GatedFeedForward,
        residuals: tuple[Residual, Residual],
    ) -> None:
        super().__init__()
        self.attention, self.feedforward = attention, feedforward
        self.attention_residual, self.feedforward_residual = residuals

    def forward(self, x: Tensor, mask: Mask, positions: Tensor) -> Tensor:
        """Transform `x (B, S, D)`; `positions (B, S)` are those of its tokens."""
        x = self.attention_residual(x, lambda y: self._mix(y, mask, positions))
        return self.feedforward_residual(x, self.feedforward)

    def _mix(self, y: Tensor, mask: Mask, positions: Tensor) -> Tensor:
        q, kv = self.attention.project_all(y, positions)
        return self.attention(q, kv, mask)


class DecoderBlock(nn.Module):
    """Masked self-attention, cross-attention, feed-forward (Vaswani 2017, figure 1, right).

    Args:
        attention: Self-attention over the target.
        cross: Attention over the encoded source.
        feedforward: The position-wise network.
        residuals: One around each.
    """

    def __init__(
        self,
        attention: Attention,
        cross: Attention,
        feedforward: FeedForward | GatedFeedForward,
        residuals: tuple[Residual, Residual, Residual],
    ) -> None:
        super().__init__()
        self.attention, self.cross, self.feedforward = attention, cross, feedforward
        self.attention_residual, self.cross_residual, self.feedforward_residual = residuals

    def forward(
        self, x: Tensor, past: KV, slots: Slots, memory: KV, masks: tuple[Mask, Mask], positions: Tensor
    ) -> tuple[Tensor, KV]:
        """Transform a chunk `x (B, T, D)` that follows `past`.

        Args:
            x: The chunk.
            past: Keys and values of the target so far, of which `slots` says how much is filled.
            slots: Before the chunk.
            memory: Projected source, one row for each example; the beams of an example share it.
            masks: Of self-attention and of cross-attention.
            positions: `(B, T)`, of the chunk's tokens.

        Returns:
            The transformed chunk, and the past with the chunk appended.
        """
        held: list[KV] = []
        x = self.attention_residual(x, lambda y: self._recall(y, past, slots, masks[0], positions, held))
        x = self.cross_residual(x, lambda y: self._read(y, memory, masks[1], positions))
        return self.feedforward_residual(x, self.feedforward), held[0]

    def _recall(self, y: Tensor, past: KV, slots: Slots, mask: Mask, positions: Tensor, held: list[KV]) -> Tensor:
        """Self-attention over the past and the chunk; leave both, joined, in `held`."""
        q, kv = self.attention.project_all(y, positions)
        held.append(past.append(kv, slots))
        return self.attention(q, held[0].filled(slots.size + y.size(1)), mask)

    def _read(self, y: Tensor, memory: KV, mask: Mask, positions: Tensor) -> Tensor:
        return self.cross.read(y, memory, mask, positions)
