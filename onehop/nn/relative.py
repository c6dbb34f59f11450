"""Positions as distances between query and key: what they add to the scores, and to what is read.

A distance is that of two slots, key minus query, which the mask knows; in a packed row it is the same as that of two
positions of one sentence.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.nn.masks import Mask


class Alibi(nn.Module):
    """Scores fall by the distance, each head at its own rate: `-m_h |j - i|` (Press 2022, section 3).

    The rates are `2^(-8 h / H)`; where H is no power of two, those of the next lower one, then every other of the
    next higher one. Nothing is learned. In an encoder the distance counts in both directions alike.

    Example:
        >>> Alibi(2)(Mask(causal=True, size=2), 1, 3, torch.zeros(1))[0, :, 0]
        tensor([[-0.1250, -0.0625, -0.0000],
                [-0.0078, -0.0039, -0.0000]])
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.rates = alibi_rates(num_heads)

    def forward(self, mask: Mask, T: int, S: int, like: Tensor) -> Tensor:
        """Return what `T` queries add to the scores of `S` keys, `(B or 1, H, T, S)`, of the type of `like`."""
        rates = like.new_tensor(self.rates)
        return -rates[:, None, None] * mask.distances(T, S, like.device).abs().unsqueeze(1)


def alibi_rates(num_heads: int) -> list[float]:
    """Return the rates of `Alibi`, those of the paper.

    Example:
        >>> alibi_rates(3)
        [0.0625, 0.00390625, 0.25]
    """
    power = 1 << (num_heads.bit_length() - 1)
    first = [2.0 ** (-8 * h / power) for h in range(1, power + 1)]
    between = [2.0 ** (-8 * h / (2 * power)) for h in range(1, 2 * power + 1, 2)]
    return [*first, *between[: num_heads - power]]


class BucketBias(nn.Module):
    """A learned number for each head and class of distances, added to the scores (Raffel 2020, section 2.1).

    Half of the classes are single distances, the rest grow with the logarithm up to `far`, behind which all are one.
    Without `causal` each direction has half of the classes.

    Args:
        num_heads: H.
        buckets: Classes; 32 in T5.
        far: The distance from which all are alike; 128 in T5.
        causal: Whether keys behind the query do not occur.
    """

    def __init__(self, num_heads: int, *, causal: bool, buckets: int = 32, far: int = 128) -> None:
        super().__init__()
        self.causal, self.buckets, self.far = causal, buckets, far
        self.weight = nn.Parameter(torch.zeros(buckets, num_heads))

    def forward(self, mask: Mask, T: int, S: int, like: Tensor) -> Tensor:
        """Return what `T` queries add to the scores of `S` keys, `(B or 1, H, T, S)`, of the type of `like`."""
        classes = self.classes(mask.distances(T, S, like.device))
        return F.embedding(classes, self.weight).permute(0, 3, 1, 2).to(like.dtype)

    def classes(self, distances: Tensor) -> Tensor:
        """Return the class of each distance `j - i`, int64.

        Example:
            >>> BucketBias(1, causal=True).classes(torch.tensor([0, -15, -16, -60, -500]))
            tensor([ 0, 15, 16, 26, 31])
        """
        buckets = self.buckets if self.causal else self.buckets // 2
        away = -distances.clamp(max=0) if self.causal else distances.abs()
        exact = buckets // 2
        # the logarithm in float64: in float32 a distance at a class's edge may fall on either side
        ratio = (away.clamp(min=1).double() / exact).log() / torch.tensor(self.far / exact, dtype=torch.float64).log()
        far = (exact + (ratio * (buckets - exact)).long()).clamp(max=buckets - 1)
        found = torch.where(away < exact, away, far)
        return found if self.causal else found + buckets * (distances > 0)


class ShawRelative(nn.Module):
    """A learned vector for each distance, added to keys and values, the same for all heads (Shaw 2018, section 3.2).

    Args:
        head_dim: K.
        reach: k: distances beyond it count as it; 16 in the paper.
        scale: The score's, which the vectors of keys share.
    """

    def __init__(self, head_dim: int, scale: float, reach: int = 16) -> None:
        super().__init__()
        self.reach, self.scale = reach, scale
        bound = head_dim**-0.5
        self.keys = nn.Parameter(torch.empty(2 * reach + 1, head_dim).uniform_(-bound, bound))
        self.values = nn.Parameter(torch.empty(2 * reach + 1, head_dim).uniform_(-bound, bound))

    def bias(self, q: Tensor, mask: Mask, T: int, S: int) -> Tensor:
        """Return `q.a^K` of each pair, scaled, `(B, H, T, S)`: one product for each distance, not for each pair."""
        by_distance = q @ self.keys.T.to(q.dtype) * self.scale  # (B, H, T, 2k + 1)
        return by_distance.gather(-1, self._index(mask, T, S, q))

    def read(self, weights: Tensor, mask: Mask) -> Tensor:
        """Return what `weights (B, H, T, S)` read of the distances: `sum_j weights_ij a^V_ij`, `(B, H, T, K)`."""
        T, S = weights.shape[2:]
        by_distance = weights.new_zeros(*weights.shape[:3], len(self.values))
        by_distance = by_distance.scatter_add(-1, self._index(mask, T, S, weights), weights)
        return by_distance @ self.values.to(weights.dtype)

    def _index(self, mask: Mask, T: int, S: int, like: Tensor) -> Tensor:
        distances = mask.distances(T, S, like.device).clamp(-self.reach, self.reach) + self.reach
        return distances.unsqueeze(1).expand(like.size(0), like.size(1), T, S)
