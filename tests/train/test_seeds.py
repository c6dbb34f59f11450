"""Several seeds of one recipe: spread, runs that learnt nothing, the best by validation."""

import json
from pathlib import Path

import pytest

import onehop.train.seeds as seeds
from onehop.errors import ConfigError
from onehop.tasks import load_package
from onehop.train import make_recipe
from tests.fixtures.labelled import reviews, write_reviews
from tests.fixtures.tiny import onehop as command

SETTINGS = ("train.max_updates=3", "model.dim=8", "model.hidden_dim=8", "data.check=false")
SET = [word for setting in SETTINGS for word in ("--set", setting)]


def test_each_seed_is_a_run_and_the_best_is_kept(tmp_path: Path):
    table = write_reviews(tmp_path / "rooms.csv", reviews(60))
    done = command("train", "--task", "classify", "--data", table, "--out", tmp_path / "runs", "--seeds", 2, *SET)
    assert done.status == 0, done.err
    found = json.loads((tmp_path / "runs/seeds.json").read_text())
    assert {1, 2} <= {run["seed"] for run in found["runs"]}
    asked = [run for run in found["runs"] if run["seed"] < 3]
    mean = sum(run["figures"]["accuracy"] for run in asked) / 2
    assert found["all"]["accuracy"]["mean"] == pytest.approx(mean, abs=1e-4)
    best = load_package(tmp_path / f"runs/seed-{found['chosen']}").manifest
    assert load_package(tmp_path / "runs").manifest == best
    assert "±" in done.err
    assert "majority" not in done.err
    assert (tmp_path / "runs/report.html").read_text() == (
        tmp_path / f"runs/seed-{found['chosen']}/report.html"
    ).read_text()


def test_a_run_that_says_the_same_of_every_text_is_counted_and_begun_again(tmp_path: Path, monkeypatch):
    real, told = seeds._seeded, []

    def constant(seed, run):
        found = real(seed, run)
        figures = {**found.figures, "mcc": 0.0 if seed == 1 else 0.5}
        return seeds.Seeded(seed, found.folder, figures, 1.0 / seed, seed == 1)

    monkeypatch.setattr(seeds, "_seeded", constant)
    table = write_reviews(tmp_path / "rooms.csv", reviews(60))
    recipe = make_recipe({
        "task": "classify", "data": {"train": [table], "check": False}, "model": {"dim": 8, "hidden_dim": 8},
        "train": {"max_updates": 1},
    })  # fmt: skip
    found = seeds.train_seeds(recipe, tmp_path / "runs", 2, tell=told.append)
    assert [run.seed for run in found.runs] == [1, 1001, 2]
    assert (found.chosen, found.to_dict()["degenerate"]) == (2, 1)
    assert found.to_dict()["all"]["mcc"]["mean"] == 0.25
    assert found.to_dict()["without_degenerate"]["mcc"] == {"mean": 0.5, "sd": 0.0}
    assert any("degenerate" in line for line in told)


def test_one_seed_has_no_spread(tmp_path: Path):
    with pytest.raises(ConfigError, match="1 seeds have no spread"):
        seeds.train_seeds(None, tmp_path, 1)
