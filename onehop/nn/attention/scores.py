"""How well a query and a key fit together: `compare(query_map(q), key_map(k))`.

The key map runs where keys are projected, so once for each source, not once for each step. A score that equals
`scale * q.k` after its maps says so, and may run on a fused kernel.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from onehop.errors import ConfigError

Map = Callable[[Tensor, Tensor], Tensor]


def unchanged(x: Tensor, positions: Tensor) -> Tensor:
    """Return `x`: the map of scores that compare queries and keys as they are."""
    return x


class Score(nn.Module):
    """A scaled dot product after two maps.

    Args:
        query_map: `(B, H, T, K), positions (B, T) -> (B, H, T, K')`.
        key_map: The same for keys `(B, G, S, K)`.
        scale: The factor of the product.
    """

    def __init__(self, query_map: Map, key_map: Map, *, scale: float) -> None:
        super().__init__()
        self.query_map, self.key_map, self.scale = query_map, key_map, scale

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """Compare mapped `q (B, H, T, K)` and `k (B, H, S, K)`: scores `(B, H, T, S)`."""
        return q @ k.mT * self.scale


def dot() -> Score:
    """Return `q.k` (Luong 2015, equation 8)."""
    return Score(unchanged, unchanged, scale=1.0)


def scaled_dot(head_dim: int) -> Score:
    """Return `q.k / sqrt(K)` (Vaswani 2017, equation 1)."""
    return Score(unchanged, unchanged, scale=head_dim**-0.5)


def build_score(name: str, head_dim: int) -> Score:
    """Return the score of that name, for heads of that width."""
    if name == "dot":
        return dot()
    if name == "scaled_dot":
        return scaled_dot(head_dim)
    raise ConfigError(f"unknown score {name!r}", "Use scaled_dot or dot.", "model.score")
