"""What is not finite or diverges is told with its lines, and followed by what the recipe asks for."""

import gc
import re

import pytest
import torch

from onehop.data import evaluation_batches
from onehop.errors import ConfigError, Stopped, TrainingError
from onehop.files import Run
from onehop.models import build
from onehop.train import Update, make_recipe, objective, train
from onehop.train.memory import GIB, REMEDY, Memory, Need, need
from onehop.train.objective import objective as objective_of
from onehop.train.prepare import prepare
from onehop.train.progress import load_progress
from onehop.train.recipe import TrainConfig
from onehop.train.stability import IN_A_ROW, LONG, MARGIN, Stability
from tests.fixtures.tiny import log_rows, onehop, refused, tables, tiny_recipe
from tests.train.test_resume import Heard, Stop, assert_same_run

NAN = float("nan")


def update(loss: float) -> Update:
    return Update(loss, 1.0, 1e-3, 10, skipped=loss != loss)


def poisoned(monkeypatch, *bad: int) -> None:
    """Make the loss of some updates, counted from the first of this process, not a number."""
    real = objective.loss_sum
    count = -3  # memory is measured twice, and operations once

    def sometimes(*args):
        nonlocal count
        count += 1
        return real(*args) * (NAN if count in bad else 1.0)

    monkeypatch.setattr(objective, "loss_sum", sometimes)


def long_run(pairs: str, **changes: object):
    return tiny_recipe(pairs, train={"max_updates": 6, "save_every": 2, "schedule": "constant", **changes})


def test_skip_leaves_rate_and_weights(pairs, tmp_path, monkeypatch):
    poisoned(monkeypatch, 3)
    train(long_run(pairs), tmp_path / "run")
    rows = [row for row in log_rows(tmp_path / "run") if row["kind"] == "update"]
    assert [row["skipped"] for row in rows] == [False, False, True, False, False, False]
    assert len({row["learning_rate"] for row in rows[2:]}) == 1


def test_lower_halves_the_rate_from_there_on_and_after_a_resume(pairs, tmp_path, monkeypatch):
    poisoned(monkeypatch, 3)
    with pytest.raises(Stopped):
        train(long_run(pairs, non_finite="lower"), tmp_path / "run", listener=Stop(4))
    train(long_run(pairs, non_finite="lower"), tmp_path / "run", resume=True)
    rates = [row["learning_rate"] for row in log_rows(tmp_path / "run") if row["kind"] == "update"]
    assert rates[3:] == [rates[2] / 2] * 3
    assert load_progress(Run(tmp_path / "run").saved()[-1]).stability.scale == 0.5


def test_stop_ends_with_the_lines_after_a_checkpoint_from_which_the_run_goes_on(pairs, tmp_path, monkeypatch):
    poisoned(monkeypatch, 3)
    with pytest.raises(TrainingError, match=r"(?s)update 3: the gradient is not finite.*train.learning_rate.*--resume"):
        train(long_run(pairs, non_finite="stop"), tmp_path / "run")
    assert load_progress(Run(tmp_path / "run").saved()[-1]).update == 3
    (note,) = [row for row in log_rows(tmp_path / "run") if row["kind"] == "note"]
    assert note.keys() == {"kind", "update", "text"}
    assert re.search(r"its lines: \.\./pairs\.tsv:\d+, \.\./pairs\.tsv:\d+", note["text"])
    assert train(long_run(pairs, non_finite="stop"), tmp_path / "run", resume=True).progress.update == 6


def test_what_is_never_finite_ends_under_every_policy(pairs, tmp_path, monkeypatch):
    poisoned(monkeypatch, *range(3, 99))
    with pytest.raises(TrainingError, match=f"update {IN_A_ROW + 2}: .*as the {IN_A_ROW - 1} before it"):
        train(long_run(pairs, max_updates=50), tmp_path / "run")


