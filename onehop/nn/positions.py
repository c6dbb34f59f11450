"""Positions as codes added to the embeddings (Vaswani 2017, section 3.5).

Positions are int64 `(B, T)` everywhere, never an offset: packed and refilled rows each count for themselves.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.errors import ConfigError


def sinusoidal(positions: Int[Tensor, "*B"], dim: int, dtype: torch.dtype = torch.float32) -> Float[Tensor, "*B D"]:
    """Return `PE(p, 2i) = sin(p / 10000^(2i/dim))` and `PE(p, 2i+1) = cos` of the same angle.

    The even and odd columns interleave, as in the paper; computed in float64, then rounded. (The notebook of Rothman's
    book doubles the exponent; `cos(PE(2), PE(10))` for 512 columns is 0.7225 here, 0.8600 there.)

    Args:
        positions: From 0, any size.
        dim: Even.
        dtype: Of the result.

    Example:
        >>> sinusoidal(torch.tensor([2]), 512)[0, :4]
        tensor([ 0.9093, -0.4161,  0.9364, -0.3509])
    """
    if dim % 2:
        raise ValueError(f"dim={dim} must be even: sines and cosines come in pairs")
    rates = 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64, device=positions.device) / dim)
    angles = positions.unsqueeze(-1).double() * rates  # (*B, D/2)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2).to(dtype)


class Sinusoidal(nn.Module):
    """`sinusoidal` behind a table for the positions that occur; exact for any position."""

    TABLE = 2048

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        table = torch.empty(self.TABLE, dim)
        if not table.is_meta:  # where only shapes are wanted, torch would load its compiler to tell that of a power
            table = sinusoidal(torch.arange(self.TABLE), dim)
        self.register_buffer("table", table, persistent=False)

    table: Tensor

    def forward(self, positions: Int[Tensor, "*B"]) -> Float[Tensor, "*B D"]:
        """Return the codes of int64 `positions`."""
        if self.table.dtype == torch.float64 or (positions.numel() and int(positions.max()) >= self.TABLE):
            return sinusoidal(positions, self.dim, self.table.dtype)
        return F.embedding(positions, self.table)


class Learned(nn.Module):
    """A learned code for each of `max_positions` positions (Gehring 2017); others are an error.

    Args:
        max_positions: Positions that have one.
        dim: D.
        first: Rows of the table before that of position 0; RoBERTa has two that nothing reads.
    """

    def __init__(self, max_positions: int, dim: int, first: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(first + max_positions, dim).normal_(std=0.02))
        self.first = first

    def forward(self, positions: Int[Tensor, "*B"]) -> Float[Tensor, "*B D"]:
        """Return the codes of int64 `positions`."""
        known = len(self.weight) - self.first
        if positions.numel() and int(positions.max()) >= known:
            raise ConfigError(
                f"position {int(positions.max()) + 1} of a text, and the model has learned {known}",
                "Train with a larger model.max_positions, or with other positions; or shorten the text, and "
                "decode.max_length.",
                "model.max_positions",
            )
        return F.embedding(positions + self.first if self.first else positions, self.weight)
