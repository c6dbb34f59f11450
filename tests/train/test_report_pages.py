"""The page that a run of each task writes: figures with intervals, and mistakes with their texts; seeds of taggers."""

import json
from pathlib import Path

import pytest

from onehop.metrics.tagging import tagging
from onehop.train.seeds import CONSTANT
from onehop.train.tag_card import TaggedFigures
from tests.fixtures.asked import paragraphs, write_squad
from tests.fixtures.tagged import meetings, write_conll
from tests.fixtures.tiny import onehop as command
from tests.train.test_regress import write_pairs

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "checkpoints" / "BertModel"
SHORT = ["--set", "train.max_updates=3", "--set", "train.evaluate_every=3"]
DATA = {
    "tag": lambda folder: write_conll(folder / "a.conll", meetings(60)),
    "answer": lambda folder: write_squad(folder / "a.json", paragraphs(40)),
    "regress": lambda folder: write_pairs(folder / "a.csv", 60),
}
SAYS = {
    "tag": ("accuracy of words", "95 % interval", "Most frequent mistakes", "by label"),
    "answer": ("exact match", "95 % interval", "Surest mistakes", "unanswerable"),
    "regress": ("Spearman", "95 % interval", "Largest errors", "RMSE of always the mean"),
}


@pytest.mark.parametrize("task", DATA)
def test_a_run_writes_one_page_about_what_validates(task: str, tmp_path: Path):
    done = command(
        "train", "--task", task, "--data", DATA[task](tmp_path), "--init", CHECKPOINT, "--out", tmp_path / "run", *SHORT
    )
    assert done.status == 0, done.err
    page = (tmp_path / "run/report.html").read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert [part for part in SAYS[task] if part not in page] == []
    assert "http" not in page


def test_seeds_know_a_tagger_that_gives_all_words_one_label_by_a_figure_that_is_zero(tmp_path: Path):
    wanted = [["O", "B-a", "O"], ["B-a", "O", "O"]]
    for found, constant in (([["O"] * 3] * 2, True), ([["O", "B-a", "O"], ["O", "O", "O"]], False)):
        result = tagging(found, wanted, "bio", ["O", "B-a", "I-a"])
        figures = TaggedFigures(result.accuracy, result.f1, 2, result.mcc).figures
        assert any(abs(figures[name]) < 1e-6 for name in CONSTANT if name in figures) == constant
    data = write_conll(tmp_path / "a.conll", meetings(60))
    tiny = ["--set=train.max_updates=2", "--set=model.dim=8", "--set=model.hidden_dim=8"]
    done = command("train", "--task", "tag", "--data", data, "--out", tmp_path / "runs", "--seeds", "2", *tiny)
    assert done.status == 0, done.err
    spread = json.loads((tmp_path / "runs/seeds.json").read_text())["all"]
    assert {"accuracy", "f1", "mcc"} <= set(spread)
