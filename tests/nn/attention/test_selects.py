"""Weights from scores, against their definitions."""

import pytest
import torch

from onehop.errors import ConfigError
from onehop.nn.attention.selects import (
    SELECTS,
    Gumbel,
    Hard,
    StraightThrough,
    build_select,
    choices,
    entmax,
    one_best,
    soft,
    sparsemax,
)
from tests.laws.close import assert_same


def bisected(z: torch.Tensor, power: float) -> torch.Tensor:
    """Return `max(0, z - threshold) ** power` that sums to 1, by halving an interval."""
    low, high = z.max() - 1, z.max()
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if ((z - middle).clamp(min=0) ** power).sum() > 1 else (low, middle)
    return (z - low).clamp(min=0) ** power


@pytest.mark.parametrize("seed", range(5))
def test_sparsemax_and_entmax_follow_their_definitions(seed: int):
    z = 3 * torch.randn(9, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert_same(sparsemax(z), bisected(z, 1.0))
    assert_same(entmax(z), bisected(z / 2, 2.0))


@pytest.mark.parametrize("select", [soft, sparsemax, entmax])
def test_gradients_are_those_of_finite_differences(select):
    z = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(select, z)


@pytest.mark.parametrize("name", SELECTS)
@pytest.mark.parametrize("training", [True, False])
def test_weights_sum_to_one_and_nothing_falls_on_what_may_not_be_read(name: str, training: bool):
    select = build_select(name)
    if isinstance(select, torch.nn.Module):
        select.train(training)
    z = torch.tensor([[5.0, torch.finfo().min, -300.0, 4.9], [torch.finfo().min] * 4], requires_grad=True)
    weights = select(z)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2))
    assert weights[0, 1] == 0
    if weights.requires_grad:
        weights.square().sum().backward()
        assert z.grad is not None
        assert z.grad.isfinite().all()


def test_equal_scores_of_sparse_selects_have_finite_gradients():
    for select in (sparsemax, entmax):
        z = torch.zeros(1, 1, requires_grad=True)
        select(z).sum().backward()
        assert z.grad is not None
        assert z.grad.isfinite().all()


@pytest.mark.parametrize("kind", [StraightThrough, Gumbel])
def test_hard_weights_are_one_hot_and_the_best_outside_of_training(kind):
    select, z = kind(), torch.randn(50, 7, requires_grad=True)
    weights = select(z)
    assert bool(((weights - weights.round()).abs() < 1e-6).all())
    assert select(z).requires_grad
    select.eval()
    assert torch.equal(select(z).argmax(-1), z.argmax(-1))
    assert not select(z).requires_grad


@pytest.mark.parametrize("select", [Gumbel(), Hard(expected=0.0)])
def test_gumbel_and_hard_draw_by_the_softmax(select):
    """A chi-squared test at 1 in 10,000 for 4 degrees of freedom."""
    torch.manual_seed(0)
    z, draws = torch.tensor([0.0, 1.0, -1.0, 0.5, 2.0]), 20_000
    counts = select(z.expand(draws, 5)).detach().round().sum(0)
    expected = draws * z.softmax(-1)
    assert ((counts - expected).square() / expected).sum() < 23.5


def test_hard_attention_reads_exactly_one_key_in_training_and_the_best_outside_of_it():
    select, z = Hard(expected=0.0), torch.randn(50, 2, 3, 7, requires_grad=True)
    weights = select(z)
    assert set(weights.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(weights.sum(-1), torch.ones(50, 2, 3))
    assert not torch.autograd.grad(weights.square().sum(), z)[0].any()
    assert torch.equal(select.eval()(z).argmax(-1), z.argmax(-1))


def test_so_many_rows_of_hard_attention_read_the_expectation():
    torch.manual_seed(0)
    z = torch.randn(1000, 1, 2, 5, dtype=torch.float64)
    weights = Hard(expected=0.3)(z)
    soft_rows = torch.isclose(weights, z.softmax(-1)).flatten(1).all(1)
    one_hot = ((weights == 0) | (weights == 1)).flatten(1).all(1)
    assert bool((soft_rows ^ one_hot).all())
    assert float(soft_rows.float().mean()) == pytest.approx(0.3, abs=0.05)


def test_a_row_of_hard_attention_reads_the_expectation_at_every_step_or_at_none():
    select, steps = Hard(expected=0.5), [torch.randn(40, 1, 1, 7) for _ in range(6)]
    with choices():
        averaged = torch.stack([(select(z).amax(-1) < 1).flatten() for z in steps])
    assert bool((averaged == averaged[0]).all())
    assert 5 < int(averaged[0].sum()) < 35
    alone = torch.stack([(select(z).amax(-1) < 1).flatten() for z in steps])  # each reading by itself
    assert not bool((alone == alone[0]).all())
    with choices():
        assert select(torch.randn(3, 1, 1, 7)).shape == select(torch.randn(5, 1, 1, 7))[:3].shape


@pytest.mark.parametrize("name", SELECTS)
@pytest.mark.parametrize("size", [5, 50, 1000])
def test_weights_of_narrow_scores_are_those_of_a_distribution(name: str, size: int):
    torch.manual_seed(0)
    z = torch.randn(20, 1, 3, size, dtype=torch.bfloat16)
    select = build_select(name, 0.0)
    sums = select(z).float().sum(-1)
    assert float((sums - 1).abs().max()) < (1e-5 if name != "soft" else 2e-2)  # soft's softmax is autocast to float32
    if name in ("straight_through", "gumbel", "hard"):
        weights = select(z.requires_grad_())
        assert set(weights.unique().tolist()) == {0.0, 1.0}


def test_unknown_selects_name_the_known():
    with pytest.raises(ConfigError, match="unknown select 'hardest'") as caught:
        build_select("hardest")
    assert "sparsemax" in caught.value.remedy


@pytest.mark.parametrize("name", SELECTS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 0), (0, 3, 4)])
def test_where_there_is_nothing_to_read_there_are_no_weights(name: str, training: bool, shape: tuple[int, ...]):
    select = build_select(name)
    if isinstance(select, torch.nn.Module):
        select.train(training)
    assert select(torch.zeros(shape)).shape == shape


def test_of_keys_that_rounding_alone_tells_apart_the_first_is_best():
    scores = torch.tensor([[1.0, 2.0, 2.0 + 2e-6], [1e6, 1e6 + 1, 0.0], [0.0, 1e-3, 0.0], [-5.0, -4.0, -4.1]])
    assert one_best(scores).argmax(-1).tolist() == [1, 0, 1, 1]
    least = torch.full((1, 3), torch.finfo().min)
    assert one_best(least).tolist() == [[1.0, 0.0, 0.0]]
