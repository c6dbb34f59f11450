"""What stands between a recurrent decoder and its vocabulary: one layer over all that a step has."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Readout(nn.Module):
    """A linear map of the joined inputs, then tanh (Luong 2015, equation 5) or the larger of two (Goodfellow 2013).

    Bahdanau 2014 reads state, last token and context through maxout, Luong state and context through tanh.

    Args:
        in_dim: Width of the inputs together.
        dim: Width of the result.
        maxout: Whether the larger of each two numbers is taken, in place of tanh.

    Example:
        >>> Readout(5, 2, maxout=True)(torch.ones(1, 3), torch.ones(1, 2)).shape
        torch.Size([1, 2])
    """

    def __init__(self, in_dim: int, dim: int, *, maxout: bool) -> None:
        super().__init__()
        self.dim, self.maxout = dim, maxout
        self.linear = nn.Linear(in_dim, 2 * dim if maxout else dim)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Map the inputs `(..., D_i)`, joined in their order, to `(..., dim)`, in the precision of the weights."""
        x = self.linear(torch.cat(inputs, -1)).to(self.linear.weight.dtype)
        return x.unflatten(-1, (self.dim, 2)).amax(-1) if self.maxout else x.tanh()
