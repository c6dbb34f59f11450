"""A-05, measured: hard attention learns from reward alone, and its estimate of the gradient is right on average."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from onehop.lab.measured import Measured
from onehop.nn.attention.selects import Gumbel, Hard, Select, StraightThrough, choices
from onehop.nn.reinforce import Reinforce

STEPS, KEYS, DRAWS = 3, 4, 200_000


def reward() -> Measured:
    """A-05, learning where to look from reward: unbiased, and calmer with a baseline; its alternatives are biased.

    Formula: gradient = E[(log p(y | s) - b) d log p(s) / d e]; b_k = 0.9 b_(k-1) + 0.1 log p(y | s_k).
    Source: Xu et al. 2015, section 4.1; Williams 1992; straight-through Bengio 2013, Gumbel-softmax Jang 2017.
    """
    scores = torch.randn(STEPS, KEYS, dtype=torch.float64)
    losses = [3 + torch.randn([KEYS] * (t + 1), dtype=torch.float64) for t in range(STEPS)]
    plain, learned = Reinforce(entropy=0.0), Reinforce(entropy=0.0)
    learned.baseline = -3.0  # what the moving baseline comes to: the mean reward of a token
    without, with_baseline = (_estimates(scores, losses, learn) for learn in (plain, learned))
    return Measured({
        "unbiased": _away(with_baseline, _exact(scores, losses)),
        "baseline": float(with_baseline.var(0).sum() / without.var(0).sum()),
        "straight_through": _relaxed(StraightThrough()),
        "gumbel": _relaxed(Gumbel()),
    })  # fmt: skip


def _exact(scores: Tensor, losses: list[Tensor]) -> Tensor:
    """Return the gradient of the expected loss: every sequence of choices, by its probability."""
    scores = scores.clone().requires_grad_()
    probs, total = scores.softmax(-1), torch.zeros((), dtype=torch.float64)
    for s in product(range(KEYS), repeat=STEPS):
        chance = torch.stack([probs[t, key] for t, key in enumerate(s)]).prod()
        total = total + chance * sum(float(losses[t][s[: t + 1]]) for t in range(STEPS))
    return torch.autograd.grad(total, scores)[0]


def _estimates(scores: Tensor, losses: list[Tensor], learn: Reinforce) -> Tensor:
    """Return what each of many draws says of the gradient, `(DRAWS, STEPS, KEYS)`."""
    leaf = scores.expand(DRAWS, 1, STEPS, KEYS).clone().requires_grad_()
    with choices() as made:
        drawn = Hard(expected=0.0).train()(leaf).squeeze(1).argmax(-1)
    each = torch.stack([losses[t][tuple(drawn[:, : t + 1].T)] for t in range(STEPS)], 1)
    term = learn.term(made, each, torch.ones(DRAWS, STEPS, dtype=torch.bool), guess=0.0)
    return torch.autograd.grad(term, leaf)[0].squeeze(1)


def _away(found: Tensor, expected: Tensor) -> float:
    """Return how many standard errors the mean of `found (N, ...)` lies from what it should be, at most."""
    error = found.std(0) / len(found) ** 0.5
    return float(((found.mean(0) - expected).abs() / error.clamp(min=1e-12)).max())


def _relaxed(select: Select) -> float:
    """Return the same of a select that passes a gradient through its draw, where the loss bends between the values."""
    scores = torch.tensor([0.5, 0.0, -0.5], dtype=torch.float64)
    values = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    own = scores.clone().requires_grad_()
    expected = torch.autograd.grad(own.softmax(-1) @ values.square(), own)[0]
    leaf = scores.expand(DRAWS, 3).clone().requires_grad_()
    loss = (select(leaf) @ values).square()
    return _away(torch.autograd.grad(loss.sum(), leaf)[0], expected)
