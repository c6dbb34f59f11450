"""Token embeddings, scaled by the square root of the width (Vaswani 2017, section 3.4)."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


class TokenEmbedding(nn.Module):
    """A table `(V, D)`, drawn with standard deviation `D^-0.5` so that scaled embeddings have unit variance.

    Args:
        vocab_size: Number of tokens.
        dim: Width.

    Example:
        >>> TokenEmbedding(100, 16)(torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3, 16])
    """

    def __init__(self, vocab_size: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.normal_(nn.Parameter().new_empty(vocab_size, dim), std=dim**-0.5))
        self.scale = dim**0.5

    def forward(self, tokens: Int[Tensor, "*B"]) -> Float[Tensor, "*B D"]:
        """Return `E[token] * sqrt(D)`."""
        return F.embedding(tokens, self.weight) * self.scale
