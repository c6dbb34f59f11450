"""How well a query and a key fit together: `compare(query_map(q), key_map(k))`.

The key map runs where keys are projected, so once for each source, not once for each step. A score that equals
`scale * q.k` after its maps says so, and runs on a fused kernel: of the seven here, all but the two with a tanh.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.errors import ConfigError

Map = Callable[[Tensor, Tensor], Tensor]
SCORES = ("scaled_dot", "dot", "general", "additive", "concat", "location", "cosine")


def unchanged(x: Tensor, positions: Tensor) -> Tensor:
    """Return `x`: the map of scores that compare queries and keys as they are."""
    return x


class Score(nn.Module):
    """A comparison after two maps.

    Args:
        query_map: `(B, H, T, K), positions (B, T) -> (B, H, T, K')`.
        key_map: The same for keys `(B, G, S, K)`.
        scale: The factor of the product of mapped queries and keys; None where they are compared otherwise.
        compare: `(B, H, T, K'), (B, H, S, K') -> (B, H, T, S)`, where there is no scale.
    """

    def __init__(
        self,
        query_map: Map = unchanged,
        key_map: Map = unchanged,
        *,
        scale: float | None = None,
        compare: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        if (scale is None) == (compare is None):
            raise ValueError("a score has either a scale or a comparison")
        self.query_map, self.key_map, self.scale, self.compare = query_map, key_map, scale, compare

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """Compare mapped `q (B, H, T, K)` and `k (B, H, S, K)`: scores `(B, H, T, S)`."""
        if self.compare is not None:
            return self.compare(q, k)
        assert self.scale is not None
        return q @ k.mT * self.scale


class HeadLinear(nn.Module):
    """A linear map of its own for each head, drawn as Glorot 2010.

    Args:
        num_heads: H.
        in_dim: K.
        out_dim: K'.
        bias: Whether there is one.
    """

    def __init__(self, num_heads: int, in_dim: int, out_dim: int, *, bias: bool = False) -> None:
        super().__init__()
        bound = (6 / (in_dim + out_dim)) ** 0.5
        self.weight = nn.Parameter(torch.empty(num_heads, out_dim, in_dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(num_heads, 1, out_dim)) if bias else None

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Map `x (B, H, T, K)` to `(B, H, T, K')`."""
        x = torch.einsum("bhtk,hjk->bhtj", x, self.weight)  # a product for each head, where @ has one for each row
        return x if self.bias is None else x + self.bias


