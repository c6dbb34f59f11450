import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from onehop.nn import Mask, attend
from onehop.nn.attention import dot, scaled_dot
from onehop.nn.attention.attend import attention_weights, explicit


def heads(x: Any) -> Tensor:
    """Return a matrix as one example with one head."""
    return torch.tensor(x, dtype=torch.float64)[None, None]


RELEVANCE, READS = [8.0, 4, 4, 2, 2], [5.0, 2, 8, 3, 6]


def by_sum(scores: Tensor) -> Tensor:
    return scores / scores.sum(-1, keepdim=True)


def test_relevance_decides_each_tokens_share_of_the_context():
    query, values = heads([[1.0]]), heads([[x] for x in READS])
    keys = heads([[x] for x in RELEVANCE])
    weights = attention_weights(query, keys, dot(), Mask(), by_sum)
    torch.testing.assert_close(weights, heads([[0.4, 0.2, 0.2, 0.1, 0.1]]))
    torch.testing.assert_close(attend(query, keys, values, dot(), Mask(), by_sum), heads([[4.9]]))
    soft = attend(query, keys.log(), values, dot(), Mask())  # the softmax of logarithms is the share of the sum
    torch.testing.assert_close(soft, heads([[4.9]]))


X = [[1, 0, 1, 0], [0, 2, 0, 2], [1, 1, 1, 1]]
W_Q = [[1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 1]]
W_K = [[0, 0, 1], [1, 1, 0], [0, 1, 0], [1, 1, 0]]
W_V = [[0, 2, 0], [0, 3, 0], [1, 0, 3], [1, 1, 0]]


@pytest.mark.parametrize("path", [attend, explicit])
def test_the_books_example_by_hand(path: Any):
    q, k, v = (heads(X) @ heads(w) for w in (W_Q, W_K, W_V))
    plain = path(q, k, v, dot(), Mask())[0, 0]
    torch.testing.assert_close(plain[0], heads([1.93662106, 6.68310531, 1.59506841])[0, 0], atol=1e-8, rtol=0)
    scaled = path(q, k, v, scaled_dot(3), Mask())[0, 0]
    expected = heads([
        [1.8638742, 6.31937101, 1.7041887], [1.99910955, 7.8141235, 0.27347206], [1.99255511, 7.47963559, 0.73587726],
    ])[0, 0]  # fmt: skip
    torch.testing.assert_close(scaled, expected, atol=1e-7, rtol=0)


@pytest.mark.parametrize("masked", [False, True])
def test_scaled_dot_product_attention_is_torchs(masked: bool):
    q, k, v = torch.randn(2, 3, 4, 64), torch.randn(2, 3, 6, 64), torch.randn(2, 3, 6, 5)
    lengths = torch.tensor([6, 2])
    mask = (torch.arange(6) < lengths.unsqueeze(1))[:, None, None] if masked else None
    expected = F.scaled_dot_product_attention(q, k, v, mask)
    for path in (attend, explicit):
        found = path(q, k, v, scaled_dot(64), Mask(lengths=lengths) if masked else Mask())
        assert found.shape == (2, 3, 4, 5)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_the_order_of_keys_and_values_does_not_matter():
    q, k, v = (torch.randn(1, 2, n, 4, dtype=torch.float64) for n in (3, 6, 6))
    order = torch.randperm(6)
    before, after = (attend(q, *kv, scaled_dot(4), Mask()) for kv in ((k, v), (k[:, :, order], v[:, :, order])))
    torch.testing.assert_close(after, before)


def test_the_context_lies_among_the_values():
    q, k, v = (torch.randn(2, 2, n, 4, dtype=torch.float64) for n in (3, 6, 6))
    context = attend(q, k, v, scaled_dot(4), Mask())
    assert (context <= v.amax(2, keepdim=True) + 1e-12).all()
    assert (context >= v.amin(2, keepdim=True) - 1e-12).all()
    directions = torch.randn(4, 50, dtype=torch.float64)  # in any direction: the convex hull
    assert ((context @ directions).amax(2) <= (v @ directions).amax(2) + 1e-12).all()
    constant = torch.full_like(v, 7.0)
    torch.testing.assert_close(attend(q, k, constant, scaled_dot(4), Mask()), torch.full_like(context, 7.0))


@pytest.mark.parametrize("width", [16, 64])
def test_the_scale_keeps_the_variance_of_scores_at_one(width: int):
    q, k = torch.randn(100_000, 1, 1, width), torch.randn(100_000, 1, 1, width)
    assert float(dot()(q, k).var()) == pytest.approx(width, rel=0.05)
    assert float(scaled_dot(width)(q, k).var()) == pytest.approx(1, rel=0.05)


def test_a_query_that_equals_one_of_orthogonal_keys_looks_its_value_up():
    keys, values = torch.eye(6)[None, None], torch.randn(1, 1, 6, 3)
    found = attend(keys[:, :, 2:3] * 60, keys, values, dot(), Mask())
    torch.testing.assert_close(found, values[:, :, 2:3], atol=1e-6, rtol=0)


def test_query_head_i_reads_group_i_times_groups_over_heads():
    q, k = torch.randn(1, 6, 2, 4), torch.randn(1, 3, 5, 4)
    values = torch.arange(3.0).view(1, 3, 1, 1).expand(1, 3, 5, 1)
    for path in (attend, explicit):
        found = path(q, k, values, scaled_dot(4), Mask())[0, :, 0, 0]
        torch.testing.assert_close(found, torch.tensor([0.0, 0, 1, 1, 2, 2]))


@pytest.mark.parametrize("path", [attend, explicit])
@pytest.mark.parametrize("mask", [Mask(), Mask(lengths=torch.tensor([9, 20])), Mask(causal=True, size=8)])
def test_dropout_falls_on_the_weights_and_scales_the_rest(path: Any, mask: Mask):
    q, k = torch.randn(2, 4, 12, 8), torch.randn(2, 2, 20, 8)
    values = torch.eye(20).expand(2, 2, 20, 20)  # the context is then the weights themselves
    weights = explicit(q, k, values, scaled_dot(8), mask)
    dropped = path(q, k, values, scaled_dot(8), mask, dropout=0.25)
    kept = dropped != 0
    torch.testing.assert_close(dropped, torch.where(kept, weights / 0.75, 0))
    share = float((kept & (weights > 0)).sum() / (weights > 0).sum())
    assert share == pytest.approx(0.75, abs=0.05)


def test_large_scores_do_not_overflow():
    q = torch.full((1, 1, 2, 4), 1e4)
    k = torch.randn(1, 1, 3, 4) * 1e4
    for path in (attend, explicit):
        assert path(q, k, k, dot(), Mask(lengths=torch.tensor([2]))).isfinite().all()


def test_without_the_scale_the_weights_of_wide_heads_collapse():
    def entropy(width: int, score: Any) -> float:
        q, k = torch.randn(1, 1, 500, width), torch.randn(1, 1, 20, width)
        weights = attention_weights(q, k, score, Mask())
        return float(-(weights * weights.clamp_min(1e-30).log()).sum(-1).mean())

    assert entropy(256, dot()) < 0.3 < 0.8 * math.log(20) < entropy(256, scaled_dot(256))
    assert entropy(256, scaled_dot(256)) == pytest.approx(entropy(16, scaled_dot(16)), rel=0.1)
