"""From scores to weights, over the last axis: everywhere a little, on a few keys, or on one.

What may not be read has the least score of its type, and is given weight 0 by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.errors import ConfigError
from onehop.nn.softmax import softmax

Select = Callable[[Tensor], Tensor]
SELECTS = ("soft", "sparsemax", "entmax", "straight_through", "gumbel", "hard")
ROUNDING = 1e-5  # scores that are apart by less, or by less of their size, are as good
FAR = -2.0  # scores as far as that below the largest have no weight, whatever they are


def soft(scores: Tensor) -> Tensor:
    """Give every key a positive weight: the softmax (Bahdanau 2014, equation 6)."""
    return softmax(scores)


def sparsemax(scores: Tensor) -> Tensor:
    """Return the nearest point of the simplex: keys far below the best have weight 0 (Martins 2016, algorithm 1).

    In float32 at least: sums of what is narrower would not be those of a distribution.

    Example:
        >>> sparsemax(torch.tensor([1.0, 0.8, -1.0]))
        tensor([0.6000, 0.4000, 0.0000])
    """
    if not scores.size(-1):
        return scores
    z = _from_the_largest(_wide(scores))
    ordered = z.sort(-1, descending=True).values
    ranks = _ranks(ordered)
    sums = ordered.cumsum(-1)
    size = (1 + ranks * ordered > sums).sum(-1, keepdim=True)
    threshold = (sums.gather(-1, size - 1) - 1) / size
    return (z - threshold).clamp(min=0)


def entmax(scores: Tensor) -> Tensor:
    """Return the 1.5-entmax, between softmax and sparsemax (Peters 2019, algorithm 2). In float32 at least.

    Example:
        >>> entmax(torch.tensor([1.0, 0.8, -1.0]))
        tensor([0.5705, 0.4295, 0.0000])
    """
    if not scores.size(-1):
        return scores
    z = _from_the_largest(_wide(scores) / 2)
    ordered = z.sort(-1, descending=True).values
    ranks = _ranks(ordered)
    mean, square = ordered.cumsum(-1) / ranks, ordered.square().cumsum(-1) / ranks
    spread = (1 - ranks * (square - mean.square())) / ranks
    # the square root's slope at 0 is infinite: below it stands what has no weight anyway
    thresholds = mean - spread.clamp(min=torch.finfo(z.dtype).tiny).sqrt()
    size = (thresholds <= ordered).sum(-1, keepdim=True)
    return (z - thresholds.gather(-1, size - 1)).clamp(min=0).square()


def one_best(scores: Tensor) -> Tensor:
    """Give the best key the weight 1; no gradient reaches the scores.

    Of keys that are as good up to rounding the first: otherwise what stands beside a row could change the choice.

    Example:
        >>> one_best(torch.tensor([0.0, 1.0, 1.0 + 1e-7]))
        tensor([0., 1., 0.])
    """
    if not scores.size(-1):
        return scores
    best = scores.amax(-1, keepdim=True)
    good = scores >= best - ROUNDING * best.abs().clamp(min=1.0)
    return F.one_hot(good.byte().argmax(-1), scores.size(-1)).to(scores.dtype)


class StraightThrough(nn.Module):
    """The weight 1 on the best key, and the softmax's gradient: biased, and of low variance (Bengio 2013)."""

    def forward(self, scores: Tensor) -> Tensor:
        """Choose; outside of training the best key."""
        if not self.training or not scores.numel():
            return one_best(scores)
        return through(one_best(scores), scores.softmax(-1))


