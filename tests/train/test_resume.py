"""A run that is stopped and resumed ends with the bits of one that was not."""

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

import onehop
from onehop.errors import ConfigError, DataError, FileError, ModelError, Stopped
from onehop.files import Run, to_json
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


def rewrite_progress(folder: Path, **changes: object) -> None:
    """Change a checkpoint's progress and seal it again."""
    body = {**json.loads((folder / "progress.json").read_text()), **changes}
    body.pop("sha256")
    body["sha256"] = hashlib.sha256(to_json(body).encode()).hexdigest()
    (folder / "progress.json").write_text(to_json(body))


def recipe(pairs: str, dropout: float = 0.2, model: Mapping[str, object] | None = None, **changes: object):
    train = {**FIRST, "max_updates": UPDATES, **changes}
    return tiny_recipe(pairs, train=train, model={"dropout": dropout, **(model or {})})


def bits(run: Path) -> dict[str, bytes]:
    """Return weights, optimizer and random state of the last checkpoint, and the package."""
    last = Run(run).saved()[-1]
    files = [*sorted(last.glob("*.safetensors")), *sorted(Run(run).model.iterdir())]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def assert_same_run(one: Path, other: Path) -> None:
    """Assert that two runs are equal; they must lie as deep, since a package names its data from where it lies."""
    assert bits(one) == bits(other)
    assert log_rows(one) == log_rows(other)
    first, second = (vars(load_progress(Run(run).saved()[-1])) for run in (one, other))
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


KINDS = {
    "plain": {},
    "accumulated": {"accumulate": 2},
    "cosine": {"schedule": "cosine", "evaluate_every": None},
    "r_drop": {"r_drop": 5.0},
    "hard": {"model": {"cross_select": "hard"}, "accumulate": 2},
    "ema": {"ema": 0.8},
    "average": {"average": 3, "save_every": 2, "keep": 1},
    "bfloat16": {"precision": "bfloat16", "activation_checkpointing": True},
    "patience": {"evaluate_every": 1, "patience": 2, "learning_rate": 1e-9, "max_updates": 50},
}


