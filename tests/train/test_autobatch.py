import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import onehop
from onehop.data import Pair
from onehop.errors import ConfigError
from onehop.files import Run
from onehop.tasks.translation_loss import loss_sum
from onehop.train import autobatch, make_recipe, train
from onehop.train.autobatch import BUDGETS, Trial, choose, find_batch_tokens, longest_batches, worthwhile
from onehop.train.recipe import load_recipe
from tests.fixtures.tiny import number_pairs, tables, tiny_recipe

TRIALS = st.lists(st.tuples(st.floats(1, 1e6), st.integers(0, 1000)), min_size=1, max_size=len(BUDGETS)).map(
    lambda rows: [Trial(budget, *row) for budget, row in zip(BUDGETS, rows, strict=False)]
)


@given(TRIALS, st.integers(0, 2000))
def test_the_choice_is_the_smallest_near_the_best_of_those_that_take_half_the_memory_at_most(trials, free):
    found = next(trial for trial in trials if trial.budget == choose(trials, free))
    allowed = [trial for trial in trials if trial.memory <= free / 2]
    if not allowed:
        assert found == trials[0]
        return
    best = max(trial.speed for trial in allowed)
    assert found in allowed
    assert found.speed >= 0.9 * best
    assert all(trial.speed < 0.9 * best for trial in allowed if trial.budget < found.budget)


def test_a_budget_that_would_take_too_much_is_not_tried():
    tried = []

    def trials():
        for number, budget in enumerate(BUDGETS):
            tried.append(budget)
            yield Trial(budget, 2.0**number, 100 * 2**number)

    assert len(list(worthwhile(trials(), free=1000))) == len(tried) == 3  # 400 of 1000: the next would take 800


def test_trying_ends_where_two_larger_batches_were_hardly_faster():
    speeds = [50, 100, 95, 105, 200, 400, 800]
    trials = [Trial(budget, speed, 0) for budget, speed in zip(BUDGETS, speeds, strict=True)]
    assert list(worthwhile(iter(trials), free=1000)) == trials[:4]


def test_each_budget_is_tried_on_the_longest_pairs_that_fill_it(trained):
    translator = onehop.load(trained)
    pairs = [Pair(*pair) for pair in number_pairs(2000, longest=8)]
    batches = list(longest_batches(translator, pairs))
    assert [budget for budget, _ in batches] == list(BUDGETS[: len(batches)])
    lengths = [len(row) for pair in pairs for row in translator.source_tokenizer.encode_batch(list(pair))]
    longest = 1 + min(max(lengths), translator.settings.text.max_length)
    for budget, batch in batches:
        cells = max(batch.source.numel(), batch.target.numel())
        assert budget - longest < cells <= budget
        assert max(batch.source.size(1), batch.target.size(1)) == longest


def test_a_few_pairs_are_tried_in_one_batch(trained):
    batches = list(longest_batches(onehop.load(trained), [Pair("Two.", "Zwei.")] * 3))
    assert [budget for budget, _ in batches] == [1000]


def test_measuring_leaves_weights_and_random_generators_as_they_were(trained):
    translator, told = onehop.load(trained), []
    before = [p.clone() for p in translator.model.parameters()], torch.get_rng_state()
    pairs = [Pair(*pair) for pair in number_pairs(300)]
    found = find_batch_tokens(translator, pairs, loss_sum, "cpu", told.append)
    assert found in BUDGETS
    assert all(torch.equal(a, b) for a, b in zip(before[0], translator.model.parameters(), strict=True))
    assert torch.equal(before[1], torch.get_rng_state())
    assert all(p.grad is None for p in translator.model.parameters())
    assert len(told) == 1
    assert f"batch: {found:,} tokens" in told[0]
    assert "1,000: " in told[0]


def test_the_number_found_is_recorded_and_its_recipe_makes_the_same_run(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(autobatch, "BUDGETS", (60, 120, 240))
    keys = {"batch_tokens": "auto", "max_updates": 3}
    train(tiny_recipe(pairs, train=keys, model={"dropout": 0.3}), tmp_path / "auto")
    recipe = load_recipe(tmp_path / "auto/recipe.toml")
    assert recipe.train.batch_tokens in (60, 120, 240)
    train(recipe, tmp_path / "again")
    ours, theirs = (Run(tmp_path / run).saved()[-1] / "weights.safetensors" for run in ("auto", "again"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_resume_uses_the_number_and_measures_nothing(pairs, tmp_path, monkeypatch):
    recipe = tiny_recipe(pairs, train={"batch_tokens": "auto"})
    train(recipe, tmp_path / "run")
    number = load_recipe(tmp_path / "run/recipe.toml").train.batch_tokens
    monkeypatch.setattr("onehop.train.prepare.find_batch_tokens", None)
    more = make_recipe(tables(pairs, train={"batch_tokens": "auto", "max_updates": 3}))
    assert train(more, tmp_path / "run", resume=True).progress.update == 3
    assert load_recipe(tmp_path / "run/recipe.toml").train.batch_tokens == number


@pytest.mark.parametrize("value", [0, -5, 1.5, True, "many", "Auto"])
def test_what_is_no_number_of_tokens_is_told_with_what_may_stand_there(pairs, value):
    with pytest.raises(ConfigError, match=r"train.batch_tokens: should be a number of tokens from 1, or auto \(given"):
        make_recipe({"data": {"pairs": [pairs]}, "train": {"batch_tokens": value}})
