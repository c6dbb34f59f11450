"""The page that a run of each task writes: figures with intervals, and mistakes with their texts; seeds of taggers."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from onehop.data.questions import Question
from onehop.evaluate.choices import scored_places
from onehop.metrics.multilabel import crossed, score_sets
from onehop.metrics.tagging import tagging
from onehop.train.answer_card import HeldOutQuestions
from onehop.train.seeds import CONSTANT
from onehop.train.tag_card import TaggedFigures
from tests.fixtures.asked import paragraphs, write_squad
from tests.fixtures.tagged import meetings, write_conll
from tests.fixtures.tiny import onehop as command
from tests.train.test_choosing import rows as choices
from tests.train.test_choosing import write as write_choices
from tests.train.test_embed import scored as write_scored
from tests.train.test_multilabel import rows as sets
from tests.train.test_multilabel import write as write_sets
from tests.train.test_regress import write_pairs

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "checkpoints" / "BertModel"
SHORT = ["--set", "train.max_updates=3", "--set", "train.evaluate_every=3"]
DATA = {
    "tag": lambda folder: write_conll(folder / "a.conll", meetings(60)),
    "answer": lambda folder: write_squad(folder / "a.json", paragraphs(40)),
    "regress": lambda folder: write_pairs(folder / "a.csv", 60),
    "multilabel": lambda folder: write_sets(folder / "a.jsonl", sets(120)),
    "embed": lambda folder: write_scored(folder / "a.csv", 150),
    "choose": lambda folder: write_choices(folder / "a.jsonl", choices(120)),
}
SAYS = {
    "tag": ("accuracy of words", "95 % interval", "Most frequent mistakes", "by label"),
    "answer": ("exact match", "95 % interval", "Surest mistakes", "unanswerable"),
    "regress": ("Spearman", "95 % interval", "Largest errors", "RMSE of always the mean"),
    "multilabel": ("micro F1", "95 % interval", "Surest mistakes", "threshold"),
    "embed": ("Spearman", "95 % interval", "Furthest from their rank", "cosine"),
    "choose": ("by chance", "95 % interval", "Surest mistakes", "right option"),
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


def test_seeds_know_one_set_for_all_texts_and_one_place_for_all_choices_by_a_figure_that_is_zero():
    wanted = np.array([[True, False], [True, True], [False, False]] * 50)
    noise = np.random.default_rng(0).uniform(-1e-5, 1e-5, wanted.shape)
    for values, constant in ((np.array([0.7, 0.3]) + noise, True), (wanted * 0.5 + 0.2 + noise, False)):
        mcc = score_sets(crossed(values, wanted), wanted, ["a", "b"]).mcc
        assert (abs(mcc) < 1e-6) == constant
    assert "mcc" in CONSTANT
    assert scored_places([1, 1, 1, 1], [0, 1, 1, 2])[0].mcc == 0
    assert scored_places([1, 1, 1, 0], [0, 1, 1, 0])[0].mcc > 0.5


@pytest.mark.parametrize(("answers", "constant"), [(["", "", ""], True), (["Rome", "", "a cat"], False)])
def test_seeds_know_a_model_that_answers_every_question_alike_by_a_figure_that_is_zero(
    answers: list[str], constant: bool
):
    asked = [Question(str(n), "Where?", "In Rome, a cat.", (), "") for n, _ in enumerate(answers)]
    given = [SimpleNamespace(best=answer, margin=1.0) for answer in answers]
    settings = SimpleNamespace(unanswerable=False)
    task = SimpleNamespace(predict=lambda pairs, **_: given, settings=settings)
    figures = HeldOutQuestions(task, asked, [], [], 100).measure().figures  # type: ignore[arg-type]
    assert any(abs(figures[name]) < 1e-6 for name in CONSTANT if name in figures) == constant
