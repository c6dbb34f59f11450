"""Which keys a query may read: the only place where masks combine. True = may attend, everywhere in Onehop.

A mask is built once for each forward pass and shared by all layers. It keeps its structure (lengths, causal, window,
segments) for kernels that know it, and becomes a dense tensor, once, only for those that do not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

Found = TypeVar("Found")


class Mask:
    """A structured mask over queries `T` and keys `S`; its conditions are joined by "and".

    Args:
        lengths: `(B,)` int64: keys from `lengths` on do not exist.
        causal: A query at slot `i` reads keys at slots `<= i`.
        window: A query reads keys at most this many slots away.
        segments: Numbers of the queries `(B, T)` and of the keys `(B, S)`: a query reads keys of its own number.
            Negative numbers are padding: such a query reads nothing, such a key is read by nobody.
        bias: float, broadcastable to `(B, H, T, S)`: added to the scores.
        start: `(B,)` int64: the slot of each row's first query; None for slot 0, or for `size`, when given.
        size: The slot of the first query where all rows agree.
        centres: `(B, T)`: where in its source each query looks; keys at most `window` from there are read, in place of
            those around its own slot.
        gaussian: `(B, T)` float: weights are multiplied by `exp(-(s - centre)^2 / 2 sigma^2)`, sigma = `window` / 2.
        rows: `(T,)` int64: the numbers of the queries, behind the first one's slot; None for all in their order.
    """

    def __init__(
        self,
        *,
        lengths: Tensor | None = None,
        causal: bool = False,
        window: int | None = None,
        segments: tuple[Tensor, Tensor] | None = None,
        bias: Tensor | None = None,
        start: Tensor | None = None,
        size: int = 0,
        centres: Tensor | None = None,
        gaussian: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> None:
        self.lengths, self.causal, self.window = lengths, causal, window
        self.segments, self.bias, self.start, self.size = segments, bias, start, size
        self.centres, self.gaussian, self.rows = centres, gaussian, rows
        self._dense: dict[tuple[int, int], tuple[Tensor | None, Tensor | None]] = {}
        self._additive: dict[tuple[int, int, torch.dtype], Tensor] = {}
        self._once: dict[Any, Any] = {}

    def around(self, centres: Tensor, window: int, gaussian: Tensor | None = None) -> Mask:
        """Return this mask, narrowed to `window` positions around `centres (B, T)`; see the arguments of the class."""
        return Mask(
            lengths=self.lengths, causal=self.causal, window=window, segments=self.segments, bias=self.bias,
            start=self.start, size=self.size, centres=centres, gaussian=gaussian, rows=self.rows,
        )  # fmt: skip

    def with_bias(self, bias: Tensor) -> Mask:
        """Return this mask with `bias` added to its own; what it has worked out is shared."""
        mask = Mask(
            lengths=self.lengths, causal=self.causal, window=self.window, segments=self.segments, start=self.start,
            bias=bias if self.bias is None else self.bias + bias, size=self.size, centres=self.centres,
            gaussian=self.gaussian, rows=self.rows,
        )  # fmt: skip
        mask._dense, mask._additive, mask._once = self._dense, self._additive, self._once
        return mask

    def of(self, rows: Tensor, heads: list[int]) -> Mask:
        """Return this mask for the queries with these numbers `(T',)` and for these heads, without the others."""
        bias, segments = self.bias, self.segments
        if bias is not None:
            bias = bias[(None,) * (4 - bias.dim())]
            bias = bias if bias.size(2) == 1 else bias[:, :, rows]  # first: of all heads, few rows are copied
            bias = bias if bias.size(1) == 1 else bias[:, heads]
        if segments is not None:
            segments = segments[0][:, rows], segments[1]
        centres, gaussian = (None if x is None else x[:, rows] for x in (self.centres, self.gaussian))
        return Mask(
            lengths=self.lengths, causal=self.causal, window=self.window, segments=segments, bias=bias,
            start=self.start, size=self.size, centres=centres, gaussian=gaussian,
            rows=rows if self.rows is None else self.rows[rows],
        )  # fmt: skip

    def distances(self, T: int, S: int, device: torch.device) -> Tensor:
        """Return how many slots each key stands behind each query, `(B or 1, T, S)` int64; before it is negative."""
        numbers = torch.arange(T, device=device) if self.rows is None else self.rows
        queries = numbers + (self.size if self.start is None else self.start.unsqueeze(1))
        found = torch.arange(S, device=device) - queries.unsqueeze(-1)
        return found if found.dim() == 3 else found.unsqueeze(0)

    def key_lengths(self, queries: Tensor, size: int) -> Tensor:
        """Return `(B, T)` int64: how many of `size` keys are real for each of `queries (B, T)`, any tensor of them."""
        if self.segments is not None:
            query, key = self.segments
            return (query.unsqueeze(2) == key.unsqueeze(1)).sum(2)
        if self.lengths is None:
            return torch.full(queries.shape[:2], size, dtype=torch.int64, device=queries.device)
        return self.lengths.unsqueeze(1).expand(queries.shape[:2])

    def prior(self, S: int) -> Tensor | None:
        """Return the factor `(B, 1, T, S)` that weights are multiplied by, if there is one."""
        if self.gaussian is None or self.window is None:
            return None
        away = self._places(S, self.gaussian.device) - self.gaussian.unsqueeze(-1)
        return (-2 * (away / self.window).square()).exp().unsqueeze(1)

    def _places(self, S: int, device: torch.device) -> Tensor:
        """Return where each key stands in its source, broadcastable to `(B, T, S)`."""
        keys = torch.arange(S, device=device)
        return keys if self.segments is None else places(self.segments[1]).unsqueeze(1)

    def is_causal_square(self, T: int, S: int) -> bool:
        """Whether the mask is the plain lower triangle, which every kernel knows."""
        plain = self.lengths is None and self.window is None and self.segments is None and self.bias is None
        return self.causal and plain and self.start is None and self.rows is None and self.size == 0 and T == S

    def dense(self, T: int, S: int, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
        """Return `allowed`, bool, broadcastable to `(B, H, T, S)`, and `blind` `(B, 1, T, 1)`: queries with no key.

        Either is None where it has no effect.
        """
        if (T, S) not in self._dense:
            allowed = self._allowed(T, S, device)
            blind = None if allowed is None else ~allowed.any(-1, keepdim=True)
            if blind is not None and not bool(blind.any()):
                blind = None
            self._dense[T, S] = allowed, blind
        return self._dense[T, S]

    def additive(self, T: int, S: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return what `dense` forbids as the least number, and the rest as zero: to be added to scores."""
        key = (T, S, dtype)
        if key not in self._additive:
            allowed, _ = self.dense(T, S, device)
            zeros = torch.zeros((), dtype=dtype, device=device)
            least = zeros.new_tensor(torch.finfo(dtype).min)
            self._additive[key] = zeros if allowed is None else torch.where(allowed, zeros, least)
        return self._additive[key]

    def ranges(self, T: int, S: int) -> Tensor | None:
        """Return which keys each query reads as `(B or 1, T, 2)` int32: the first, and the one behind the last.

        None where they do not stand in a row. A query that reads none has two equal numbers.
        """
        allowed, _ = self.dense(T, S, torch.device("cpu"))
        if allowed is None:
            return torch.tensor([0, S], dtype=torch.int32).repeat(1, T, 1)
        if allowed.size(1) != 1:
            return None
        numbers = allowed[:, 0].to(torch.int8)
        begins = numbers[..., :1].sum(-1) + (numbers.diff(dim=-1) == 1).sum(-1)
        if bool((begins > 1).any()):
            return None
        first, count = numbers.argmax(-1), numbers.sum(-1)
        found = torch.stack([first, first + count], -1).to(torch.int32)
        return found.expand(-1, T, -1).contiguous()

    def once(self, key: object, make: Callable[[], Found]) -> Found:
        """Return what `make` works out of what may be read, and remember it under a key."""
        if key not in self._once:
            self._once[key] = make()
        return self._once[key]  # type: ignore[no-any-return]

    def _allowed(self, T: int, S: int, device: torch.device) -> Tensor | None:
        conditions: list[Tensor] = []
        keys = torch.arange(S, device=device)
        if self.lengths is not None:
            conditions.append((keys < self.lengths.unsqueeze(1))[:, None, None])  # (B, 1, 1, S)
        hides = self.causal and (self.start is not None or self.size + 1 < S)  # something, from the first query
        if self.centres is not None and self.window is not None:
            away = self._places(S, device) - self.centres.detach().unsqueeze(-1)
            conditions.append((away.abs() <= self.window).unsqueeze(-3))
        elif hides or self.window is not None:
            distance = self.distances(T, S, device).unsqueeze(1)
            if self.causal:
                conditions.append(distance <= 0)
            if self.window is not None:
                conditions.append(distance.abs() <= self.window)
        if self.segments is not None:
            query, key = self.segments
            conditions.append(((query.unsqueeze(2) == key.unsqueeze(1)) & (query >= 0).unsqueeze(2)).unsqueeze(1))
        if not conditions:
            return None
        allowed = conditions[0]
        for condition in conditions[1:]:
            allowed = allowed & condition
        return allowed if allowed.dim() == 4 else allowed.unsqueeze(0)


def places(segments: Tensor) -> Tensor:
    """Count from 0 in each segment of `segments (B, S)`, int64; padding, whose numbers are negative, stands at 0.

    Example:
        >>> places(torch.tensor([[0, 0, 1, 1, 1, -1, -1]]))
        tensor([[0, 1, 0, 1, 2, 0, 0]])
    """
    numbers = torch.arange(segments.size(1), device=segments.device).expand(segments.shape)
    begins = F.pad(segments[:, 1:] != segments[:, :-1], [1, 0], value=True)
    return (numbers - torch.where(begins, numbers, 0).cummax(1).values).masked_fill(segments < 0, 0)


def padding(lengths: Tensor | None, size: int) -> Tensor | None:
    """Return `lengths`, or None when every row fills `size`, so that no mask is needed."""
    return None if lengths is None or bool((lengths == size).all()) else lengths
