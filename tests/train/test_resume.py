"""A run that is stopped and resumed ends with the bits of one that was not."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from onehop.errors import ConfigError, DataError, FileError, Stopped
from onehop.files import Run
from onehop.train import Silent, Trained, train
from onehop.train.progress import load_progress
from tests.fixtures.tiny import log_rows, number_pairs, tiny_recipe, write_pairs

UPDATES = 7
FIRST = {"schedule": "constant", "evaluate_every": 3, "save_every": 4, "keep": 9}


class Stop(Silent):
    """Sends this process a signal after an update."""

    def __init__(self, update: int, number: int = signal.SIGTERM) -> None:
        self.update, self.number = update, number

    def updated(self, status):
        if status.update == self.update:
            os.kill(os.getpid(), self.number)


class Heard(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []
        self.losses: dict[int, float] = {}

    def tell(self, text):
        self.told.append(text)

    def updated(self, status):
        self.losses[status.update] = status.loss


def recipe(pairs: str, dropout: float = 0.2, **changes: object):
    return tiny_recipe(pairs, train={**FIRST, "max_updates": UPDATES, **changes}, model={"dropout": dropout})


def bits(run: Path) -> dict[str, bytes]:
    """Return weights, optimizer and random state of the last checkpoint, and the package."""
    last = Run(run).saved()[-1]
    files = [*sorted(last.glob("*.safetensors")), *sorted(Run(run).model.iterdir())]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def assert_same_run(one: Path, other: Path) -> None:
    assert bits(one) == bits(other)
    assert log_rows(one) == log_rows(other)
    first, second = (vars(load_progress(Run(run).saved()[-1])) for run in (one, other))
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


KINDS = {
    "plain": {},
    "accumulated": {"accumulate": 2},
    "cosine": {"schedule": "cosine", "evaluate_every": None},
    "r_drop": {"r_drop": 5.0},
    "ema": {"ema": 0.8},
    "average": {"average": 3, "save_every": 2},
    "bfloat16": {"precision": "bfloat16", "activation_checkpointing": True},
}


@pytest.fixture(scope="module", params=KINDS)
def whole(request, tmp_path_factory):
    """Return a recipe and a run of it that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    wanted = recipe(write_pairs(folder / "pairs.tsv", number_pairs(60)), **KINDS[request.param])
    train(wanted, folder / "run")
    return wanted, folder / "run"


@pytest.mark.parametrize("stop", [3, 5])
def test_a_run_stopped_by_a_signal_and_resumed_ends_with_the_bits_of_one_that_was_not(whole, tmp_path, stop):
    wanted, run = whole
    with pytest.raises(Stopped) as caught:
        train(wanted, tmp_path / "parts", listener=Stop(stop))
    assert caught.value.signal == signal.SIGTERM
    assert load_progress(Run(tmp_path / "parts").saved()[-1]).update == stop
    torch.manual_seed(99)  # whatever happened in between
    train(wanted, tmp_path / "parts", resume=True)
    assert_same_run(run, tmp_path / "parts")


def test_a_run_in_many_sittings_is_still_the_same(whole, tmp_path):
    wanted, run = whole
    for stop in (1, 2, 6):
        with pytest.raises(Stopped):
            train(wanted, tmp_path / "parts", resume=True, listener=Stop(stop, signal.SIGINT))
    train(wanted, tmp_path / "parts", resume=True)
    assert_same_run(run, tmp_path / "parts")


