"""Local attention (MECHANISMS A-06, A-07)."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from onehop.errors import ConfigError
from onehop.nn import Mask
from onehop.nn.attention import Attention, Bare, Projections, record_attention, scaled_dot
from onehop.nn.attention.attend import attention_weights
from onehop.nn.attention.near import near
from onehop.nn.attention.regions import LocalMonotonic, LocalPredictive, build_region
from onehop.nn.attention.scores import SCORES, build_score
from onehop.nn.attention.selects import sparsemax
from tests.laws.close import assert_same

B, T, S, D = 2, 6, 9, 4
POSITIONS = torch.arange(T).expand(B, T)


def weights(mask: Mask) -> Tensor:
    torch.manual_seed(0)
    q, k = (torch.randn(B, 1, n, D, dtype=torch.float64) for n in (T, S))
    return attention_weights(q, k, scaled_dot(D), mask)


def narrowed(name: str, window: int, lengths: Tensor | None = None) -> Tensor:
    torch.manual_seed(1)
    region = build_region(name, D, window)
    assert region is not None
    region = region.double() if isinstance(region, nn.Module) else region
    x = torch.randn(B, T, D, dtype=torch.float64)
    return weights(region(Mask(lengths=lengths), x, POSITIONS, S))


def test_local_m_reads_its_window_and_nothing_else():
    found = narrowed("local-m", 2, torch.tensor([9, 4]))
    for b, length in enumerate((9, 4)):
        for t in range(T):
            centre = min(t, length - 1)
            read = [s for s in range(S) if abs(s - centre) <= 2 and s < length]
            assert found[b, 0, t].nonzero().flatten().tolist() == read
    assert_same(found.sum(-1), torch.ones(B, 1, T, dtype=torch.float64))


@pytest.mark.parametrize("lengths", [None, torch.tensor([9, 4])])
def test_a_window_as_wide_as_the_source_is_everywhere(lengths: Tensor | None):
    assert torch.equal(narrowed("local-m", S, lengths), weights(Mask(lengths=lengths)))


def test_the_gaussian_of_local_p_is_the_papers():
    away = torch.tensor([[0.0, 5.0, 10.0]])
    prior = Mask().around(away, 10, away).prior(1)
    assert prior is not None
    assert_same(prior.flatten(), torch.tensor([1.0, 0.606531, 0.135335]), 1e-6)


def test_local_p_multiplies_by_its_gaussian_and_does_not_normalise_again():
    x, lengths = torch.randn(B, T, D, dtype=torch.float64), torch.tensor([9, 4])
    region = LocalPredictive(D, 3).double()
    centres = region.centres(x, lengths.unsqueeze(1))
    assert bool(((centres > 0) & (centres < lengths.unsqueeze(1))).all())
    away = torch.arange(S) - centres.unsqueeze(-1)
    inside = (away.abs() <= 3) & (torch.arange(S) < lengths[:, None, None])
    plain = attention_weights(
        *two(), scaled_dot(D), Mask(bias=torch.zeros(()).masked_fill(~inside, -1e30).unsqueeze(1))
    )
    expected = plain * (-away.square() / (2 * 1.5**2)).exp().unsqueeze(1) * inside.unsqueeze(1)
    found = attention_weights(*two(), scaled_dot(D), region(Mask(lengths=lengths), x, POSITIONS, S))
    assert_same(found, expected)
    assert found.sum(-1).max() < 1


def two() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    q, k = (torch.randn(B, 1, n, D, dtype=torch.float64) for n in (T, S))
    return q, k


def test_the_place_learns_from_the_loss_also_where_it_is_rounded():
    for name in ("local-p", "local-p-rounded"):
        region = build_region(name, D, 3)
        assert isinstance(region, LocalPredictive)
        region = region.double()
        x = torch.randn(B, T, D, dtype=torch.float64)
        weights(region(Mask(), x, POSITIONS, S)).square().sum().backward()
        assert region.place.weight.grad is not None
        assert region.place.weight.grad.abs().min() > 0


def test_a_rounded_place_is_a_whole_one_for_the_gaussian_too():
    region = build_region("local-p-rounded", D, 3)
    assert isinstance(region, LocalPredictive)
    region, x = region.double(), torch.randn(B, T, D, dtype=torch.float64)
    prior = region(Mask(), x, POSITIONS, S).prior(S)
    assert prior is not None
    whole = region.centres(x, torch.full((B, T), S)).round().clamp(max=S - 1)
    assert_same(prior[:, 0], (-(torch.arange(S) - whole.unsqueeze(-1)).square() / (2 * 1.5**2)).exp())
    assert bool((prior.amax(-1) == 1).all())


@pytest.mark.parametrize("region", [LocalMonotonic, partial(LocalPredictive, D)])
def test_a_window_holds_a_place(region: Any):
    with pytest.raises(ConfigError, match="a window of 0"):
        region(0)


def test_padding_does_not_move_the_place():
    region = LocalPredictive(D, 3).double()
    module = Attention(
        Bare(), nn.Identity(), num_heads=1, num_kv_heads=1, score=scaled_dot(D), region=region
    )  # fmt: skip
    x, memory = (torch.randn(1, n, D, dtype=torch.float64) for n in (T, 4))
    padded = torch.cat([memory, torch.randn(1, 3, D, dtype=torch.float64)], 1)
    alone = module.read(x, module.project(memory, POSITIONS[:1, :4]), Mask(), POSITIONS[:1])
    where = torch.arange(7).unsqueeze(0)
    beside = module.read(x, module.project(padded, where), Mask(lengths=torch.tensor([4])), POSITIONS[:1])
    assert_same(beside, alone)


def test_packed_sources_have_windows_of_their_own():
    segments = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 1]])
    asks = torch.tensor([[0, 0, 0, 1, 1, 1]])
    where = torch.tensor([[0, 1, 2, 0, 1, 2]])
    q, k = (x[:1] for x in two())
    region = build_region("local-m", D, 1)
    assert region is not None
    found = attention_weights(q, k, scaled_dot(D), region(Mask(segments=(asks, segments)), q[:, 0], where, S))
    first = attention_weights(q[:, :, :3], k[:, :, :4], scaled_dot(D), region(Mask(), q[:, 0, :3], where[:, :3], 4))
    second = attention_weights(q[:, :, 3:], k[:, :, 4:], scaled_dot(D), region(Mask(), q[:, 0, 3:], where[:, 3:], 5))
    assert_same(found[:, :, :3, :4], first)
    assert_same(found[:, :, 3:, 4:], second)


def test_a_window_of_nothing_and_an_unknown_region_are_refused():
    with pytest.raises(ConfigError, match="a window of 0 positions"):
        build_region("local-p", D, 0)
    with pytest.raises(ConfigError, match="unknown region 'local'"):
        build_region("local", D, 3)


@pytest.mark.parametrize("name", ["local-m", "local-p", "local-p-rounded"])
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(("heads", "groups"), [(1, 1), (4, 2)])
def test_a_step_reads_the_same_whether_it_compares_all_keys_or_those_of_its_window(
    name: str, score: str, heads: int, groups: int
):
    torch.manual_seed(2)
    size, dim = 60, 8
    module = Attention(
        Bare() if heads == 1 else Projections(dim, dim, heads, groups, dim // heads, bias=False), nn.Identity(),
        num_heads=heads, num_kv_heads=groups, score=build_score(score, dim // heads, heads, groups, 100),
        region=build_region(name, dim, 3), name="read",
    ).double().eval()  # fmt: skip
    memory, where = torch.randn(2, size, dim, dtype=torch.float64), torch.arange(size).expand(2, size)
    for lengths in (None, torch.tensor([60, 2])):
        for beams, step in ((1, 0), (3, 1), (3, 40), (1, 70)):
            x = torch.randn(2 * beams, 1, dim, dtype=torch.float64)
            at = torch.full((2 * beams, 1), step)
            with torch.no_grad():
                kv = module.project(memory, where)
                assert near(module.query(x[:2], at[:2]), kv, Mask().around(at[:2].clamp(max=59), 3))
                cut = module.read(x, kv, Mask(lengths=lengths), at)
                with record_attention("read") as record:
                    whole = module.read(x, kv, Mask(lengths=lengths), at)
            assert record["read"].size(-1) == size
            assert_same(cut, whole)


def test_a_long_source_costs_a_step_of_a_local_region_no_more():
    module = Attention(
        Bare(), nn.Identity(), num_heads=1, num_kv_heads=1, score=scaled_dot(D), region=LocalMonotonic(2),
        select=sparsemax,
    )  # fmt: skip
    compared: list[int] = []
    module.score.register_forward_hook(lambda _, given, scores: compared.append(scores.size(-1)))
    for size in (20, 4_000):
        with torch.no_grad():
            kv = module.project(torch.randn(1, size, D), torch.arange(size).unsqueeze(0))
            module.read(torch.randn(1, 1, D), kv, Mask(), torch.tensor([[9]]))
    assert compared == [5, 5]
