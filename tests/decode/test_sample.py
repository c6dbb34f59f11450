import math
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from onehop.decode import Hypothesis, Rules, Sampler, draw_seed, penalty, sample, sampling_filters
from onehop.decode.sample import invert
from onehop.errors import ConfigError, ModelError
from onehop.nn import State

END, BEGIN, NEVER = 0, 1, 2
RULES = Rules(1, penalty("none", 0.0), BEGIN, END, (BEGIN, NEVER))


@dataclass(frozen=True)
class Seen(State):
    """A state that knows which row it is of."""

    row: Tensor


def run(follows: list[list[float]], rules: Rules, limit: int, draws: int, **filters: float) -> list[Hypothesis]:
    """Draw from a chain of which `follows[a][b]` is the probability of token b behind token a."""
    table = torch.tensor(follows).log()
    seeds = [[draw_seed(1, draw) for draw in range(draws)]]
    chosen = sampling_filters(**filters)  # type: ignore[arg-type]
    return sample(lambda tokens, state: (table[tokens], state), State(1), rules, [limit], seeds, chosen)[0]


DICE = [[1.0, 0, 0, 0, 0, 0], [0, 0.1, 0.2, 0.35, 0.21, 0.14]] + [[1.0, 0, 0, 0, 0, 0]] * 4


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [0.5, 0.3, 0.2]),
        ({"temperature": 0.5}, [0.25 / 0.38, 0.09 / 0.38, 0.04 / 0.38]),
        ({"top_k": 2}, [0.625, 0.375, 0]),
        ({"top_p": 0.75}, [0.625, 0.375, 0]),
        ({"min_p": 0.5}, [0.625, 0.375, 0]),
        ({"top_k": 1}, [1, 0, 0]),
    ],
    ids=str,
)
def test_tokens_are_drawn_as_often_as_the_filtered_distribution_says(filters, expected):
    """Chi-squared at two degrees of freedom; 13.8 is exceeded once in a thousand."""
    draws = 4000
    found = run(DICE, RULES, 5, draws, **filters)
    counts = [sum(h.tokens == [token] for h in found) for token in (3, 4, 5)]
    assert sum(counts) == draws
    assert all(count == 0 for count, p in zip(counts, expected, strict=True) if p == 0)
    pairs = [(count, p * draws) for count, p in zip(counts, expected, strict=True) if p]
    assert sum((count - mean) ** 2 / mean for count, mean in pairs) < 13.8


def test_the_log_prob_is_the_models_own_whatever_shapes_the_draw():
    share = {3: 0.35, 4: 0.21, 5: 0.14}
    for filters in ({}, {"temperature": 0.3, "top_k": 2, "top_p": 0.9, "min_p": 0.1}):
        for h in run(DICE, replace(RULES, penalty=penalty("average", 0.0)), 5, 20, **filters):
            assert h.log_prob == pytest.approx(math.log(share[h.tokens[0]]), rel=1e-5)
            assert h.score == h.log_prob / 2


LOOP = [[1.0, 0, 0, 0, 0], [0, 0, 0, 0.5, 0.5], [1, 0, 0, 0, 0], [0.2, 0, 0, 0.4, 0.4], [0.2, 0, 0, 0.4, 0.4]]


def test_limits_hold_and_what_they_ended_says_so():
    found = run(LOOP, RULES, 3, 200)
    assert {(len(h.tokens), h.complete) for h in found} == {(1, True), (2, True), (3, False)}
    assert all(len(h.tokens) >= 4 for h in run(LOOP, replace(RULES, min_length=4), 9, 200))


def test_no_n_gram_is_drawn_twice():
    found = run(LOOP, replace(RULES, min_length=4, no_repeat_ngram=2), 9, 100)
    for h in found:
        grams = list(pairwise(h.tokens))
        assert len(set(grams)) == len(grams)
    assert {len(h.tokens) for h in found} == {4, 5}  # two tokens have four pairs


def test_a_prefix_is_forced_and_its_probability_counts():
    table = torch.tensor(LOOP).log()
    prefixes, limits = [[3, 4, 4], [], [4]], [9, 9, 9]
    seeds = [[draw_seed(place, n) for n in range(10)] for place in range(3)]
    found = sample(lambda tokens, s: (table[tokens], s), State(1), RULES, limits, seeds, (), "cpu", prefixes)
    for prefix, drawn in zip(prefixes, found, strict=True):
        assert len({tuple(h.tokens) for h in drawn}) > 3
        for h in drawn:
            assert h.tokens[: len(prefix)] == prefix
            path = [BEGIN, *h.tokens] + [END] * h.complete
            steps = [LOOP[a][b] for a, b in pairwise(path)]
            assert h.log_prob == pytest.approx(sum(map(math.log, steps)), rel=1e-4)


def test_what_no_rule_allows_is_not_drawn():
    only = [[1.0, 0, 0, 0], [0, 0.5, 0.5, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    assert run(only, RULES, 4, 3) == []


def test_more_draws_are_the_same_draws_and_more():
    assert run(LOOP, RULES, 9, 30)[:10] == run(LOOP, RULES, 9, 10)


def test_rows_that_are_finished_leave_the_state():
    table, widths = torch.tensor(LOOP).log(), []

    def step(tokens: Tensor, state: Seen) -> tuple[Tensor, Seen]:
        widths.append(len(tokens))
        assert len(state.row) == len(tokens)
        return table[tokens], state

    seeds = [[draw_seed(example, n) for n in range(8)] for example in range(4)]
    sample(step, Seen(1, torch.arange(4)), RULES, [12] * 4, seeds)
    assert widths[0] == 32
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 8


def test_draws_admitted_while_others_run_are_those_of_a_batch():
    table, limits, seeds = torch.tensor(LOOP).log(), [9, 4, 7, 12], [draw_seed(n) for n in range(4)]

    def drawn(groups: list[list[int]]) -> list[Hypothesis]:
        machine = Sampler(RULES)
        for group in groups:
            machine.admit([limits[i] for i in group], [seeds[i] for i in group])
            machine.advance(table[machine.last])
        while machine.ids:
            machine.advance(table[machine.last])
        return [machine.finished[i] for i in range(4)]

    assert drawn([[0, 1, 2, 3]]) == drawn([[0], [1, 2], [3]])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_not_numbers_are_an_error_of_the_model(bad: float):
    with pytest.raises(ModelError, match="not numbers") as caught:
        Sampler(RULES).advance(torch.tensor([[0.0, 0, 0, bad]]))
    assert caught.value.remedy


def test_a_token_without_probability_is_never_returned_however_the_chance_falls():
    p = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]])
    found = [int(invert(p, torch.tensor([[chance]]))) for chance in (0.0, 0.4999, 0.5, 1 - 2**-24, 1.0)]
    assert found == [1, 1, 3, 3, 3]


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}, {"min_p": 2.0}])
def test_filters_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="out of range") as caught:
        sampling_filters(**wrong)
    assert caught.value.remedy


def test_nothing_to_draw_draws_nothing():
    assert sample(lambda tokens, state: (torch.zeros(0, 5), state), State(1), RULES, [], []) == []