def test_a_finished_run_goes_on_under_a_larger_limit_as_if_that_had_been_there_before(pairs, tmp_path):
    train(recipe(pairs, max_updates=9), tmp_path / "whole")
    train(recipe(pairs, max_updates=3), tmp_path / "parts")
    train(recipe(pairs, max_updates=9), tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_run_that_was_killed_goes_on_from_its_checkpoint_and_forgets_what_came_after(pairs, tmp_path):
    wanted = recipe(pairs)
    train(wanted, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    last = Run(tmp_path / "killed").saved()[-1]
    assert last.name == "000007"
    shutil.rmtree(last)
    with open(tmp_path / "killed/log.jsonl", "a") as log:
        log.write('{"kind": "update", "upd')  # a line that was cut off
    train(wanted, tmp_path / "killed", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_the_loss_that_is_shown_goes_on_after_a_resume(pairs, tmp_path):
    with pytest.raises(Stopped):
        train(recipe(pairs), tmp_path / "run", listener=Stop(5))
    heard = Heard()
    train(recipe(pairs), tmp_path / "run", resume=True, listener=heard)
    row = next(row for row in log_rows(tmp_path / "run") if row["update"] == 6)
    assert heard.losses[6] == row["loss"]
    assert "resumed after update 5" in heard.told


def test_resume_of_a_finished_run_gives_what_it_gave(pairs, tmp_path):
    first = train(recipe(pairs), tmp_path / "run")
    before = bits(tmp_path / "run")
    again = train(recipe(pairs), tmp_path / "run", resume=True)
    assert again == first
    assert isinstance(again, Trained)
    assert (again.progress.finished, bits(tmp_path / "run")) == ("max_updates", before)


def test_patience_ends_a_run_and_a_longer_one_continues_it(pairs, tmp_path):
    patient = {"evaluate_every": 1, "max_updates": 50, "learning_rate": 1e-9}
    ended = train(recipe(pairs, **patient, patience=2), tmp_path / "run").progress
    assert (ended.finished, ended.update) == ("patience", 3)
    assert train(recipe(pairs, **patient, patience=2), tmp_path / "run", resume=True).progress == ended
    longer = train(recipe(pairs, **patient, patience=4), tmp_path / "run", resume=True).progress
    assert (longer.finished, longer.update) == ("patience", 5)


def test_another_recipe_is_refused_with_the_keys_that_differ(pairs, tmp_path):
    train(recipe(pairs), tmp_path / "run")
    other = tiny_recipe(pairs, train={**FIRST, "seed": 3, "max_updates": 20}, model={"dim": 32, "dropout": 0.2})
    with pytest.raises(ConfigError, match=r"not the recipe this run began with: model.dim, train.seed differ"):
        train(other, tmp_path / "run", resume=True)
    elsewhere = write_pairs(tmp_path / "other.tsv", number_pairs(30))
    with pytest.raises(ConfigError, match=r"data.pairs differ"):
        train(recipe(elsewhere), tmp_path / "run", resume=True)


def test_other_text_under_the_same_name_is_refused_with_its_file(pairs, tmp_path):
    train(recipe(pairs, max_updates=2), tmp_path / "run")
    before = bits(tmp_path / "run")
    write_pairs(tmp_path / "pairs.tsv", number_pairs(61))
    with pytest.raises(DataError, match=r"not the data this run began with: \.\./pairs\.tsv changed"):
        train(recipe(pairs, max_updates=4), tmp_path / "run", resume=True)
    assert bits(tmp_path / "run") == before


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """Return the pairs and the folder of a run of five updates with checkpoints after 2, 4 and 5."""
    folder = tmp_path_factory.mktemp("five")
    pairs = write_pairs(folder / "pairs.tsv", number_pairs(60))
    train(recipe(pairs, max_updates=5, save_every=2), folder / "run")
    return pairs, folder / "run"


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "progress.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "other"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_can_be_used(five, name, damage):
    pairs, whole = five
    run = shutil.copytree(whole, whole.with_name(f"{damage}-{name}"))
    last = Run(run).saved()[-1] / name
    if damage == "gone":
        last.unlink()
    else:
        last.write_bytes(last.read_bytes()[:40] if damage == "cut" else b'{"position": [1]}')
    with pytest.raises(FileError, match=r"(?s)checkpoints/000005: a damaged checkpoint: .*Remove it"):
        train(recipe(pairs, max_updates=6), run, resume=True)
    shutil.rmtree(last.parent)
    train(recipe(pairs, max_updates=6), run, resume=True)
    assert load_progress(Run(run).saved()[-1]).update == 6


def test_a_checkpoint_of_another_shape_is_told(pairs, tmp_path):
    train(recipe(pairs, max_updates=1), tmp_path / "one")
    train(tiny_recipe(pairs, train={"max_updates": 1}, model={"ffn_dim": 32}), tmp_path / "two")
    shutil.rmtree(tmp_path / "one/checkpoints")
    shutil.copytree(tmp_path / "two/checkpoints", tmp_path / "one/checkpoints")
    with pytest.raises(FileError, match=r"000001: a damaged checkpoint: .*size"):
        train(recipe(pairs, max_updates=2), tmp_path / "one", resume=True)


def test_only_the_newest_checkpoints_are_kept(pairs, tmp_path):
    train(recipe(pairs, save_every=1, keep=3), tmp_path / "run")
    assert [path.name for path in Run(tmp_path / "run").saved()] == ["000005", "000006", "000007"]
    assert len(os.listdir(tmp_path / "run/checkpoints")) == 3


def test_handlers_of_signals_are_as_before_when_a_run_is_over(pairs, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    train(recipe(pairs), tmp_path / "one")
    with pytest.raises(Stopped):
        train(recipe(pairs), tmp_path / "two", listener=Stop(2))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