def test_the_command_line_ends_with_status_2_and_one_message(pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    poisoned(monkeypatch, 1)
    settings = [f"--set={t}.{k}={v}" for t, keys in tables("").items() if t != "data" for k, v in keys.items()]
    result = onehop("train", "--pairs", "pairs.tsv", "--out", "run", *settings, "--set", "train.non_finite=stop")
    refused(result, "run: update 1: the gradient is not finite", "lower train.learning_rate", "--resume")


@pytest.mark.parametrize(
    ("policy", "ends", "scale"), [("skip", False, 1.0), ("lower", False, 0.5), ("stop", True, 1.0)]
)
def test_a_loss_far_above_its_lowest_for_long_is_told_once(policy, ends, scale):
    stability, alarms = Stability(), []
    for loss in [2.0] * 50 + [2.0 + 3 * MARGIN] * (LONG + 60):
        alarms += [alarm] if (alarm := stability.heard(update(loss), policy)) else []
    assert [(alarm.ends, "diverged" in alarm.text, "2.00" in alarm.text) for alarm in alarms] == [(ends, True, True)]
    assert stability.scale == scale


def test_a_hard_stretch_or_a_loss_that_stands_still_is_no_divergence():
    stability = Stability()
    for loss in [2.0] * 50 + [9.0] * (LONG // 2) + [2.0] * 400 + [2.0 + 0.9 * MARGIN] * 3 * LONG:
        assert stability.heard(update(loss), "stop") is None


def test_an_unknown_policy_is_refused(pairs):
    with pytest.raises(ConfigError, match="'skip', 'lower' or 'stop'"):
        tiny_recipe(pairs, train={"non_finite": "ignore"})


# ------------------------------------------------------------------------------------------------ memory


def test_memory_that_runs_out_is_told_with_update_shape_and_remedy_and_the_checkpoint_stays(
    pairs, tmp_path, monkeypatch
):
    train(long_run(pairs), tmp_path / "whole")
    real, count = objective.loss_sum, 0

    def greedy(*args):
        nonlocal count
        count += 1
        if count == 8:  # of the fifth update
            torch.empty(1 << 60)
        return real(*args)

    monkeypatch.setattr(objective, "loss_sum", greedy)
    with pytest.raises(TrainingError) as caught:
        train(long_run(pairs), tmp_path / "run")
    shape = r"\d+ x \d+ source tokens and \d+ x \d+ target tokens"
    assert re.fullmatch(f"out of memory in update 5, with a batch of {shape}", caught.value.problem)
    assert caught.value.remedy == REMEDY
    assert load_progress(Run(tmp_path / "run").saved()[-1]).update == 4
    monkeypatch.undo()
    train(long_run(pairs), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_a_run_that_needs_more_memory_than_is_free_is_warned_before_it_begins(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(Memory, "free", lambda self: 1000.0)
    heard = Heard()
    train(long_run(pairs), tmp_path / "run", listener=heard)
    (warning,) = [text for text in heard.told if text.startswith("warning: training needs about ")]
    assert REMEDY in warning


def test_nothing_is_told_where_the_memory_suffices():
    assert Need(2 * GIB, 2 * GIB).warning(4 * GIB) == ""


@pytest.mark.parametrize("changes", [{}, {"precision": "bfloat16"}, {"r_drop": 5.0}])
def test_the_estimate_of_activations_is_what_autograd_holds_of_a_whole_batch(pairs, tmp_path, changes):
    """Of a batch of the lines that the estimate takes, measured and not scaled."""
    recipe = make_recipe(tables(pairs, train={"batch_tokens": 33 * 64, **changes}, model={"dim": 64, "ffn_dim": 128}))
    prepared = prepare(recipe, tmp_path, lambda text: None)
    model, loss_sum = prepared.translator.model, objective_of(prepared.recipe.train, "cpu")
    found = need(model, loss_sum, prepared.recipe.train, 64, prepared.sample_batch).activations
    lines = [[5] * 32] * 64
    held = held_bytes(model, loss_sum, lines)
    assert abs(found / held - 1) < 0.1
    state = torch.get_rng_state()
    need(model, loss_sum, prepared.recipe.train, 64, prepared.sample_batch)
    assert torch.equal(state, torch.get_rng_state())
    prepared.batches.close()


@pytest.mark.parametrize("family", ["transformer", "recurrent"])
def test_the_estimate_leaves_no_tensor_behind(family: str):
    """What an operation saves of its own output must not hold the operation."""
    layers = {"num_encoder_layers": 1, "num_decoder_layers": 1}
    model, settings = build(family, {"dim": 8, **layers}, 40), TrainConfig(batch_tokens=100)
    objective = objective_of(settings, "cpu")

    def alive() -> int:
        need(
            model,
            objective,
            settings,
            8,
            lambda rows, words: next(evaluation_batches(*2 * [[[5] * words] * rows], 999)),
        )
        gc.collect()
        return sum(type(each) is torch.Tensor for each in gc.get_objects())

    assert alive() == alive()


def held_bytes(model, loss_sum, lines) -> int:
    """Return the bytes of all tensors kept for the way back, weights left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: list[torch.Tensor] = []
    batch = next(evaluation_batches(lines, lines, 33 * len(lines)))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        loss_sum(model.train(), batch)
    sizes = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    return sum(size for place, size in sizes.items() if place not in own)


def test_activations_that_are_computed_again_are_not_counted(pairs, tmp_path):
    from onehop.train.recompute import recompute

    prepared = prepare(make_recipe(tables(pairs)), tmp_path, lambda text: None)
    model, loss_sum = prepared.translator.model, objective_of(prepared.recipe.train, "cpu")
    kept = need(model, loss_sum, prepared.recipe.train, 20, prepared.sample_batch).activations
    recompute(model)
    assert need(model, loss_sum, prepared.recipe.train, 20, prepared.sample_batch).activations < 0.7 * kept
    prepared.batches.close()
