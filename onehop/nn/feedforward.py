"""The position-wise feed-forward network (Vaswani 2017, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from onehop.nn.dropout import Dropout


class FeedForward(nn.Module):
    """`down(activation(up(x)))`, the same at each position. The activation is what makes it more than one linear map.

    Args:
        dim: Width in and out.
        ffn_dim: Width between.
        activation: `max(0, x)` in the paper.
        dropout: Share of the numbers between that are set to zero in training.
    """

    def __init__(self, dim: int, ffn_dim: int, activation: Callable[[Tensor], Tensor], dropout: float = 0.0) -> None:
        super().__init__()
        self.up, self.down, self.activation = nn.Linear(dim, ffn_dim), nn.Linear(ffn_dim, dim), activation
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Transform each position by itself."""
        return self.down(self.dropout(self.activation(self.up(x))))
