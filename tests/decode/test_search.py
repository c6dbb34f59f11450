import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from onehop.decode import BeamSearch, Hypothesis, Rules, penalty, search, stepper
from onehop.errors import ModelError
from onehop.models import build
from onehop.nn import Source, State

END, BEGIN, NEVER = 0, 1, 2
RULES = Rules(2, penalty("none", 0.0), BEGIN, END, (BEGIN, NEVER))


@dataclass(frozen=True)
class Nothing(State):
    """A state without memory."""


def run(follows: list[list[float]], rules: Rules, limits: list[int]) -> list[list[Hypothesis]]:
    """Search a chain of which `follows[a][b]` is the logit of token b behind token a."""
    table = torch.tensor(follows)
    return search(lambda tokens, state: (table[tokens], state), Nothing(1), rules, limits)


def probabilities(*rows: list[float]) -> list[list[float]]:
    return [[math.log(p) if p else -math.inf for p in row] for row in rows]


FORK = probabilities(  # "3" is likelier at first, but "4" with its sure end is likelier in all
    [1, 0, 0, 0, 0], [0, 0, 0, 0.6, 0.4], [1, 0, 0, 0, 0], [0.3, 0, 0, 0.3, 0.4], [1, 0, 0, 0, 0]
)


def test_a_beam_finds_what_greedy_search_misses():
    [greedy], [beam] = run(FORK, replace(RULES, beam_size=1), [5]), run(FORK, RULES, [5])
    assert greedy[0].tokens == [3, 4]
    assert greedy[0].log_prob == pytest.approx(math.log(0.6 * 0.4))
    assert beam[0].tokens == [4]
    assert beam[0].log_prob == pytest.approx(math.log(0.4))


def test_a_hypothesis_cut_at_its_limit_says_so():
    loop = probabilities([1, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0.01, 0, 0, 0.99])
    [[found]] = run(loop, replace(RULES, beam_size=1), [3])
    assert (found.tokens, found.complete) == ([3, 3, 3], False)
    assert found.log_prob == found.score == pytest.approx(2 * math.log(0.99), rel=1e-4)
    [ended] = run(FORK, replace(RULES, beam_size=1), [3])
    assert ended[0].complete


def test_forbidden_tokens_are_never_chosen_and_keep_their_share():
    table = probabilities([1, 0, 0, 0], [0, 0.3, 0.5, 0.2], [1, 0, 0, 0], [0.1, 0.2, 0.6, 0.1])
    [found] = run(table, RULES, [4])
    assert all(set(h.tokens) <= {3} for h in found)
    assert found[0].tokens == [3]
    assert found[0].log_prob == pytest.approx(math.log(0.2 * 0.1))


def test_no_end_comes_before_the_least_length():
    table = probabilities([1, 0, 0, 0], [0.9, 0, 0, 0.1], [1, 0, 0, 0], [0.9, 0, 0, 0.1])
    assert run(table, RULES, [9])[0][0].tokens == []
    assert run(table, replace(RULES, min_length=2), [9])[0][0].tokens == [3, 3]


def test_the_bound_goes_on_where_counting_stops_too_soon():
    average = replace(RULES, penalty=penalty("average", 0.0), beam_size=1)
    table = probabilities([1, 0, 0, 0, 0], [0.51, 0, 0, 0.49, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0])
    wide = replace(average, beam_size=2)
    assert run(table, replace(average, stop="count"), [6])[0][0].tokens == []
    [best, second] = run(table, replace(wide, stop="bound"), [6])[0]
    assert (best.tokens, second.tokens) == ([3, 4], [])
    assert best.score == pytest.approx(math.log(0.49) / 3)


def test_the_bound_waits_for_what_a_live_hypothesis_may_still_come_to():
    table = probabilities([1, 0, 0, 0, 0], [0.4, 0, 0, 0.35, 0.25], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1])
    average = replace(RULES, penalty=penalty("average", 0.0))
    assert run(table, replace(average, stop="count"), [8])[0][0].tokens == [3]
    assert run(table, replace(average, stop="bound"), [8])[0][0].tokens == [4] * 8


def test_nothing_to_search_finds_nothing():
    assert run(FORK, RULES, []) == []


def test_results_come_in_the_order_of_the_examples_whichever_ends_first():
    found = run(FORK, replace(RULES, beam_size=1), [1, 5, 2])
    assert [h[0].tokens for h in found] == [[3], [3, 4], [3, 4]]
    assert [h[0].complete for h in found] == [False, True, False]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("beams", [1, 3])
def test_scores_that_are_not_numbers_are_an_error_of_the_model(bad: float, beams: int):
    table = torch.zeros(5, 5)
    table[3:, 4] = bad
    with pytest.raises(ModelError, match="not numbers") as caught:
        run(table.tolist(), replace(RULES, beam_size=beams, min_length=9), [9])
    assert caught.value.remedy


def test_a_damaged_model_is_an_error_and_not_a_translation():
    model = build("transformer", {"dim": 16, "num_heads": 4, "ffn_dim": 24}, 40).eval()
    with torch.no_grad():
        model.decoder[2].feedforward.up.weight[3, 4] = math.nan
        state = model.start(model.encode(Source(torch.randint(3, 40, (2, 5)))))
    with pytest.raises(ModelError, match="NaN"):
        search(stepper(model), state, RULES, [5, 5])


def test_the_machine_tells_which_rows_to_continue_and_which_examples_to_keep():
    machine, table = BeamSearch(RULES), torch.tensor(FORK)
    assert machine.admit([1, 5]) == [0, 1]
    assert machine.last.tolist() == [BEGIN] * 4
    rows, keep = machine.advance(table[machine.last])
    assert rows.tolist() == [0, 0, 2, 2]  # both beams of each continue its only live one
    assert keep is not None
    assert keep.tolist() == [1]
    assert (machine.ids, machine.last.tolist()) == ([1], [3, 4])
    assert [h.tokens for h in machine.finished[0]] == [[3], [4]]
    assert machine.admit([2]) == [2]
    assert machine.last.tolist() == [3, 4, BEGIN, BEGIN]
    while machine.ids:
        machine.advance(table[machine.last])
    assert machine.finished[1][0].tokens == [4]


def test_a_step_feeds_one_token_for_each_row_and_returns_its_logits():
    model = build("transformer", {"dim": 16, "num_heads": 4, "ffn_dim": 24}, 40).eval()
    with torch.inference_mode():
        memory, tokens = model.encode(Source(torch.randint(3, 40, (2, 5)))), torch.tensor([[1, 7], [1, 9]])
        step, state = stepper(model), model.start(memory)
        logits: list[Any] = []
        for column in tokens.T:
            found, state = step(column, state)
            logits.append(found)
        expected: Tensor = model.logits(model.decode(tokens, model.start(memory))[0])
    torch.testing.assert_close(torch.stack(logits, 1), expected)
