import builtins
import importlib.util
from pathlib import Path

import pytest

from onehop.errors import ConfigError, Stopped
from onehop.train import train
from tests.fixtures.tiny import log_rows, tiny_recipe
from tests.train.test_resume import Stop

KEYS = {"max_updates": 5, "evaluate_every": 2, "tensorboard": True, "save_every": 2}


def shown(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard shows of a run: steps and values of each curve."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    return {tag: [(event.step, event.value) for event in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


def test_every_figure_of_the_log_is_shown_at_its_update(pairs, tmp_path):
    train(tiny_recipe(pairs, train=KEYS), tmp_path / "run")
    found, rows = shown(tmp_path / "run"), log_rows(tmp_path / "run")
    kinds = {kind: [row for row in rows if row["kind"] == kind] for kind in ("update", "evaluation")}
    names = {
        "train/loss": ("update", "loss"),
        "train/learning_rate": ("update", "learning_rate"),
        "train/gradient_norm": ("update", "norm"),
        "valid/loss": ("evaluation", "loss"),
        "valid/bleu": ("evaluation", "bleu"),
    }
    assert found.keys() == {*names, "train/tokens_per_second"}
    for name, (kind, key) in names.items():
        assert found[name] == [(row["update"], pytest.approx(row[key], rel=1e-6)) for row in kinds[kind]], name


def test_a_resumed_run_shows_each_update_once(pairs, tmp_path):
    recipe = tiny_recipe(pairs, train=KEYS)
    train(recipe, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "parts", listener=Stop(4))
    newest = max((tmp_path / "parts/checkpoints").iterdir())
    newest.rename(tmp_path / "lost")  # as if the machine had died: updates 3 and 4 come again
    train(recipe, tmp_path / "parts", resume=True)
    whole, parts = shown(tmp_path / "whole"), shown(tmp_path / "parts")
    for tag in whole.keys() - {"train/tokens_per_second"}:
        assert parts[tag] == whole[tag]


def test_without_the_extra_one_message_names_the_command(pairs, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "onehop.train.tensorboard.find_spec", lambda name: None if name == "tensorboard" else find(name)
    )
    with pytest.raises(ConfigError) as caught:
        train(tiny_recipe(pairs, train=KEYS), tmp_path / "run")
    assert (caught.value.where, caught.value.remedy) == ("train.tensorboard", "pip install 'onehop[tensorboard]'")
    assert not (tmp_path / "run").exists()


def test_without_the_key_nothing_of_it_is_imported(pairs, tmp_path, monkeypatch):
    imported = builtins.__import__

    def watch(name, *args, **kwargs):
        assert "tensorboard" not in name.split("."), name
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", watch)
    train(tiny_recipe(pairs), tmp_path / "run")
    assert not (tmp_path / "run/tensorboard").exists()
