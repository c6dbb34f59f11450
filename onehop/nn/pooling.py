"""From the states of a text to one vector for the whole of it: the first, the last, a mean, a maximum, or attention.

A pooling reads `states (B, S, D)` and how many of each row are real, and returns `(B, D)`; of nothing, zeros.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from onehop.errors import ConfigError
from onehop.nn.attention import Attention, Bare, Score
from onehop.nn.masks import Mask, padding

POOLINGS = ("attention", "mean", "max", "last", "cls")


class TanhMap(nn.Module):
    """`u = tanh(W h + b)`, as the key of a state (Yang 2016, equation 5).

    Args:
        dim: Width of `h`.
        attention_dim: Width of `u`.
    """

    def __init__(self, dim: int, attention_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, attention_dim)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Map `x (B, 1, S, D)` to `(B, 1, S, A)`."""
        return self.linear(x).tanh()


class AttentionPooling(nn.Module):
    """One learned query reads a text once: `softmax(tanh(W h + b) . u) h` (Yang 2016, equations 5 to 7; Lin 2017).

    It is the attention of decoders with a parameter in place of the state that asks: a product after the map of the
    keys, so it runs on the fused kernel, and `record_attention` finds it by its name.

    Args:
        dim: Width of the states.
        attention_dim: Width of the query.
        name: Under which `record_attention` finds it.

    Example:
        >>> pooling = AttentionPooling(8, 6)
        >>> states, lengths = torch.randn(2, 5, 8), torch.tensor([5, 2])
        >>> with onehop.record_attention() as record:
        ...     pooling(states, lengths).shape
        torch.Size([2, 8])
        >>> record["pooling"][1, 0, 0, 2:]
        tensor([0., 0., 0.])
    """

    def __init__(self, dim: int, attention_dim: int, name: str = "pooling") -> None:
        super().__init__()
        self.query = nn.Parameter(
            torch.empty(1, 1, 1, attention_dim).uniform_(-(attention_dim**-0.5), attention_dim**-0.5)
        )
        score = Score(key_map=TanhMap(dim, attention_dim), scale=1.0)
        self.attention = Attention(Bare(), nn.Identity(), num_heads=1, num_kv_heads=1, score=score, name=name)

    def forward(self, states: Float[Tensor, "B S D"], lengths: Int[Tensor, " B"] | None = None) -> Float[Tensor, "B D"]:
        """Read the first `lengths` states of each row."""
        return self.read(states, Mask(lengths=padding(lengths, states.size(1))), 1).squeeze(1)

    def read(self, states: Float[Tensor, "B S D"], mask: Mask, queries: int) -> Float[Tensor, "B T D"]:
        """Let so many copies of the query read what `mask` allows each of them."""
        rows, size = states.shape[:2]
        kv = self.attention.project(states, torch.arange(size, device=states.device).expand(rows, size))
        return self.attention(self.query.expand(rows, -1, queries, -1), kv, mask)


class Mean(nn.Module):
    """The mean of the real states."""

    def forward(self, states: Float[Tensor, "B S D"], lengths: Int[Tensor, " B"] | None = None) -> Float[Tensor, "B D"]:
        """Average the first `lengths` states of each row."""
        real, count = _real(states, lengths)
        return (states * real).sum(1) / count.clamp(min=1)


class Maximum(nn.Module):
    """The largest value of each column among the real states (Collobert 2008)."""

    def forward(self, states: Float[Tensor, "B S D"], lengths: Int[Tensor, " B"] | None = None) -> Float[Tensor, "B D"]:
        """Take the maximum over the first `lengths` states of each row."""
        if not states.size(1):
            return states.new_zeros(len(states), states.size(2))
        real, count = _real(states, lengths)
        found = states.masked_fill(~real, torch.finfo(states.dtype).min).amax(1)
        return found.masked_fill(count == 0, 0.0)


class First(nn.Module):
    """The first state, such as that of BERT's `[CLS]`."""

    def forward(self, states: Float[Tensor, "B S D"], lengths: Int[Tensor, " B"] | None = None) -> Float[Tensor, "B D"]:
        """Take the first state of each row."""
        if not states.size(1):
            return states.new_zeros(len(states), states.size(2))
        return states[:, 0] * (_real(states, lengths)[1] > 0)


class Last(nn.Module):
    """The state after all was read: of two directions, the last of the one and the first of the other.

    Args:
        two_ways: Whether the second half of a state read from the end.
    """

    def __init__(self, *, two_ways: bool) -> None:
        super().__init__()
        self.two_ways = two_ways

    def forward(self, states: Float[Tensor, "B S D"], lengths: Int[Tensor, " B"] | None = None) -> Float[Tensor, "B D"]:
        """Take the last real state of each row."""
        if not states.size(1):
            return states.new_zeros(len(states), states.size(2))
        count = _real(states, lengths)[1]
        last = states[torch.arange(len(states), device=states.device), (count.squeeze(1) - 1).clamp(min=0)]
        if self.two_ways:
            half = states.size(2) // 2
            last = torch.cat([last[:, :half], states[:, 0, half:]], 1)
        return last * (count > 0)


def _real(states: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return which states are real, `(B, S, 1)`, and how many of each row, `(B, 1)`."""
    rows, size = states.shape[:2]
    count = torch.full((rows,), size, device=states.device) if lengths is None else lengths
    return (torch.arange(size, device=states.device) < count.unsqueeze(1)).unsqueeze(2), count.unsqueeze(1)


def build_pooling(
    name: str, dim: int, attention_dim: int, *, two_ways: bool = False, record: str = "pooling"
) -> nn.Module:
    """Return the pooling of that name.

    Args:
        name: One of `POOLINGS`.
        dim: Width of the states.
        attention_dim: Width of the learned query of `attention`.
        two_ways: Whether the second half of a state read from the end; for `last`.
        record: Under which `record_attention` finds `attention`.

    Raises:
        ConfigError: No such pooling.

    Example:
        >>> build_pooling("mean", 3, 0)(torch.ones(1, 4, 3), torch.tensor([2]))
        tensor([[1., 1., 1.]])
    """
    makers: dict[str, Callable[[], nn.Module]] = {
        "attention": lambda: AttentionPooling(dim, attention_dim, record),
        "mean": Mean,
        "max": Maximum,
        "last": lambda: Last(two_ways=two_ways),
        "cls": First,
    }
    if name not in makers:
        raise ConfigError(f"unknown pooling {name!r}", f"Use one of {', '.join(POOLINGS)}.", "head.pooling")
    return makers[name]()
