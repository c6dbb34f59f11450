"""Rotary positions: queries and keys turned by their positions, so that their product knows only the distance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Map = Callable[[Tensor, Tensor], Tensor]


class Rotary(nn.Module):
    """Turn each pair of columns `(2i, 2i + 1)` by the angle `p base^(-2i/K)` (Su 2021, equation 34).

    Args:
        head_dim: K, even.
        base: 10,000 in the paper.
        factor: How many times longer than in training a text may be; 1 for no scaling.
        scaling: `linear` divides positions by the factor (Chen 2023); `ntk` raises the base so that the slowest pair
            turns as `linear` has it and the fastest as before (bloc97 2023).

    Example:
        >>> turn = Rotary(4)
        >>> turn(torch.tensor([[[[1.0, 0.0, 1.0, 0.0]]]]), torch.tensor([[1]]))
        tensor([[[[0.5403, 0.8415, 0.9999, 0.0100]]]])
    """

    def __init__(self, head_dim: int, *, base: float = 10_000.0, factor: float = 1.0, scaling: str = "linear") -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"head_dim={head_dim} must be even: columns turn in pairs")
        if scaling == "ntk" and head_dim > 2:
            base, factor = base * factor ** (head_dim / (head_dim - 2)), 1.0
        self.head_dim, self.base, self.factor = head_dim, base, factor

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Turn `x (B, H, T, K)` at `positions (B, T)`; angles in float64, so that far positions keep theirs."""
        exponents = torch.arange(0, self.head_dim, 2, dtype=torch.float64, device=x.device) / self.head_dim
        angles = (positions.double() / self.factor).unsqueeze(-1) * self.base**-exponents
        cos, sin = (part.to(x.dtype).unsqueeze(1) for part in (angles.cos(), angles.sin()))  # (B, 1, T, K/2)
        even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)


class Turned(nn.Module):
    """A score's map, then the rotation.

    Args:
        first: The map.
        rotary: The rotation.
    """

    def __init__(self, first: Map, rotary: Rotary) -> None:
        super().__init__()
        self.first, self.rotary = first, rotary

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Map and turn `x (B, H, T, K)`."""
        return self.rotary(self.first(x, positions), positions)
