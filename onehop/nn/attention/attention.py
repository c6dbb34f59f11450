"""One attention module, from a single head over a source to grouped queries over oneself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from onehop.errors import ConfigError
from onehop.nn.attention.attend import attend, attention_weights, averaged, needs_weights, some_weights
from onehop.nn.attention.learn import apart
from onehop.nn.attention.near import near
from onehop.nn.attention.record import Record, subscriber
from onehop.nn.attention.regions import Region
from onehop.nn.attention.scores import Score
from onehop.nn.attention.selects import Select, soft
from onehop.nn.dropout import dropout as drop
from onehop.nn.linear import is_plain, linear, mapped
from onehop.nn.masks import Mask
from onehop.nn.relative import ShawRelative
from onehop.nn.state import KV


class Projections(nn.Module):
    """The maps from states to queries, keys and values, for all heads at once.

    Args:
        dim: Width of the states that ask.
        memory_dim: Width of the states that are read.
        num_heads: Query heads.
        num_kv_heads: Key/value heads.
        head_dim: Width of one head.
        bias: Whether the maps have biases.
    """

    def __init__(
        self, dim: int, memory_dim: int, num_heads: int, num_kv_heads: int, head_dim: int, *, bias: bool
    ) -> None:
        super().__init__()
        self.query = nn.Linear(dim, num_heads * head_dim, bias=bias)
        self.key = nn.Linear(memory_dim, num_kv_heads * head_dim, bias=bias)
        self.value = nn.Linear(memory_dim, num_kv_heads * head_dim, bias=bias)


class Bare(nn.Module):
    """States as they are, for a single head whose score has the only maps there are (Bahdanau 2014, Luong 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Identity(), nn.Identity(), nn.Identity()


class Attention(nn.Module):
    """Project, score, select, read (Vaswani 2017, section 3.2).

    It knows neither caches nor whether it is self- or cross-attention: the block decides what it reads. With
    `num_kv_heads` equal to `num_heads` it is multi-head attention, with 1 multi-query (Shazeer 2019), in between
    grouped queries (Ainslie 2023).

    Args:
        projections: Maps to queries, keys and values.
        out: Map of the joined heads.
        num_heads: H.
        num_kv_heads: G, a divisor of H.
        score: How queries and keys compare.
        select: Weights from scores.
        region: Where a query looks; None for everywhere.
        relative: Vectors of distances, where states read each other; None for none.
        dropout: Share of the weights set to zero in training.
        name: Under which `record_attention` finds it, such as `decoder.3.cross`.

    Raises:
        ConfigError: `num_heads` is no positive multiple of `num_kv_heads`.
    """

    def __init__(
        self,
        projections: Projections | Bare,
        out: nn.Module,
        *,
        num_heads: int,
        num_kv_heads: int,
        score: Score,
        select: Select = soft,
        region: Region | None = None,
        relative: ShawRelative | None = None,
        dropout: float = 0.0,
        name: str = "attention",
    ) -> None:
        super().__init__()
        if num_kv_heads < 1 or num_heads < 1 or num_heads % num_kv_heads:
            fits = [str(g) for g in range(1, num_heads + 1) if num_heads % g == 0]
            raise ConfigError(
                f"num_heads={num_heads} must be a positive multiple of num_kv_heads={num_kv_heads}",
                f"Use num_kv_heads = {' or '.join(fits)}." if fits else "Use at least one head.",
            )
        self.projections, self.out, self.score, self.select = projections, out, score, select
        self.region, self.relative, self.dropout, self.name = region, relative, dropout, name
        self.num_heads, self.num_kv_heads = num_heads, num_kv_heads

    def project(self, memory: Float[Tensor, "B S D"], positions: Int[Tensor, "B S"]) -> KV:
        """Return the keys and values of `memory`: once for a source, or once for each new chunk."""
        keys, values = together(memory, [self.projections.key, self.projections.value])
        return self._kv(keys, values, positions)

    def query(self, x: Float[Tensor, "B T D"], positions: Int[Tensor, "B T"]) -> Float[Tensor, "B H T K"]:
        """Return the queries of `x`."""
        return self._q(mapped(self.projections.query, x), positions)

    def read(
        self, x: Float[Tensor, "B T D"], kv: KV, mask: Mask, positions: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T D2"]:
        """Let states `x` ask for what stands in `kv`, each where its region says.

        Beams of one example become more queries over one copy of its source: B may be a multiple of the rows of `kv`.
        """
        rows, width = positions.shape
        examples = kv.keys.size(0)
        if examples != rows:
            x, positions = x.reshape(examples, -1, x.size(2)), positions.reshape(examples, -1)
        q = self.query(x, positions)
        if self.region is not None:
            mask = self.region(mask, x, positions, kv.keys.size(2))
            if subscriber(self.name) is None:  # who looks on sees all keys
                q, kv, mask = near(q, kv, mask) or (q, kv, mask)
        return self(q, kv, mask).reshape(rows, width, -1)

    def project_all(
        self, x: Float[Tensor, "B T D"], positions: Int[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B H T K"], KV]:
        """Return the queries, keys and values of states that read each other, by one product."""
        maps = self.projections
        queries, keys, values = together(x, [maps.query, maps.key, maps.value])
        return self._q(queries, positions), self._kv(keys, values, positions)

    def forward(self, q: Float[Tensor, "B H T K"], kv: KV, mask: Mask) -> Float[Tensor, "B T D"]:
        """Let each query read from `kv` what `mask` allows."""
        if self.relative is not None:
            mask = mask.with_bias(self.relative.bias(q, mask, q.size(2), kv.keys.size(2)))
        dropout = self.dropout if self.training else 0.0
        record = subscriber(self.name)
        whole = self.relative is not None or (record is not None and needs_weights(self.score, mask, self.select))
        if whole:
            context = self._weigh(q, kv, mask, dropout, record)
        else:
            if record is not None:
                self._beside(q, kv, mask, record)
            context = attend(q, kv.keys, kv.values, self.score, mask, self.select, dropout)  # (B, H, T, K)
        return mapped(self.out, context.transpose(1, 2).flatten(-2))

    def _weigh(self, q: Tensor, kv: KV, mask: Mask, dropout: float, record: Record | None) -> Tensor:
        """Return the context `(B, H, T, K)` by all weights, which are recorded: what was drawn is drawn once."""
        weights = attention_weights(q, kv.keys, self.score, mask, self.select)
        if record is not None:
            record.add(self.name, weights.shape, lambda heads, rows: weights[:, :, rows][:, heads])
        weights = drop(weights, dropout)
        context = averaged(weights, kv.values)
        return context if self.relative is None else context + self.relative.read(weights, mask)

    def _beside(self, q: Tensor, kv: KV, mask: Mask, record: Record) -> None:
        """Compute the weights that were asked for, while a kernel that has none computes the context."""
        shape = (*q.shape[:3], kv.keys.size(2))
        record.add(self.name, shape, lambda heads, rows: some_weights(q, kv.keys, self.score, mask, heads, rows))

    def _q(self, queries: Tensor, positions: Tensor) -> Tensor:
        return self.score.query_map(queries.unflatten(-1, (self.num_heads, -1)).transpose(1, 2), positions)

    def _kv(self, keys: Tensor, values: Tensor, positions: Tensor) -> KV:
        k, v = (x.unflatten(-1, (self.num_kv_heads, -1)).transpose(1, 2) for x in (keys, values))
        return KV(self.score.key_map(k, positions), v)


def together(x: Tensor, maps: Sequence[nn.Module]) -> Sequence[Tensor]:
    """Return what each linear map makes of `x`, in training by one product, which keeps the processor busier.

    Without gradients each map runs by itself: joining the weights anew would cost more than a step of decoding gains.
    So does a map that is more than its weight: one with hooks, or of another type.
    """
    if not torch.is_grad_enabled() or not all(map(is_plain, maps)):
        return [each(x) for each in maps]
    maps = cast("Sequence[nn.Linear]", maps)
    weight = torch.cat([each.weight for each in maps])
    bias = None if maps[0].bias is None else torch.cat([each.bias for each in maps])  # pyright: ignore[reportUnnecessaryComparison]
    return apart(linear(x, weight, bias), [each.out_features for each in maps])
