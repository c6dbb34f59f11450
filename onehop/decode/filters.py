"""What a sampled token is drawn from: small pure functions from logits to logits, `(B, V)` each.

A filter sets what it leaves out to -inf and always keeps the most probable token. They are applied in the order
temperature, top-k, top-p, min-p, so that each sees the distribution that those before it left.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Filter = Callable[[Tensor], Tensor]
"""`logits (B, V) -> logits (B, V)`."""


def temperature(value: float) -> Filter:
    """Return a filter that divides logits by `value`: below 1 sharpens a distribution, above 1 flattens it.

    Example:
        >>> temperature(2.0)(torch.tensor([[4.0, 2.0]]))
        tensor([[2., 1.]])
    """
    return lambda logits: logits / value


def top_k(count: int) -> Filter:
    """Return a filter that keeps the `count` most probable tokens (Fan 2018, section 5.1).

    Example:
        >>> top_k(2)(torch.tensor([[3.0, 1.0, 2.0]]))
        tensor([[3., -inf, 2.]])
    """

    def keep(logits: Tensor) -> Tensor:
        top, words = logits.topk(min(count, logits.size(-1)))
        return torch.full_like(logits, -math.inf).scatter(-1, words, top)

    return keep


def top_p(mass: float) -> Filter:
    """Return a filter that keeps the nucleus: the fewest tokens with a probability of `mass` (Holtzman 2020).

    Example:
        >>> top_p(0.7)(torch.tensor([[0.5, 0.3, 0.2]]).log()).isfinite()
        tensor([[ True,  True, False]])
    """

    def keep(logits: Tensor) -> Tensor:
        ordered, words = logits.sort(-1, descending=True)
        probabilities = ordered.softmax(-1)
        before = probabilities.cumsum(-1) - probabilities
        before[..., 0] = 0.0
        return torch.empty_like(logits).scatter(-1, words, ordered.masked_fill(before >= mass, -math.inf))

    return keep


def min_p(share: float) -> Filter:
    """Return a filter that keeps tokens at least `share` times as probable as the most probable (Nguyen 2024).

    Example:
        >>> min_p(0.5)(torch.tensor([[0.5, 0.3, 0.2]]).log()).isfinite()
        tensor([[ True,  True, False]])
    """

    def keep(logits: Tensor) -> Tensor:
        least = logits.amax(-1, keepdim=True) + math.log(share)
        return logits.masked_fill(logits < least, -math.inf)

    return keep


def without_repeats(logits: Tensor, tokens: Tensor, lengths: Tensor, size: int) -> Tensor:
    """Return logits without the tokens that would write an n-gram of `size` a second time (Paulus 2018, section 2.5).

    Args:
        logits: `(B, V)`, of the token to come; left as they are.
        tokens: `(B, T)` int64, what each row holds so far.
        lengths: `(B,)` int64, how many of them are real.
        size: Tokens of an n-gram, at least 1.

    Example:
        >>> tokens = torch.tensor([[5, 6, 7, 5, 6]])
        >>> without_repeats(torch.zeros(1, 9), tokens, torch.tensor([5]), 3)[0].isneginf().nonzero().tolist()
        [[7]]
    """
    if tokens.size(1) < size:
        return logits
    grams = tokens.unfold(1, size, 1)  # (B, N, size): every n-gram, also those behind the end
    places = lengths.unsqueeze(1) - (size - 1) + torch.arange(size - 1, device=lengths.device)
    last = tokens.gather(1, places.clamp(min=0))  # (B, size - 1): what the next token would complete
    begins = torch.arange(grams.size(1), device=lengths.device)
    seen = (begins + size <= lengths.unsqueeze(1)) & (grams[..., :-1] == last.unsqueeze(1)).all(-1)
    rows, which = seen.nonzero(as_tuple=True)
    logits = logits.clone()
    logits[rows, grams[rows, which, -1]] = -math.inf
    return logits