@pytest.fixture(scope="module", params=KINDS)
def whole(request, tmp_path_factory):
    """Return a recipe and a run of it that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    wanted = recipe(write_pairs(folder / "pairs.tsv", number_pairs(60)), **KINDS[request.param])
    train(wanted, folder / "run")
    return wanted, folder / "run"


@pytest.fixture
def parts(whole, tmp_path):
    """Return a folder beside the whole run."""
    return whole[1].with_name(tmp_path.name)


@pytest.mark.parametrize("stop", [3, *(pytest.param(stop, marks=pytest.mark.slow) for stop in (1, 2, 5))])
def test_a_run_stopped_by_a_signal_and_resumed_ends_with_the_bits_of_one_that_was_not(whole, parts, stop):
    wanted, run = whole
    stop = min(stop, int(Run(run).saved()[-1].name) - 1)
    with pytest.raises(Stopped) as caught:
        train(wanted, parts, listener=Stop(stop))
    assert caught.value.signal == signal.SIGTERM
    assert load_progress(Run(parts).saved()[-1]).update == stop
    torch.manual_seed(99)  # whatever happened in between
    train(wanted, parts, resume=True)
    assert_same_run(run, parts)


def test_a_run_in_many_sittings_is_still_the_same(whole, parts):
    wanted, run = whole
    last = int(Run(run).saved()[-1].name)
    for stop in range(1, last):
        with pytest.raises(Stopped):
            train(wanted, parts, resume=True, listener=Stop(stop, signal.SIGINT))
    train(wanted, parts, resume=True)
    assert_same_run(run, parts)


def test_a_run_killed_after_its_last_periodic_checkpoint_does_not_evaluate_twice(whole, parts):
    """The last evaluation and the end of the run come behind that checkpoint, or are in it already."""
    wanted, run = whole
    wanted = wanted.model_copy(update={"train": wanted.train.model_copy(update={"save_every": 1, "average": 1})})
    shown = Run(run.with_name(f"{parts.name}-each"))
    train(wanted, shown.folder)
    shutil.copytree(shown.folder, parts)
    keep_for_the_end = load_progress(shown.saved()[-1])
    rewrite_progress(Run(parts).saved()[-1], finished="")  # as the checkpoint of the loop, before that of the end
    train(wanted, parts, resume=True)
    assert_same_run(shown.folder, parts)
    assert load_progress(Run(parts).saved()[-1]).finished == keep_for_the_end.finished != ""


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


def test_the_smoothed_loss_goes_on_after_a_resume(pairs, tmp_path):
    never, heard = Heard(), Heard()
    train(recipe(pairs), tmp_path / "whole", listener=never)
    with pytest.raises(Stopped):
        train(recipe(pairs), tmp_path / "run", listener=Stop(5))
    train(recipe(pairs), tmp_path / "run", resume=True, listener=heard)
    assert heard.losses == {update: never.losses[update] for update in (6, 7)}
    assert "resumed after update 5" in heard.told


def test_resume_of_a_finished_run_gives_what_it_gave(pairs, tmp_path):
    first = train(recipe(pairs), tmp_path / "run")
    before = bits(tmp_path / "run")
    again = train(recipe(pairs), tmp_path / "run", resume=True)
    assert again == first
    assert isinstance(again, Trained)
    assert (again.progress.finished, bits(tmp_path / "run")) == ("max_updates", before)


def test_patience_ends_a_run_and_a_longer_one_continues_it(pairs, tmp_path):
    patient = {"evaluate_every": 1, "max_updates": 50, "learning_rate": 1e-30}  # no bit of a weight changes
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
@pytest.mark.parametrize("damage", ["cut", "gone", "other", "flipped"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_is_used(five, name, damage):
    pairs, whole = five
    run = shutil.copytree(whole, whole.with_name(f"{damage}-{name}"))
    last = Run(run).saved()[-1]
    break_file(last / name, damage)
    heard = Heard()
    train(recipe(pairs, max_updates=5, save_every=2), run, resume=True, listener=heard)
    assert any("checkpoints/000005: a damaged checkpoint: " in text and "moved to" in text for text in heard.told)
    assert any("the checkpoint before it is used" in text and "000004" in text for text in heard.told)
    assert_same_run(whole, run)
    assert (run / "checkpoints/000005.damaged").is_dir()


def break_file(path: Path, damage: str) -> None:
    data = path.read_bytes()
    place = len(data) // 2
    if damage == "gone":
        path.unlink()
    elif damage == "flipped":
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    else:
        path.write_bytes(data[:40] if damage == "cut" else b'{"position": [1]}')


def test_where_no_checkpoint_is_whole_there_is_one_error_and_nothing_is_moved(five):
    pairs, whole = five
    run = Run(shutil.copytree(whole, whole.with_name("none")))
    for folder in run.saved():
        break_file(folder / "weights.safetensors", "cut")
    with pytest.raises(FileError, match=r"(?s)checkpoints: no checkpoint can be used; .*--init .*model"):
        train(recipe(pairs, max_updates=5, save_every=2), run.folder, resume=True)
    assert [path.name for path in run.saved()] == ["000002", "000004", "000005"]
    shutil.rmtree(run.model)
    with pytest.raises(FileError, match=r"(?s)checkpoints: no checkpoint can be used; .*--overwrite"):
        train(recipe(pairs, max_updates=5, save_every=2), run.folder, resume=True)


def test_of_damaged_checkpoints_the_last_is_kept(five):
    pairs, whole = five
    run = Run(shutil.copytree(whole, whole.with_name("twice")))
    for folder in run.saved()[1:]:
        break_file(folder / "weights.safetensors", "cut")
    train(recipe(pairs, max_updates=5, save_every=2), run.folder, resume=True)
    assert len(list(run.checkpoints.glob("*.damaged"))) == 1


def test_checkpoints_without_the_record_of_their_run_are_refused(five):
    pairs, whole = five
    run = Run(shutil.copytree(whole, whole.with_name("unrecorded")))
    run.record.unlink()
    with pytest.raises(FileError, match=r"run\.json: missing: nothing tells what this run was"):
        train(recipe(pairs, max_updates=6, save_every=2, seed=7), run.folder, resume=True)


def test_another_vocabulary_is_refused_and_other_versions_and_threads_are_told(five):
    pairs, whole = five
    run = Run(shutil.copytree(whole, whole.with_name("elsewhere")))
    record = json.loads(run.record.read_text())
    record["versions"]["torch"], record["machine"]["threads"] = "2.11.0", 64
    run.record.write_text(to_json(record))
    heard = Heard()
    train(recipe(pairs, max_updates=6, save_every=2), run.folder, resume=True, listener=heard)
    assert any("begun with torch 2.11.0, here " in text and "64 threads, here" in text for text in heard.told)
    record = json.loads(run.record.read_text())
    assert record["sittings"][0]["versions"]["torch"] == "2.11.0"
    record["tokenizers"]["target"] = "0" * 64
    run.record.write_text(to_json(record))
    with pytest.raises(DataError, match="another vocabulary than the one this run began with"):
        train(recipe(pairs, max_updates=7, save_every=2), run.folder, resume=True)


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_finished_run_without_its_package_is_not_called_finished(five, damage):
    pairs, whole = five
    run = Run(shutil.copytree(whole, whole.with_name(f"no-model-{damage}")))
    break_file(run.model / "onehop.json", damage)
    with pytest.raises(ModelError, match="the run is finished, but its package cannot be used"):
        train(recipe(pairs, max_updates=5, save_every=2), run.folder, resume=True)
    heard = Heard()
    train(recipe(pairs, max_updates=7, save_every=2), run.folder, resume=True, listener=heard)
    assert any("the package is written anew" in text for text in heard.told)
    assert onehop.load(run.folder).translate(["One."])


def test_rows_that_the_log_lost_are_told(five):
    pairs, whole = five
    run = Run(shutil.copytree(whole, whole.with_name("short-log")))
    rows = run.log.read_text().split("\n")
    run.log.write_text("\n".join(rows[:3]) + "\n")
    heard = Heard()
    train(recipe(pairs, max_updates=6, save_every=2), run.folder, resume=True, listener=heard)
    assert any(f"has 3 of {len(rows) - 1} rows" in text for text in heard.told)


def test_the_look_at_the_data_may_be_left_out_when_a_run_goes_on(five):
    pairs, whole = five
    run = shutil.copytree(whole, whole.with_name("unchecked"))
    heard, wanted = Heard(), recipe(pairs, max_updates=6, save_every=2)
    data = wanted.data.model_copy(update={"check": False})
    train(wanted.model_copy(update={"data": data}), run, resume=True, listener=heard)
    assert not any(text.startswith("data: looks") for text in heard.told)


def test_a_mean_of_checkpoints_is_resumed_from_before_a_damaged_one_that_it_needs(pairs, tmp_path):
    wanted = recipe(pairs, average=2, save_every=1, keep=5, evaluate_every=1)
    train(wanted, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    for name in ("000007", "000006"):
        break_file(tmp_path / "parts/checkpoints" / name / "weights.safetensors", "flipped")
    train(wanted, tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


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
