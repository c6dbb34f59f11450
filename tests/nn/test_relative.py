"""Positions as distances: rotary, ALiBi, T5's classes and Shaw's vectors, against their definitions."""

import math

import pytest
import torch
from torch import Tensor

from onehop.errors import ConfigError
from onehop.nn import Attention, Mask, Projections
from onehop.nn.attention.scores import Score, scaled_dot, unchanged
from onehop.nn.positions import Learned
from onehop.nn.relative import Alibi, BucketBias, ShawRelative, alibi_rates
from onehop.nn.rotary import Rotary, Turned
from onehop.nn.state import KV
from tests.laws.close import assert_same

DOUBLE = torch.float64
CPU = torch.device("cpu")


def at(*positions: int) -> Tensor:
    return torch.tensor([positions])


def product(turn: Rotary, q: Tensor, k: Tensor, i: int, j: int) -> float:
    return float((turn(q, at(i)) * turn(k, at(j))).sum())


# ---------------------------------------------------------------------------------- rotary


@pytest.mark.parametrize("scaling", ["linear", "ntk"])
def test_a_rotated_product_knows_the_distance_and_nothing_else(scaling: str):
    turn, (q, k) = Rotary(8, factor=3.0, scaling=scaling), torch.randn(2, 1, 1, 1, 8, dtype=DOUBLE)
    near = [product(turn, q, k, i, i + 5) for i in (0, 3, 1000)]
    assert near == pytest.approx([near[0]] * 3, abs=1e-9)
    assert product(turn, q, k, 0, 6) != pytest.approx(near[0], abs=1e-3)


def test_rotation_is_that_of_complex_numbers_and_keeps_lengths():
    x, p = torch.randn(2, 3, 4, 8, dtype=DOUBLE), torch.randint(0, 5000, (2, 4))
    pairs = torch.view_as_complex(x.unflatten(-1, (4, 2)).contiguous())
    rates = 10_000.0 ** (-torch.arange(4, dtype=DOUBLE) / 4)
    turned = pairs * torch.polar(torch.ones(2, 1, 4, 4, dtype=DOUBLE), p[:, None, :, None] * rates)
    found = Rotary(8)(x, p)
    assert_same(found, torch.view_as_real(turned).flatten(-2))
    assert_same(found.norm(dim=-1), x.norm(dim=-1))


def test_linear_scaling_divides_positions_and_ntk_slows_the_slowest_pair_alone():
    x = torch.randn(1, 1, 1, 8, dtype=DOUBLE)
    assert_same(Rotary(8, factor=4.0)(x, at(12)), Rotary(8)(x, at(3)))
    ntk = Rotary(8, factor=4.0, scaling="ntk")
    fast, slow = (slice(0, 2), slice(6, 8))
    assert_same(ntk(x, at(12))[..., fast], Rotary(8)(x, at(12))[..., fast])
    assert_same(ntk(x, at(12))[..., slow], Rotary(8)(x, at(3))[..., slow])


def test_a_score_turns_what_its_maps_have_made_and_stays_a_product():
    turn, q, k = Rotary(4), torch.randn(1, 1, 3, 4), torch.randn(1, 1, 3, 4)
    score, where = Score(Turned(unchanged, turn), Turned(unchanged, turn), scale=0.5), torch.arange(3)[None]
    assert score.scale == 0.5
    found = score(score.query_map(q, where), score.key_map(k, where))
    torch.testing.assert_close(found, turn(q, where) @ turn(k, where).mT * 0.5)


def test_far_positions_keep_their_angles_in_float32():
    x = torch.randn(1, 1, 1, 4)
    torch.testing.assert_close(Rotary(4)(x, at(10**6)), Rotary(4)(x.double(), at(10**6)).float())


def test_odd_heads_are_an_error():
    with pytest.raises(ValueError, match="head_dim=5 must be even"):
        Rotary(5)


# ---------------------------------------------------------------------------------- ALiBi


def test_alibi_has_the_published_rates():
    assert alibi_rates(8) == [2.0**-h for h in range(1, 9)]
    assert alibi_rates(16)[:3] == pytest.approx([2**-0.5, 2**-1.0, 2**-1.5])
    assert alibi_rates(12) == [*alibi_rates(8), *alibi_rates(16)[0:8:2]]
    assert len(alibi_rates(1)) == 1


