"""A-01 to A-04: what attention computes, and how queries and keys are compared."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from onehop.lab.measured import Measured
from onehop.lab.parts import gap, model, slopes
from onehop.lab.recurrent import hidden
from onehop.nn import Mask, attend
from onehop.nn.attention import dot, scaled_dot
from onehop.nn.attention.attend import attention_weights
from onehop.nn.attention.scores import SCORES, Score, additive, concat, cosine, general, location

M, N, K, V = 3, 6, 4, 5


def triple(m: int = M, n: int = N) -> tuple[Tensor, Tensor, Tensor]:
    """Return `m` queries, `n` keys and `n` values of one example and one head, in float64."""
    q, k, v = (torch.randn(1, 1, rows, width, dtype=torch.float64) for rows, width in ((m, K), (n, K), (n, V)))
    return q, k, v


def average() -> Measured:
    """A-01, attention: an average of values, weighted by how well each key fits the query.

    Formula: o = sum_i a(q, k_i) v_i; a = softmax_i(score(q, k_i)).
    Source: Bahdanau 2014; named query, key and value by Vaswani 2017.
    """
    q, k, v = triple()
    context, weights = attend(q, k, v, scaled_dot(K), Mask()), attention_weights(q, k, scaled_dot(K), Mask())
    order = torch.randperm(N)
    reordered = attend(q, k[:, :, order], v[:, :, order], scaled_dot(K), Mask())
    constant = attend(q, k, torch.full_like(v, 7.0), scaled_dot(K), Mask())
    directions = torch.randn(V, 200, dtype=torch.float64)
    outside = (context @ directions).amax(2) - (v @ directions).amax(2)  # beyond the outermost value?
    relevance, reads = (torch.tensor([x], dtype=torch.float64).mT[None, None] for x in (RELEVANCE, READS))
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    example = attend(one, relevance, reads, dot(), Mask(), by_sum)
    return Measured({
        "shapes": float(context.shape != (1, 1, M, V)) + float(weights.shape != (1, 1, M, N)),
        "order": gap(reordered, context),
        "constant": gap(constant, torch.full_like(constant, 7.0)),
        "hull": float(outside.max()),
        "example": abs(float(example) - 4.9),
    })  # fmt: skip


RELEVANCE, READS = [8.0, 4.0, 4.0, 2.0, 2.0], [5.0, 2.0, 8.0, 3.0, 6.0]


def by_sum(scores: Tensor) -> Tensor:
    """Return each score's share of their sum: how the example of A-01 makes weights, in place of a softmax."""
    return scores / scores.sum(-1, keepdim=True)


X = [[1, 0, 1, 0], [0, 2, 0, 2], [1, 1, 1, 1]]
W_QUERY = [[1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 1]]
W_KEY = [[0, 0, 1], [1, 1, 0], [0, 1, 0], [1, 1, 0]]
W_VALUE = [[0, 2, 0], [0, 3, 0], [1, 0, 3], [1, 1, 0]]
BOOK = [[1.93662106, 6.68310531, 1.59506841]]
SCALED = [[1.8638742, 6.31937101, 1.7041887], [1.99910955, 7.8141235, 0.27347206], [1.99255511, 7.47963559, 0.73587726]]


def scaled_dot_product() -> Measured:
    """A-02, scaled dot-product attention; and the book's example by hand, which leaves the scale out.

    Formula: softmax(Q K^T / sqrt(d_k)) V.
    Source: Vaswani 2017, equation 1; Rothman, chapter 2, for the numbers.
    """
    q, k, v = torch.randn(2, 3, 4, 64), torch.randn(2, 3, 6, 64), torch.randn(2, 3, 6, 8)
    lengths = torch.tensor([6, 2])
    seen = (torch.arange(6) < lengths.unsqueeze(1))[:, None, None]
    x = torch.tensor([[X]], dtype=torch.float64)
    queries, keys, values = (x @ torch.tensor([[w]], dtype=torch.float64) for w in (W_QUERY, W_KEY, W_VALUE))
    book, scaled = (torch.tensor([[m]], dtype=torch.float64) for m in (BOOK, SCALED))
    score = scaled_dot(64)
    return Measured({
        "torch": gap(attend(q, k, v, score, Mask()), F.scaled_dot_product_attention(q, k, v)),
        "torch_masked": gap(
            attend(q, k, v, score, Mask(lengths=lengths)), F.scaled_dot_product_attention(q, k, v, seen)
        ),
        "book": gap(attend(queries, keys, values, dot(), Mask())[:, :, :1], book),
        "scaled": gap(attend(queries, keys, values, scaled_dot(3), Mask()), scaled),
    })  # fmt: skip


def scores() -> Measured:
    """A-03, the scores: seven ways to compare a query with a key, and how they are related.

    Formula: dot q.k; scaled q.k / sqrt(K); general q^T W k; additive v^T tanh(W q + U k + b); concat
    v^T tanh(W [q; k]); location (W q)_s; cosine beta cos(q, k).
    Source: Luong 2015; Bahdanau 2014; Graves 2014.
    """
    q, k, _ = triple()
    identity, hidden_layer, joined, sharp = general(1, K), additive(1, 1, K), concat(1, 1, K), cosine(1)
    place = location(1, K, N)
    for score in (identity, hidden_layer, joined, sharp, place):
        score.double()
    identity.load_state_dict({"query_map.weight": torch.eye(K).unsqueeze(0)})
    joined.load_state_dict({name: p for name, p in hidden_layer.state_dict().items() if not name.endswith("bias")})
    return Measured({
        "general": gap(compared(identity, q, k), compared(dot(), q, k)),
        "scaled": gap(compared(scaled_dot(K), q, k) * K**0.5, compared(dot(), q, k)),
        "concat": gap(compared(joined, q, k), compared(hidden_layer, q, k)),  # whose bias begins at 0
        "cosine": gap(compared(sharp, 3 * q, k), compared(sharp, q, k)),
        "location": gap(compared(place, q, torch.randn_like(k)), compared(place, q, k)),
        "plugs": float(sum(not _plugs(name) for name in SCORES)),
    })  # fmt: skip


def compared(score: Score, q: Tensor, k: Tensor) -> Tensor:
    """Return a score of `q (B, H, T, K)` and `k (B, H, S, K)` as they are, its maps included."""
    asks, stands = (torch.arange(x.size(2)).unsqueeze(0) for x in (q, k))
    return score(score.query_map(q, asks), score.key_map(k, stands))


def _plugs(name: str) -> bool:
    rnn = model("recurrent", {"score": name})
    return bool(rnn.logits(hidden(rnn)).isfinite().all())


def soft() -> Measured:
    """A-04, soft attention: every key has a weight above zero, and the gradient reaches all.

    Formula: a_i = exp(e_i) / sum_j exp(e_j).
    Source: Bahdanau 2014; called soft, in contrast to hard, by Xu 2015.
    """
    q, k, v = (x.requires_grad_() for x in triple())
    weights = attention_weights(q, k, scaled_dot(K), Mask())
    error, _ = slopes(lambda: attend(q, k, v, scaled_dot(K), Mask()).square().sum(), (q, k, v))
    return Measured({
        "least": float(weights.detach().min()),
        "sums": gap(weights.sum(-1), torch.ones_like(weights[..., 0])),
        "gradient": error,
        "work": _flops(2 * N) / _flops(N),
    })  # fmt: skip


def _flops(keys: int) -> int:
    q, k, v = (x.requires_grad_() for x in triple(1, keys))
    with FlopCounterMode(display=False) as counter:
        attend(q, k, v, scaled_dot(K), Mask())
    return counter.get_total_flops()