class Gumbel(nn.Module):
    """The weight 1 on a key drawn by its softmax weight, with the gradient of a relaxed draw (Jang 2017).

    Args:
        temperature: Of the relaxation: lower is less biased and more noisy.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def noise(self, scores: Tensor) -> Tensor:
        """Draw from the standard Gumbel distribution, as many numbers as there are scores."""
        return -torch.empty_like(scores).exponential_().log()

    def forward(self, scores: Tensor) -> Tensor:
        """Draw in training; outside of it choose the best key."""
        if not self.training or not scores.numel():
            return one_best(scores)
        drawn = scores + self.noise(scores)
        chosen = F.one_hot(drawn.argmax(-1), drawn.size(-1)).to(drawn.dtype)
        return through(chosen, (drawn / self.temperature).softmax(-1))


class Hard(nn.Module):
    """The weight 1 on a key drawn by its softmax weight, which is learned from reward (Xu 2015, section 4.1).

    No gradient passes the draw. A loss that learns from it, `onehop.nn.reinforce.Reinforce`, asks for what was drawn by
    `choices`. Some of the rows, chosen at random, read the expectation instead, and inside of `choices` they do so at
    every step; in the paper each image does with probability 0.5.

    Args:
        expected: Probability that a row reads the softmax's weights.
    """

    def __init__(self, expected: float = 0.5) -> None:
        super().__init__()
        self.expected = expected

    def draw(self, weights: Tensor) -> Tensor:
        """Return the number of a key for each row of `weights (..., S)`, `(..., 1)`."""
        return weights.detach().flatten(0, -2).multinomial(1).unflatten(0, weights.shape[:-1])

    def averaged(self, scores: Tensor) -> Tensor:
        """Draw which rows of `scores (B, ..., S)` read the expectation, `(B, 1, ..., 1)`."""
        return torch.rand(scores.size(0), *[1] * (scores.dim() - 1), device=scores.device) < self.expected

    def forward(self, scores: Tensor) -> Tensor:
        """Draw in training; outside of it choose the best key."""
        if not self.training or not scores.numel():
            return one_best(scores)
        logs = scores.log_softmax(-1)
        weights = logs.exp()
        drawn = self.draw(weights)
        made = _CHOICES.get()
        averaged = self.averaged(scores) if made is None else made.rows(self, scores)
        if made is not None:
            log_prob = logs.gather(-1, drawn).squeeze(-1).masked_fill(averaged.squeeze(-1), 0.0)
            made.choices.append(Choice(log_prob, -(weights * logs).sum(-1)))
        return torch.where(averaged, weights, torch.zeros_like(weights).scatter(-1, drawn, 1.0))


@dataclass(frozen=True)
class Choice:
    """What a hard attention drew: `log_prob (B, H, T)`, zero where nothing was drawn, and `entropy (B, H, T)`."""

    log_prob: Tensor
    entropy: Tensor


@dataclass
class _Made:
    """What was drawn in a block: choices, and which rows of each module read the expectation."""

    choices: list[Choice] = field(default_factory=list[Choice])
    averaged: dict[int, Tensor] = field(default_factory=dict[int, Tensor])

    def rows(self, hard: Hard, scores: Tensor) -> Tensor:
        """Return which rows of `scores (B, ..., S)` read the expectation, drawn once for as many rows."""
        before = self.averaged.get(id(hard))
        if before is None or before.size(0) != scores.size(0):
            before = self.averaged[id(hard)] = hard.averaged(scores)
        return before.view(-1, *[1] * (scores.dim() - 1))


_CHOICES: ContextVar[_Made | None] = ContextVar("onehop_choices", default=None)


@contextmanager
def choices() -> Generator[list[Choice]]:
    """Collect what hard attention draws inside the block, in the order of the draws.

    Example:
        >>> with choices() as made:
        ...     _ = Hard().train()(torch.zeros(1, 1, 2, 3))
        >>> made[0].log_prob.shape
        torch.Size([1, 1, 2])
    """
    made = _Made()
    token = _CHOICES.set(made)
    try:
        yield made.choices
    finally:
        _CHOICES.reset(token)


def build_select(name: str, expected: float = 0.5, temperature: float = 1.0) -> Select:
    """Return what is named so.

    Args:
        name: One of `SELECTS`.
        expected: See `Hard`.
        temperature: See `Gumbel`.

    Raises:
        ConfigError: No such select.

    Example:
        >>> build_select("soft")(torch.tensor([0.0, 0.0]))
        tensor([0.5000, 0.5000])
    """
    makers: dict[str, Callable[[], Select]] = {
        "soft": lambda: soft,
        "sparsemax": lambda: sparsemax,
        "entmax": lambda: entmax,
        "straight_through": StraightThrough,
        "gumbel": lambda: Gumbel(temperature),
        "hard": lambda: Hard(expected),
    }
    if name not in makers:
        raise ConfigError(f"unknown select {name!r}", f"Use one of {', '.join(SELECTS)}.", "model.select")
    return makers[name]()


class _Through(torch.autograd.Function):
    """A value, to the bit, with the gradient of another: a sum of both and its opposite would be rounded."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return value.to(gradient.dtype)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:  # type: ignore[override]
        return None, outer[0]


def through(value: Tensor, gradient: Tensor) -> Tensor:
    """Return `value`, with the gradient of `gradient`, of whose type it is (the straight-through estimator).

    Example:
        >>> x = torch.tensor([0.4, 1.6], requires_grad=True)
        >>> through(x.detach().round(), x).sum().backward()
        >>> x.grad
        tensor([1., 1.])
    """
    return _Through.apply(value, gradient)  # type: ignore[no-any-return]


def _from_the_largest(scores: Tensor) -> Tensor:
    """Move the largest to 0 and what cannot count to `FAR`, which neither overflows nor becomes NaN."""
    return (scores - scores.amax(-1, keepdim=True).detach()).clamp(min=FAR)


def _wide(scores: Tensor) -> Tensor:
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _ranks(ordered: Tensor) -> Tensor:
    return torch.arange(1, ordered.size(-1) + 1, dtype=ordered.dtype, device=ordered.device)
