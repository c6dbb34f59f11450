"""K-01: "make a query with a vector and look at similar things in the past"."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from onehop.explain import similar_past
from onehop.lab.measured import Measured
from onehop.lab.parts import gap, model
from onehop.nn import Mask, attend
from onehop.nn.attention import dot, scaled_dot
from onehop.nn.attention.attend import attention_weights

N, K, V, SHARP = 6, 6, 3, 60.0


def lookup() -> Measured:
    """K-01, a memory addressed by content: what was similar before is found wherever it stands.

    Formula: o_t = sum_(j <= t) softmax_j(q_t . k_j / sqrt(d)) v_j; with orthonormal keys and q = beta k_j it is v_j as
    beta grows.
    Source: the talk of the notes; Vaswani 2017; its lineage Graves 2014, Kaiser 2017.
    """
    keys, values = torch.eye(K)[None, None], torch.randn(1, 1, N, V)
    found = torch.cat([attend(SHARP * keys[:, :, j : j + 1], keys, values, dot(), Mask()) for j in range(N)], 2)
    q, k, v = (torch.randn(1, 1, n, K, dtype=torch.float64) for n in (1, N, N))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    past = Mask(causal=True, size=N - 1)  # a query at the last of N slots
    reordered = attend(q, k[:, :, order], v[:, :, order], scaled_dot(K), past)
    filters = torch.randn(V, K, N, dtype=torch.float64)
    weights = attention_weights(k, k, scaled_dot(K), Mask(causal=True))
    repeated, later = _looked_back()
    return Measured({
        "lookup": gap(found, values),
        "order": gap(reordered, attend(q, k, v, scaled_dot(K), past)),
        "convolution": gap(_convolved(v[:, 0, order], filters), _convolved(v[:, 0], filters)),
        "future": float(weights.triu(1).max()),
        "repeated": repeated,
        "later": later,
    })  # fmt: skip


def _looked_back() -> tuple[float, float]:
    """Look back from each word of a text with repetitions: words not found where they stood, and places not past."""
    tokens = torch.randint(3, 12, (40,))
    found = similar_past(model("transformer").source_embedding(tokens), 3)
    words = tokens.tolist()
    last = [max((j for j in range(t) if words[j] == word), default=None) for t, word in enumerate(words)]
    missed = sum(place is not None and before[0][0] != place for place, before in zip(last, found, strict=True))
    later = sum(place >= t for t, before in enumerate(found) for place, _ in before)
    return float(missed), float(later)


def _convolved(past: Tensor, filters: Tensor) -> Tensor:
    """Return what a convolution over the whole past makes of it: each place has its own weight."""
    return F.conv1d(past.mT, filters)
