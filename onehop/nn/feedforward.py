"""The position-wise feed-forward network (Vaswani 2017, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.errors import ConfigError
from onehop.nn.dropout import Dropout
from onehop.nn.linear import mapped

Activation = Callable[[Tensor], Tensor]


class FeedForward(nn.Module):
    """`down(activation(up(x)))`, the same at each position. The activation is what makes it more than one linear map.

    Args:
        dim: Width in and out.
        ffn_dim: Width between.
        activation: `max(0, x)` in the paper.
        dropout: Share of the numbers between that are set to zero in training.
        bias: Whether the maps have biases.
    """

    def __init__(
        self, dim: int, ffn_dim: int, activation: Activation, dropout: float = 0.0, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(dim, ffn_dim, bias=bias), nn.Linear(ffn_dim, dim, bias=bias)
        self.activation = activation
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Transform each position by itself."""
        return mapped(self.down, self.dropout(self.activation(mapped(self.up, x))))


class GatedFeedForward(nn.Module):
    """`down(activation(gate(x)) * up(x))`: the GLU family (Shazeer 2020, "GLU Variants Improve Transformer").

    At `ffn_dim` two thirds of that of `FeedForward` it has as many weights.

    Args:
        dim: Width in and out.
        ffn_dim: Width between.
        activation: Of the gate: sigmoid in GLU (Dauphin 2017), ReLU in ReGLU, GELU in GEGLU, SiLU in SwiGLU.
        dropout: Share of the numbers between that are set to zero in training.
        bias: Whether the maps have biases.
    """

    def __init__(
        self, dim: int, ffn_dim: int, activation: Activation, dropout: float = 0.0, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.gate, self.activation = nn.Linear(dim, ffn_dim, bias=bias), activation
        self.up, self.down = nn.Linear(dim, ffn_dim, bias=bias), nn.Linear(ffn_dim, dim, bias=bias)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Transform each position by itself."""
        return mapped(self.down, self.dropout(self.activation(mapped(self.gate, x)) * mapped(self.up, x)))


PLAIN: dict[str, Activation] = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}
GATED: dict[str, Activation] = {"glu": torch.sigmoid, "reglu": F.relu, "geglu": F.gelu, "swiglu": F.silu}


def build_feedforward(name: str, dim: int, ffn_dim: int, dropout: float = 0.0) -> FeedForward | GatedFeedForward:
    """Return the network with the activation of that name: one of `PLAIN` or `GATED`.

    Raises:
        ConfigError: No such activation.

    Example:
        >>> build_feedforward("swiglu", 8, 16)(torch.zeros(2, 8)).shape
        torch.Size([2, 8])
    """
    if name in GATED:
        return GatedFeedForward(dim, ffn_dim, GATED[name], dropout)
    if name in PLAIN:
        return FeedForward(dim, ffn_dim, PLAIN[name], dropout)
    raise ConfigError(f"unknown activation {name!r}", f"Use one of {', '.join([*PLAIN, *GATED])}.", "model.activation")