class TanhSum(nn.Module):
    """`v^T tanh(q + k)`: the comparison of a network with one hidden layer, split at its sum.

    Args:
        num_heads: H.
        dim: Width of the hidden layer.
    """

    NUMBERS = 1 << 24  # of the hidden layer that are held at once

    def __init__(self, num_heads: int, dim: int) -> None:
        super().__init__()
        bound = (6 / (dim + 1)) ** 0.5
        self.weight = nn.Parameter(torch.empty(num_heads, 1, dim, 1).uniform_(-bound, bound))

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """Compare each `q (B, H, T, A)` with each `k (B, H, S, A)`."""
        at_once = max(1, self.NUMBERS // max(1, k.numel()))
        keys = k.unsqueeze(2)
        weight = self.weight[:, 0, :, 0]
        scores = [
            torch.einsum("bhtsa,ha->bhts", (chunk.unsqueeze(3) + keys).tanh(), weight) for chunk in q.split(at_once, 2)
        ]
        return torch.cat(scores, 2)


class UnitLength(nn.Module):
    """Vectors of length 1, or of a learned positive length for each head.

    Args:
        num_heads: H, to learn a length for each, from 1; None for the length 1.
    """

    def __init__(self, num_heads: int | None = None) -> None:
        super().__init__()
        self.log_length = None if num_heads is None else nn.Parameter(torch.zeros(num_heads, 1, 1))

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Scale `x (B, H, T, K)`."""
        x = F.normalize(x, dim=-1)
        return x if self.log_length is None else x * self.log_length.exp()


class PositionKeys(nn.Module):
    """A learned vector for each position, in place of the key that stands there.

    Args:
        num_heads: G.
        num_positions: Positions that have one.
        dim: K.
    """

    def __init__(self, num_heads: int, num_positions: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_positions, num_heads, dim).uniform_(-(dim**-0.5), dim**-0.5))

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Return the vectors `(B, G, S, K)` of `positions (B, S)`."""
        known = len(self.weight)
        if positions.numel() and int(positions.max()) >= known:
            raise ConfigError(
                f"a source of {int(positions.max()) + 1} tokens, and the score 'location' knows {known} positions",
                "Train with a larger model.max_positions, or shorten the source.",
                "model.max_positions",
            )
        return F.embedding(positions, self.weight.flatten(1)).unflatten(-1, self.weight.shape[1:]).transpose(1, 2)


def dot() -> Score:
    """Return `q.k` (Luong 2015, equation 8)."""
    return Score(scale=1.0)


def scaled_dot(head_dim: int) -> Score:
    """Return `q.k / sqrt(K)` (Vaswani 2017, equation 1)."""
    return Score(scale=head_dim**-0.5)


def general(num_heads: int, head_dim: int) -> Score:
    """Return `q^T W k` (Luong 2015, equation 8), a dot product after the map `W^T` of the query."""
    return Score(HeadLinear(num_heads, head_dim, head_dim), scale=1.0)


def additive(num_heads: int, num_kv_heads: int, head_dim: int) -> Score:
    """Return `v^T tanh(W q + U k + b)` (Bahdanau 2014, appendix A.1.2)."""
    query, key = HeadLinear(num_heads, head_dim, head_dim, bias=True), HeadLinear(num_kv_heads, head_dim, head_dim)
    return Score(query, key, compare=TanhSum(num_heads, head_dim))


def concat(num_heads: int, num_kv_heads: int, head_dim: int) -> Score:
    """Return `v^T tanh(W [q; k])` (Luong 2015, equation 8).

    A map of what is joined is the sum of two maps, `W = [W1 | W2]`, so that keys are mapped once for each source: it
    is `additive` without the bias.
    """
    query, key = HeadLinear(num_heads, head_dim, head_dim), HeadLinear(num_kv_heads, head_dim, head_dim)
    return Score(query, key, compare=TanhSum(num_heads, head_dim))


def location(num_kv_heads: int, head_dim: int, num_positions: int) -> Score:
    """Return `(W q)_s`, which looks at where a key stands and not at what it is (Luong 2015, equation 9)."""
    return Score(key_map=PositionKeys(num_kv_heads, num_positions, head_dim), scale=1.0)


def cosine(num_heads: int) -> Score:
    """Return `beta cos(q, k)` with a learned sharpness `beta > 0` for each head (Graves 2014, equations 5 and 6)."""
    return Score(UnitLength(num_heads), UnitLength(), scale=1.0)


def build_score(
    name: str, head_dim: int, num_heads: int = 1, num_kv_heads: int | None = None, num_positions: int = 1024
) -> Score:
    """Return the score of that name.

    Args:
        name: One of `SCORES`.
        head_dim: Width of queries and keys.
        num_heads: H.
        num_kv_heads: G; None for as many as H.
        num_positions: That `location` shall know.

    Raises:
        ConfigError: No such score.

    Example:
        >>> score = build_score("additive", head_dim=8)
        >>> q, k = torch.randn(2, 1, 3, 8), torch.randn(2, 1, 5, 8)
        >>> where = torch.arange(5).expand(2, 5)
        >>> score(score.query_map(q, where[:, :3]), score.key_map(k, where)).shape
        torch.Size([2, 1, 3, 5])
    """
    groups = num_kv_heads or num_heads
    makers: dict[str, Callable[[], Score]] = {
        "scaled_dot": lambda: scaled_dot(head_dim),
        "dot": dot,
        "general": lambda: general(num_heads, head_dim),
        "additive": lambda: additive(num_heads, groups, head_dim),
        "concat": lambda: concat(num_heads, groups, head_dim),
        "location": lambda: location(groups, head_dim, num_positions),
        "cosine": lambda: cosine(num_heads),
    }
    if name not in makers:
        raise ConfigError(f"unknown score {name!r}", f"Use one of {', '.join(SCORES)}.", "model.score")
    return makers[name]()
