"""Matrices of int8 with a scale for each output row: how packages store them and fast products read them."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = torch.finfo(torch.float32).tiny  # a row whose scale would be smaller has lost its precision: it is zeros
LOW_BITS = 0xFF  # of a scale, zero


def quantise(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 `(N, D)` and float32 scales `(N,)`, symmetric for each row: the largest weight becomes ±127.

    A scale keeps 16 bits of its fraction, so that its product with any int8 is exact, and so is dividing the largest
    of them by 127: what was rounded once is rounded to the same numbers again.

    Example:
        >>> whole, scale = quantise(torch.tensor([[127.0, -63.6], [0.0, 0.0]]))
        >>> whole.tolist(), scale.tolist()
        ([[127, -64], [0, 0]], [1.0, 0.0])
    """
    scale = matrix.abs().amax(1) / 127
    scale = (scale.view(torch.int32) & ~LOW_BITS).view(torch.float32)
    known = scale >= LEAST
    rows = matrix / torch.where(known, scale, 1.0).unsqueeze(1)
    whole = torch.where(known.unsqueeze(1), rows.round().clamp(-127, 127), 0.0)
    return whole.to(torch.int8), torch.where(known | scale.isnan(), scale, 0.0)  # NaN stays NaN
