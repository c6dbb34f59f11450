"""A-05 to A-07 and L-02: attention that chooses a place in the source, by lot, by step, or by prediction."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from onehop.lab.measured import Measured
from onehop.lab.parts import gap, slopes
from onehop.nn import Mask, attend
from onehop.nn.attention import Attention, Bare, scaled_dot
from onehop.nn.attention.attend import attention_weights
from onehop.nn.attention.regions import LocalMonotonic, LocalPredictive
from onehop.nn.attention.scores import additive
from onehop.nn.attention.selects import Gumbel, Hard, choices

SCORES = torch.tensor([0.0, 1.0, -1.0, 0.5, 2.0])
DRAWS = 20_000
T, S, D = 6, 9, 4
POSITIONS = torch.arange(T).unsqueeze(0)


def hard() -> Measured:
    """A-05, hard attention: one key is drawn by its weight and read alone; outside of training the best.

    Formula: s_t ~ Multinoulli(alpha_t); z_t = a_(s_t); L_s = sum_s p(s | a) log p(y | s, a) <= log p(y | a).
    Source: Xu et al. 2015, section 4.1; Williams 1992.
    """
    select = Hard(expected=0.0).train()  # draw for every row, where the paper lets half of them read the expectation
    drawn = select(SCORES.expand(DRAWS, 1, 1, 5))
    q, k, v = (torch.randn(2, 1, n, D) for n in (T, S, S))
    best = scaled_dot(D)(q, k).argmax(-1)
    looked_up = v[:, 0].gather(1, best[:, 0].unsqueeze(-1).expand(-1, -1, D)).unsqueeze(1)
    found = attend(q, k, v, scaled_dot(D), Mask(), select.eval())
    return Measured({
        "one_hot": float(torch.minimum(drawn, 1 - drawn).abs().max()),
        "frequency": chi_squared(drawn.sum((0, 1, 2)), SCORES.softmax(-1)),
        "argmax": float((found != looked_up).any(-1).sum()),
        "bound": _above_the_bound(select.train()),
    })  # fmt: skip


def chi_squared(counts: Tensor, weights: Tensor) -> float:
    """Return how far counts of draws are from what their weights make one expect (Pearson 1900)."""
    expected = counts.sum() * weights
    return float(((counts - expected).square() / expected).sum())


def _above_the_bound(select: Hard) -> float:
    """Return L_s - log p(y | a) for a target of two steps, with every s that was drawn; it must not be positive."""
    scores, log_likelihood = torch.randn(2, 3), torch.randn(3, 3)  # of y, by what was read at both steps
    with choices() as made:
        drawn = select(scores.expand(1_000, 1, 2, 3)).argmax(-1).squeeze(1)
    log_probs = made[0].log_prob.sum((1, 2))
    log_p = {tuple(s): float(p) for s, p in zip(drawn.tolist(), log_probs, strict=True)}  # all nine occur
    lower = sum(math.exp(p) * float(log_likelihood[s]) for s, p in log_p.items())
    return lower - math.log(sum(math.exp(p + float(log_likelihood[s])) for s, p in log_p.items()))


def local_monotonic() -> Measured:
    """A-06, local-m: a window that moves along the source with the target's own position.

    Formula: p_t = t; softmax over the keys p_t - D ... p_t + D.
    Source: Luong 2015, section 3.2.
    """
    q, k = (torch.randn(1, 1, n, D, dtype=torch.float64) for n in (T, S))
    away = (torch.arange(S) - POSITIONS.mT).abs()
    found = attention_weights(q, k, scaled_dot(D), _local(2, POSITIONS, S))[0, 0]
    wide = attention_weights(q, k, scaled_dot(D), _local(S, POSITIONS, S))
    plain = attention_weights(q, k, scaled_dot(D), Mask())
    read = [int((row > 0).sum()) for row in found]
    expected = [min(t + 2, S - 1) - max(t - 2, 0) + 1 for t in range(T)]
    return Measured({
        "outside": float(found[away > 2].max()),
        "clipped": float(sum(a != b for a, b in zip(read, expected, strict=True))),
        "wide": gap(wide, plain),
        "keys": float(abs(_keys_read(500) - _keys_read(50))),
        "compared": float(abs(_keys_compared(5_000) - _keys_compared(500))),
    })  # fmt: skip


def _local(window: int, positions: Tensor, size: int) -> Mask:
    return LocalMonotonic(window)(Mask(), torch.zeros(*positions.shape, D), positions, size)


def _keys_compared(size: int) -> int:
    """Return with how many keys a step of decoding compares its query, window 10."""
    compared: list[int] = []
    attention = Attention(
        Bare(), nn.Identity(), num_heads=1, num_kv_heads=1, score=additive(1, 1, D), region=LocalMonotonic(10)
    )
    attention.score.register_forward_hook(lambda module, given, scores: compared.append(scores.size(-1)))
    memory, step = torch.randn(1, size, D), torch.tensor([[20]])
    with torch.inference_mode():
        kv = attention.project(memory, torch.arange(size).unsqueeze(0))
        attention.read(torch.randn(1, 1, D), kv, Mask(), step)
    return compared[0]


def _keys_read(size: int) -> int:
    q, k = torch.randn(1, 1, 1, D), torch.randn(1, 1, size, D)
    step = torch.tensor([[20]])
    return int((attention_weights(q, k, scaled_dot(D), _local(10, step, size)) > 0).sum())


def local_predictive() -> Measured:
    """A-07, local-p: a window around a place that the state predicts, sharpened by a Gaussian.

    Formula: p_t = S sigmoid(v_p^T tanh(W_p h_t)); a_t(s) = align(h_t, h_s) exp(-(s - p_t)^2 / 2 sigma^2), sigma =
    D / 2.
    Source: Luong 2015, section 3.2. With `rounded` window and Gaussian stand around the nearest whole place: the notes'
    "first hard, then soft".
    """
    region, x = LocalPredictive(D, 3).double(), torch.randn(1, T, D, dtype=torch.float64)
    q, k, v = (torch.randn(1, 1, n, D, dtype=torch.float64) for n in (T, S, S))
    places = region.centres(x, torch.full((1, T), S))
    factor = Mask().around(torch.zeros(1, 1), 10, torch.zeros(1, 1)).prior(11)
    assert factor is not None
    error, length = slopes(
        lambda: attend(q, k, v, scaled_dot(D), region(Mask(), x, POSITIONS, S)).square().sum(), [region.place.weight]
    )
    return Measured({
        "inside": float(((places <= 0) | (places >= S)).sum()),
        "five": abs(float(factor[0, 0, 0, 5]) - 0.606531),
        "ten": abs(float(factor[0, 0, 0, 10]) - 0.135335),
        "gradient": error,
        "learns": length,
        "rounded": _misplaced(q, k, x),
    })  # fmt: skip


def _misplaced(q: Tensor, k: Tensor, x: Tensor) -> float:
    """Count the queries of the rounded mode whose weights are not those around the nearest whole place."""
    region = LocalPredictive(D, 2, rounded=True).double()
    away = torch.arange(S) - region.centres(x, torch.full((1, T), S)).round().clamp(max=S - 1).unsqueeze(-1)
    inside = Mask(bias=torch.zeros(()).masked_fill(away.abs() > 2, -1e30).unsqueeze(1))
    expected = attention_weights(q, k, scaled_dot(D), inside) * (-away.square() / 2).exp()  # sigma = 2 / 2
    found = attention_weights(q, k, scaled_dot(D), region(Mask(), x, POSITIONS, S))
    return float(((found - expected).abs() > 1e-9).any(-1).sum())


def gumbel() -> Measured:
    """L-02, Gumbel-softmax: a draw like hard attention's, with a gradient through a relaxation of it.

    Formula: argmax_i(e_i + g_i), g_i = -log(-log u_i); backward softmax((e + g) / temperature).
    Source: Jang 2017; Maddison 2017.
    """
    scores = SCORES.expand(DRAWS, 5).clone().requires_grad_()
    drawn = Gumbel().train()(scores)
    (gradient,) = torch.autograd.grad((drawn @ torch.arange(5.0)).mean(), scores)
    weights = drawn.detach()
    return Measured({
        "one_hot": float(torch.minimum(weights.abs(), (1 - weights).abs()).max()),
        "frequency": chi_squared(weights.round().sum(0), SCORES.softmax(-1)),
        "learns": float(gradient.sum(0).norm()),
    })  # fmt: skip