def test_alibi_falls_with_the_distance_in_both_directions():
    bias = Alibi(2)(Mask(), 4, 4, torch.zeros(1, dtype=DOUBLE))
    for h, rate in enumerate(alibi_rates(2)):
        for i in range(4):
            assert bias[0, h, i].tolist() == [-rate * abs(i - j) for j in range(4)]


# ---------------------------------------------------------------------------------- T5


def t5_class(distance: int, causal: bool, buckets: int = 32, far: int = 128) -> int:
    """Return the class as section 2.1 of Raffel 2020 describes it, one distance at a time."""
    if not causal:
        buckets //= 2
    away = max(0, -distance) if causal else abs(distance)
    first = buckets * (distance > 0) if not causal else 0
    half = buckets // 2
    if away < half:
        return first + away
    return first + min(buckets - 1, half + int(math.log(away / half) / math.log(far / half) * (buckets - half) + 1e-12))


@pytest.mark.parametrize("causal", [True, False])
def test_classes_are_single_near_and_logarithmic_far(causal: bool):
    distances = torch.arange(-300, 301)
    found = BucketBias(1, causal=causal).classes(distances).tolist()
    assert found == [t5_class(int(d), causal) for d in distances]


def test_classes_are_those_of_published_checkpoints():
    """Numbers that `transformers` gives for the same distances."""
    both = BucketBias(1, causal=False).classes(torch.tensor([-200, -20, -8, -7, 0, 1, 7, 8, 20, 200]))
    assert both.tolist() == [15, 10, 8, 7, 0, 17, 23, 24, 26, 31]
    back = BucketBias(1, causal=True).classes(torch.tensor([-200, -100, -20, -16, -15, -1, 0, 3]))
    assert back.tolist() == [31, 30, 17, 16, 15, 1, 0, 0]


def test_each_head_learns_a_number_for_each_class():
    layer = BucketBias(2, causal=True)
    torch.nn.init.normal_(layer.weight)
    bias = layer(Mask(causal=True, size=3), 2, 5, torch.zeros(1))
    assert bias.shape == (1, 2, 2, 5)
    assert torch.equal(bias[0, :, 1, 0], layer.weight[4])
    bias.sum().backward()
    assert layer.weight.grad is not None


# ---------------------------------------------------------------------------------- Shaw


@pytest.mark.parametrize("causal", [True, False])
def test_shaw_is_the_papers_sum_over_every_pair(causal: bool):
    T, K, H = 7, 4, 2
    relative = ShawRelative(K, K**-0.5, reach=2).double()
    layer = Attention(
        Projections(8, 8, H, 1, K, bias=False), torch.nn.Identity(), num_heads=H, num_kv_heads=1, score=scaled_dot(K),
        relative=relative,
    ).double()  # fmt: skip
    q, k, v = (torch.randn(2, n, T, K, dtype=DOUBLE) for n in (H, 1, 1))
    found = layer(q, KV(k, v), Mask(causal=causal)).unflatten(-1, (H, K)).transpose(1, 2)
    for b in range(2):
        for h in range(H):
            for i in range(T):  # equations 3 and 4, a pair at a time
                keys = range(i + 1 if causal else T)
                places = [max(-2, min(2, j - i)) + 2 for j in keys]
                scores = [q[b, h, i] @ (k[b, 0, j] + relative.keys[p]) / 2 for j, p in zip(keys, places, strict=True)]
                weights = torch.stack(scores).softmax(0)
                read = torch.stack([v[b, 0, j] + relative.values[p] for j, p in zip(keys, places, strict=True)])
                assert_same(found[b, h, i], weights @ read)


# ---------------------------------------------------------------------------------- learned


def test_learned_positions_are_a_table_and_end_where_it_ends():
    codes = Learned(5, 3)
    assert torch.equal(codes(torch.tensor([[4, 0]])), codes.weight[[4, 0]].unsqueeze(0))
    with pytest.raises(ConfigError, match="position 6 of a text, and the model has learned 5") as caught:
        codes(torch.tensor([[5]]))
    assert caught.value.where == "model.max_positions"
