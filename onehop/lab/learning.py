"""T-13: the paper's rate, smoothed targets, and averaged checkpoints."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from onehop.lab.measured import Figure, Measured
from onehop.lab.parts import gap
from onehop.nn import cross_entropy
from onehop.train.averaging import mean_weights
from onehop.train.progress import WEIGHTS
from onehop.train.schedule import noam


def recipe() -> Measured:
    """T-13, the training recipe: a rate that rises and falls, targets that are not quite sure, the mean of checkpoints.

    Formula: rate = d^-0.5 min(step^-0.5, step warmup^-1.5); loss = sum_v q_v log(1 / p_v),
    q = (1 - eps) one-hot + eps / V.
    Source: Vaswani et al. 2017, sections 5.3 and 5.4 and 6.1; Szegedy 2016.
    """
    rate = noam(512, 4_000)
    known = {"first": (1, 1.746928e-7), "peak": (4_000, 6.987712e-4), "late": (100_000, 1.397543e-4)}
    values = {name: abs(rate(step, 0.0) / value - 1) for name, (step, value) in known.items()}
    curve = [(float(step), rate(step, 0.0)) for step in range(250, 20_001, 250)]
    figure = Figure("The rate of the base model", "update", "learning rate", {"warm-up 4,000": curve})
    return Measured({**values, "smoothing": _smoothing(), "average": _average()}, figures=(figure,))


def _smoothing() -> float:
    """Compare the smoothed loss with KL(q, p) + H(q), q being the smoothed targets."""
    logits, targets = torch.randn(6, 9), torch.randint(9, (6,))
    q = torch.full((6, 9), 0.1 / 9)
    q[torch.arange(6), targets] += 0.9
    log_p = logits.log_softmax(-1)
    divergence, entropy = (q * (q.log() - log_p)).sum(), -(q * q.log()).sum()
    return gap(cross_entropy(logits, targets, 0.1), divergence + entropy)


def _average() -> float:
    """Average a model with two checkpoints on disk, and compare with the mean of the three."""
    model, others = nn.Linear(3, 2), [nn.Linear(3, 2), nn.Linear(3, 2)]
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / str(i) for i in range(2)]
        for place, other in zip(places, others, strict=True):
            place.mkdir()
            save_file({name: p.detach() for name, p in other.named_parameters()}, place / WEIGHTS)
        mean = mean_weights(model, places)
    expected = torch.stack([m.weight.detach() for m in (model, *others)]).mean(0)
    return gap(mean["weight"], expected)
