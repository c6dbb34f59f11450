import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from onehop.decode import min_p, sampling_filters, temperature, top_k, top_p, without_repeats

repeatable = settings(deadline=None, derandomize=True)
seeds, sizes = st.integers(0, 10**6), st.integers(1, 12)


def logits(seed: int, size: int, rows: int = 3) -> Tensor:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(seed)) * 3


def probabilities(*values: float) -> Tensor:
    return torch.tensor([values]).log()


def kept(found: Tensor) -> Tensor:
    return found != -math.inf


@repeatable
@given(seeds, sizes, st.integers(1, 15))
def test_top_k_keeps_exactly_the_k_most_probable(seed: int, size: int, k: int):
    x = logits(seed, size)
    expected = x.argsort(-1, descending=True).argsort(-1) < k
    assert torch.equal(kept(top_k(k)(x)), expected)
    assert torch.equal(top_k(k)(x)[expected], x[expected])


def test_top_k_keeps_k_of_equal_tokens():
    assert int(kept(top_k(2)(torch.zeros(1, 5))).sum()) == 2


@repeatable
@given(seeds, sizes, st.floats(0.01, 1))
def test_top_p_keeps_the_fewest_tokens_that_have_the_mass(seed: int, size: int, mass: float):
    x = logits(seed, size)
    for row, keep in zip(x.double().softmax(-1), kept(top_p(mass)(x)), strict=True):
        chosen = row[keep].sort().values
        assert chosen.min() >= row[~keep].max() if bool((~keep).any()) else True
        assert chosen.sum() >= mass - 1e-5
        assert chosen[1:].sum() < mass + 1e-5  # one fewer would not do


@repeatable
@given(seeds, sizes, st.floats(0.001, 1))
def test_min_p_keeps_what_has_its_share_of_the_largest(seed: int, size: int, share: float):
    x = logits(seed, size)
    p = x.double().softmax(-1)
    ratio = p / p.amax(-1, keepdim=True)
    unclear = (ratio - share).abs() < 1e-5
    assert bool(((ratio >= share) == kept(min_p(share)(x)))[~unclear].all())


@repeatable
@given(seeds, sizes, st.floats(0.01, 50), st.integers(0, 4), st.floats(1e-6, 1), st.floats(0, 1))
def test_all_filters_together_keep_the_most_probable_token(
    seed: int, size: int, heat: float, k: int, p: float, least: float
):
    x = logits(seed, size)
    x[:, 0] = -math.inf  # what the rules forbid stays out
    best = x.argmax(-1, keepdim=True)
    found = x
    for keep in sampling_filters(heat, k, p, least):
        found = keep(found)
    if size > 1:
        assert bool(kept(found.gather(1, best)).all())
        assert not bool(kept(found[:, 0]).any())
        assert not bool(found.isnan().any())


def test_each_filter_sees_what_those_before_it_left():
    x = probabilities(0.4, 0.3, 0.2, 0.1)
    one, both = sampling_filters(top_p=0.72), sampling_filters(top_k=2, top_p=0.55)
    assert kept(one[0](x)).sum() == 3
    assert kept(both[1](both[0](x))).sum() == 1  # of two tokens the first has 4/7 of the probability
    hot, cold = (sampling_filters(value, min_p=0.5) for value in (2.0, 0.5))
    assert [int(kept(last(first(x))).sum()) for first, last in (hot, cold)] == [4, 2]


def test_temperature_changes_sharpness_and_no_order():
    x = probabilities(0.6, 0.3, 0.1)
    sharp, flat = temperature(0.5)(x).softmax(-1), temperature(2.0)(x).softmax(-1)
    torch.testing.assert_close(sharp, torch.tensor([[0.36, 0.09, 0.01]]) / 0.46)
    assert float(flat.max()) < 0.6 < float(sharp.max())
    assert torch.equal(sharp.argsort(), flat.argsort())


def test_neutral_settings_are_no_filters():
    assert sampling_filters() == ()


def repeating(tokens: list[int], size: int) -> set[int]:
    """Return the tokens that would complete an n-gram that is there."""
    grams = {tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)}
    return {word for word in range(5) if (*tokens[len(tokens) - size + 1 :], word)[-size:] in grams}


@repeatable
@given(st.lists(st.lists(st.integers(0, 4), max_size=12), min_size=1, max_size=4), st.integers(1, 5))
def test_exactly_what_would_repeat_an_n_gram_is_left_out(rows: list[list[int]], size: int):
    width = max(map(len, rows)) + 2
    tokens = torch.tensor([row + [3] * (width - len(row)) for row in rows])  # what stands behind the end is no text
    x = logits(1, 5, len(rows))
    before = x.clone()
    found = without_repeats(x, tokens, torch.tensor([len(row) for row in rows]), size)
    for row, mask, was in zip(rows, kept(found), kept(before), strict=True):
        banned = set() if len(row) < size else repeating(row, size)
        assert {word for word in range(5) if was[word] and not mask[word]} == banned
    assert torch.equal(x, before)
