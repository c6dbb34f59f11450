"""Faults that a reviewer found by using Onehop, and that must not come back."""

import os
import shutil
import signal

import pytest

from onehop.errors import FileError, OnehopError, Stopped
from onehop.files import Run
from onehop.train import Silent, make_recipe, train
from onehop.train.choose import judge
from onehop.train.prepare import prepare
from onehop.train.run import _alone
from tests.fixtures.tiny import tables, tiny_recipe


class Heard(Silent):
    """Keeps what was told; sends this process a signal after the first update."""

    def __init__(self, number=0):
        self.told, self.number = [], number

    def tell(self, text):
        self.told.append(text)

    def updated(self, status):
        if self.number:
            os.kill(os.getpid(), self.number)
            self.number = 0


def test_a_run_goes_on_with_the_model_it_began_with_when_other_minutes_would_choose_another(
    pairs, tmp_path, monkeypatch
):
    recipe = make_recipe({**tables(pairs, train={"max_updates": 2, "save_every": 1}), "model": {}})
    monkeypatch.setattr("onehop.train.prepare.plan", planned(16))
    train(recipe, tmp_path / "run")
    monkeypatch.setattr("onehop.train.prepare.plan", planned(32))
    more = recipe.model_copy(update={"train": recipe.train.model_copy(update={"max_updates": 3, "max_minutes": 500.0})})
    trained = train(more, tmp_path / "run", resume=True)
    assert trained.progress.update == 3
    assert prepare(more, tmp_path, lambda text: None).recipe.model["dim"] == 32  # what a new run would take


def planned(dim):
    from dataclasses import replace

    from onehop.train.size import PLANS

    model = {**PLANS[0].model, "dim": dim, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 1}
    return lambda *_: replace(PLANS[0], model=model)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_terminal_that_is_closed_ends_a_run_after_a_checkpoint(pairs, tmp_path, number):
    recipe = tiny_recipe(pairs, train={"max_updates": 9})
    with pytest.raises(Stopped) as caught:
        train(recipe, tmp_path / "run", listener=Heard(number))
    assert caught.value.status == 128 + number
    assert [path.name for path in Run(tmp_path / "run").saved()] == ["000001"]


def test_a_run_may_lie_behind_a_link(pairs, tmp_path, monkeypatch):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er")
    monkeypatch.chdir(tmp_path)
    train(tiny_recipe(os.path.relpath(pairs)), "link/run")
    trained = train(tiny_recipe(os.path.relpath(pairs), train={"max_updates": 3}), "link/run", resume=True)
    assert trained.progress.update == 3


def test_a_folder_in_use_is_refused(tmp_path):
    with _alone(Run(tmp_path)), pytest.raises(FileError, match="in use"), _alone(Run(tmp_path)):
        pass
    with _alone(Run(tmp_path)):  # and free again
        pass


def test_overwriting_does_not_move_the_text_away(pairs, tmp_path):
    (tmp_path / "run").mkdir()
    inside = tmp_path / "run" / "pairs.tsv"
    shutil.copy(pairs, inside)
    with pytest.raises(FileError, match="moves aside"):
        train(tiny_recipe(str(inside)), tmp_path / "run", overwrite=True)
    assert inside.is_file()


def test_a_pipe_is_refused_before_it_blocks(tmp_path):
    os.mkfifo(tmp_path / "pairs.tsv")
    with pytest.raises(OnehopError, match="read but once"):
        train(tiny_recipe(str(tmp_path / "pairs.tsv")), tmp_path / "run")


def test_one_key_of_the_model_does_not_leave_the_size_that_fits(pairs, tmp_path):
    recipe = make_recipe({**tables(pairs), "model": {"dropout": 0.2}})
    found = prepare(recipe, tmp_path, lambda text: None)
    assert (found.recipe.model["dim"], found.recipe.model["dropout"]) == (128, 0.2)


@pytest.mark.parametrize(
    ("targets", "language", "figure"),
    [
        (["ABC", "DE FG"], "", "loss"),
        (["one two three four five"], "de", "bleu"),
        (["这是一个句子。"], "zh", "bleu"),
        (["这是一个句子。"], "", "loss"),
    ],
)
def test_lines_too_short_for_bleu_are_judged_by_the_loss_and_this_is_told(pairs, targets, language, figure):
    from onehop.data import Pair

    data = {**tables(pairs)["data"], "target_language": language}
    told: list[str] = []
    recipe = judge(make_recipe({"data": data}), [Pair("x", target) for target in targets], told.append)
    assert recipe.train.best == figure
    assert bool(told) == (figure == "loss")


def test_a_log_that_was_cut_short_does_not_stop_a_resume(pairs, tmp_path):
    train(tiny_recipe(pairs, train={"max_updates": 2}), tmp_path / "run")
    with open(tmp_path / "run" / "log.jsonl", "ab") as log:
        log.write(b'{"kind": "note", \xff}\n{"upd')
    train(tiny_recipe(pairs, train={"max_updates": 3}), tmp_path / "run", resume=True)
    assert b"\xff" not in (tmp_path / "run" / "log.jsonl").read_bytes()


def test_a_long_validation_pair_is_left_out_and_told(pairs, tmp_path):
    (tmp_path / "valid.tsv").write_text("One.\tEins.\n" + "word " * 900 + "\tWort.\n")
    told: list[str] = []
    recipe = tiny_recipe(pairs, data={"valid_pairs": [str(tmp_path / "valid.tsv")]})
    found = prepare(recipe, tmp_path, told.append)
    assert [pair.source for pair in found.validation] == ["One."]
    assert any(text.startswith("valid: 1 of 2 lines") for text in told)
