"""What keeps a classifier honest: calibration, abstaining, weights of labels, warnings, and the report."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import onehop
from onehop.data import evaluation_batches
from onehop.data.labelled import open_labelled
from onehop.evaluate import evaluate_labels
from onehop.metrics.calibration import threshold_for
from onehop.train import like, make_recipe, train
from onehop.train.classify import balanced, loss_sum
from onehop.train.labels import LabelIds, judged
from onehop.train.listener import Silent
from onehop.train.texts import counted
from tests.fixtures.labelled import classifier, reviews, write_reviews
from tests.fixtures.tiny import onehop as command


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("safe")
    other = {"good": "bad", "bad": "good"}
    files: list[str] = []
    for seed in (1, 7):
        rows = enumerate(reviews(300, seed, sentences=2))
        noisy = [(text, label if n % 5 else other[label]) for n, (text, label) in rows]
        files.append(write_reviews(folder / f"rooms{seed}.csv", noisy))
    recipe = make_recipe({
        "task": "classify", "data": {"train": files[:1], "valid": files[1:], "check": False},
        "text": {"vocab_size": 320}, "model": {"dim": 16, "hidden_dim": 16},
        "train": {"max_updates": 60, "batch_tokens": 300, "evaluate_every": 60, "learning_rate": 1e-2,
                  "answer_accuracy": 0.85},
    })  # fmt: skip
    train(recipe, folder / "run")
    return folder / "run"


def test_the_temperature_stands_in_the_package_and_every_probability_is_at_it(run: Path):
    model = onehop.load_classifier(run)
    assert model.settings.temperature != 1.0
    rows = model.encode(["The room was lovely."])
    expected = (model.scores(rows) / model.settings.temperature).softmax(-1)[0]
    [found] = model.predict(["The room was lovely."])
    assert list(found.scores.values()) == pytest.approx(expected.tolist(), abs=1e-6)
    card = (run / "model/MODEL_CARD.md").read_text()
    assert f"at temperature {model.settings.temperature:g}" in card


def test_a_text_that_is_not_sure_enough_gets_no_label(run: Path):
    model = onehop.load_classifier(run)
    texts = [text for text, _ in reviews(30, seed=5, sentences=1)]
    model.settings = model.settings.model_copy(update={"threshold": 0.0})
    every = model.predict(texts)
    least = sorted(max(one.scores.values()) for one in every)[10]
    model.settings = model.settings.model_copy(update={"threshold": least})
    found = model.predict(texts)
    assert [one.abstained for one in found] == [max(one.scores.values()) < least for one in every]
    assert all((one.label is None) == one.abstained for one in found)
    report = evaluate_labels(model, texts, [label for _, label in reviews(30, seed=5, sentences=1)])
    assert report.to_dict()["abstained"] == sum(one.abstained for one in found) > 0


def test_the_threshold_was_chosen_on_validation_and_predict_obeys_it(run: Path):
    model = onehop.load_classifier(run)
    assert 0 < model.settings.threshold <= 1
    done = command("predict", run, run.parent / "rooms7.csv")
    rows = [json.loads(line) for line in done.out.splitlines()]
    for row in rows:
        assert row["abstained"] == (row["label"] is None)
        assert row["abstained"] == (max(row["scores"].values()) < model.settings.threshold)


def test_the_report_is_one_page_about_the_validation_texts(run: Path):
    page = (run / "report.html").read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    for part in (
        "95 % interval",
        "the best by accuracy",
        "always the most frequent label",
        "Surest mistakes",
        "calibration error",
        "Confusion",
    ):
        assert part in page
    assert "http" not in page
    texts = {row.texts[0] for row in open_labelled(run.parent / "rooms7.csv").rows}
    assert any(text in page for text in texts)


def test_labels_that_are_rare_or_nearly_all_are_told_before_training(tmp_path: Path):
    rows = [(f"{n} {text}", "good") for n, (text, _) in enumerate(reviews(100))]
    rows += [(text, "bad") for text, _ in reviews(3, seed=4)]
    heard = Heard()
    recipe = make_recipe({
        "task": "classify", "data": {"train": [write_reviews(tmp_path / "rooms.csv", rows)]},
        "train": {"max_updates": 1, "class_weights": "balanced"},
    })  # fmt: skip
    train(recipe, tmp_path / "run", listener=heard)
    told = "\n".join(heard.lines)
    assert "fewer than 5 training texts have the label 'bad'" in told
    assert "of the texts have the label 'good'" in told


@pytest.mark.parametrize(
    ("counts", "asked", "best", "weights"),
    [
        ((50, 50), {}, "accuracy", "none"),
        ((66, 34), {}, "accuracy", "none"),
        ((70, 30), {}, "mcc", "balanced"),
        ((70, 30), {"class_weights": "none"}, "mcc", "none"),
        ((70, 30), {"best": "accuracy"}, "accuracy", "none"),
        ((70, 30), {"best": "accuracy", "class_weights": "balanced"}, "accuracy", "balanced"),
        ((70, 30), {"r_drop": 1.0}, "mcc", "none"),
        ((995, 5), {}, "mcc", "none"),  # five texts would count two hundred times as much
        ((70, 30, 0), {}, "mcc", "balanced"),  # the last is of the model that is continued
        ((40, 30, 30), {"best": "macro_f1"}, "macro_f1", "balanced"),
    ],
)
def test_labels_count_alike_where_the_figure_counts_them_alike(
    counts: tuple[int, ...], asked: dict[str, object], best: str, weights: str
):
    recipe = make_recipe({"task": "classify", "data": {"train": ["rooms.csv"]}, "train": asked})
    heard = Heard()
    found = judged(recipe, dict(zip("abc", counts, strict=False)), heard.tell).train
    assert (found.best, found.class_weights) == (best, weights)
    told = "\n".join(heard.lines)
    assert ("MCC decides" in told) == ("best" not in asked and best == "mcc")
    assert ("counts alike" in told) == ("class_weights" not in asked and weights == "balanced")


def test_a_run_like_a_model_on_other_texts_tells_what_the_labels_of_that_one_had_decided(run: Path, tmp_path: Path):
    other = write_reviews(tmp_path / "other.csv", reviews(80, seed=3))
    heard = Heard()
    recipe = like(run, {"train": [other]}, tell=heard.tell)
    [told] = [line for line in heard.lines if line.startswith("like: kept")]
    assert f"train.best = {recipe.train.best!r}" in told
    assert f"train.class_weights = {recipe.train.class_weights!r}" in told
    heard.lines.clear()
    like(run, {"train": [other]}, ["train.best=loss"], tell=heard.tell)
    [told] = [line for line in heard.lines if line.startswith("like: kept")]
    assert "train.best" not in told
    assert "train.class_weights" in told
    heard.lines.clear()
    like(run, {"train": [other]}, ["train.best=loss", "train.class_weights=none"], tell=heard.tell)
    like(run, tell=heard.tell)
    assert not [line for line in heard.lines if line.startswith("like: kept")]


@torch.inference_mode()
def test_a_text_counts_by_its_own_label_whatever_smoothing_spreads():
    task = classifier("recurrent")
    task.model.eval()
    rows = reviews(6, seed=2)
    ids = LabelIds(task.labels, {}, "").encode_batch([label for _, label in rows])
    batch = counted(next(evaluation_batches(task.documents.encode_batch([t for t, _ in rows]), ids, 1 << 20)))
    weights = torch.tensor([0.25, 1.75])[: len(task.labels)]
    each = []
    for row, own in zip(task.documents.encode_batch([t for t, _ in rows]), ids, strict=True):
        one = counted(next(evaluation_batches([row], [own], 1 << 20)))
        each.append(float(weights[own[0]]) * float(loss_sum(task, task.model, one, smoothing=0.1)))
    found = float(loss_sum(task, task.model, batch, smoothing=0.1, weights=weights))
    assert found == pytest.approx(sum(each), rel=1e-5)


def test_labels_that_count_alike_and_smoothing_leave_the_frequent_label_alive(tmp_path: Path):
    rows = [
        (f"{'bad awful' if n % 16 == 0 else 'good lovely'} film {n}", "neg" if n % 16 == 0 else "pos")
        for n in range(320)
    ]
    recipe = make_recipe({
        "task": "classify", "data": {"train": [write_reviews(tmp_path / "a.csv", rows)], "check": False},
        "model": {"dim": 16, "hidden_dim": 16}, "text": {"vocab_size": 300},
        "train": {"max_updates": 60, "batch_tokens": 300, "learning_rate": 1e-2, "label_smoothing": 0.1,
                  "evaluate_every": 60},
    })  # fmt: skip
    heard = Heard()
    train(recipe, tmp_path / "run", listener=heard)
    found = [label.label for label in onehop.load(tmp_path / "run").predict([text for text, _ in rows])]
    right = sum(one == label for one, (_, label) in zip(found, rows, strict=True)) / len(rows)
    assert right > 0.95


def test_a_threshold_rests_on_more_than_a_handful_of_texts():
    sure = np.log(np.array([[0.99, 0.01]] * 8 + [[0.6, 0.4]] * 60))
    wanted = np.array([0] * 8 + [0, 1] * 30)
    assert threshold_for(sure, wanted, 0.95) is None
    assert threshold_for(sure, wanted, 0.95, fewest=8) == pytest.approx(0.99, abs=1e-3)


@pytest.mark.parametrize("packed", [False, True])
def test_r_drop_without_dropout_is_the_loss_and_weights_of_one_change_nothing(packed: bool):
    task = classifier("recurrent")
    task.model.eval()
    rows = reviews(6, seed=2)
    labels = LabelIds(task.labels, {}, "").encode_batch([label for _, label in rows])
    batch = counted(next(evaluation_batches(task.documents.encode_batch([t for t, _ in rows]), labels, 1 << 20)))
    if packed:
        from onehop.data import Pair, PairStore, TrainingBatches

        store = PairStore()
        store.add([Pair(text, label) for text, label in rows], "rooms")
        batches = TrainingBatches(
            store, task.documents, LabelIds(task.labels, {}, ""), batch_tokens=60, max_length=40, long_policy="cut",
            seed=1, packing=True, finish=counted,
        )  # fmt: skip
        batch = next(batches)
        batches.close()
    plain = loss_sum(task, task.model, batch).item()
    assert loss_sum(task, task.model, batch, r_drop=1.0).item() == pytest.approx(plain, rel=1e-5)
    assert loss_sum(task, task.model, batch, weights=torch.ones(3)).item() == pytest.approx(plain, rel=1e-5)
    assert balanced([1, 1, 2]).tolist() == pytest.approx([4 / 3, 4 / 3, 2 / 3])
