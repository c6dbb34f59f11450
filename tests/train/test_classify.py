"""A classifier from a table: what is chosen and told, what is kept, and what cannot be trained."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

import onehop
from onehop.data.labelled import SEPARATOR
from onehop.errors import ConfigError, DataError, LengthError, ModelError, Stopped
from onehop.files import Run
from onehop.tasks import load_package
from onehop.train import like, make_recipe, train
from onehop.train.classify import labels_of, loss_sum
from onehop.train.listener import Silent
from onehop.train.texts import counted
from tests.fixtures.labelled import reviews, write_reviews
from tests.fixtures.tiny import log_rows
from tests.train.test_resume import Stop, assert_same_run


class Heard(Silent):
    """Keeps what is told, and may end the run as a signal would."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def table(tmp_path: Path) -> str:
    return write_reviews(tmp_path / "rooms.csv", reviews(120))


def recipe(table: str, **changes: dict[str, Any]) -> Any:
    base: dict[str, Any] = {
        "data": {"train": [table]},
        "text": {"vocab_size": 320},
        "model": {"dim": 16, **({} if "architecture" in changes.get("model", {}) else {"hidden_dim": 16})},
        "train": {"max_updates": 4, "batch_tokens": 200, "evaluate_every": 2, "learning_rate": 1e-2},
    }
    tables = {name: {**base.get(name, {}), **changes.get(name, {})} for name in {**base, **changes}}
    return make_recipe({"task": "classify", **tables})


def packages(*runs: Path) -> list[dict[str, bytes]]:
    return [{path.name: path.read_bytes() for path in Run(run).model.iterdir()} for run in runs]


@pytest.mark.parametrize("architecture", ["recurrent", "hierarchical", "transformer"])
def test_a_classifier_learns_the_words_that_decide(architecture: str, tmp_path: Path):
    model = {"architecture": architecture, "dim": 32, **({} if architecture == "transformer" else {"hidden_dim": 32})}
    many = write_reviews(tmp_path / "many.csv", reviews(500))
    steps = {"max_updates": 80, "batch_tokens": 400, "evaluate_every": 80, "learning_rate": 4e-3}
    train(recipe(many, model=model, train=steps), tmp_path / "run")
    found = onehop.load_classifier(tmp_path / "run").predict([text for text, _ in reviews(60, seed=9)], long="cut")
    right = sum(one.label == label for one, (_, label) in zip(found, reviews(60, seed=9), strict=True))
    assert right >= 54


def test_what_was_chosen_is_told_and_stands_in_the_run_and_the_package(table: str, tmp_path: Path):
    heard = Heard()
    train(recipe(table, text={"max_length": 6, "long": "cut"}), tmp_path / "run", listener=heard)
    told = "\n".join(heard.lines)
    for part in ("texts from 'text', labels from 'label'", "2 labels (bad", "would be right in", "longer ones are cut"):
        assert part in told
    package = load_package(tmp_path / "run")
    assert package.manifest is not None
    assert package.record is not None
    assert package.manifest["labels"] == ["bad", "good"]
    assert package.manifest["lengths"] == {"text": 6}
    rows = {row["split"]: row for row in log_rows(tmp_path / "run") if row["kind"] == "truncation"}
    for split in ("train", "valid"):
        assert package.record["truncation"][split]["affected"] == rows[split]["affected"] > 0
        assert f"{rows[split]['affected']} of" in package.card
    assert f"valid: {rows['valid']['affected']} of" in told


def test_the_log_counts_texts(table: str, tmp_path: Path):
    train(recipe(table), tmp_path / "run")
    repeats = 3  # of held-out texts, each of which counts once
    rows = [json.loads(line) for line in Run(tmp_path / "run").log.read_text("utf-8").splitlines()]
    update = next(row for row in rows if row["kind"] == "update")
    evaluation = next(row for row in rows if row["kind"] == "evaluation")
    assert "texts_per_second" in update
    assert {"accuracy", "macro_f1", "texts"} <= set(evaluation)
    assert evaluation["texts"] == 24 - repeats
    assert 0 < update["num_targets"] <= 40


@pytest.mark.parametrize("packing", [False, True])
def test_a_resumed_run_is_the_same_to_the_bit(packing: bool, table: str, tmp_path: Path):
    steps = {
        "max_updates": 6,
        "batch_tokens": 200,
        "evaluate_every": 3,
        "save_every": 2,
        "packing": packing,
        "ema": 0.9,
    }
    wanted = recipe(table, train=steps, model={"dropout": 0.2, "word_dropout": 0.1})
    train(wanted, tmp_path / "whole")
    for stop in (1, 3, 4):
        with pytest.raises(Stopped):
            train(wanted, tmp_path / "parts", resume=True, listener=Stop(stop))
        torch.manual_seed(99)  # whatever happened in between
    train(wanted, tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_recipe_of_another_task_does_not_resume(table: str, tmp_path: Path):
    train(recipe(table), tmp_path / "run")
    other = make_recipe({"data": {"pairs": [table]}})
    with pytest.raises(ConfigError, match="a recipe of the task 'translation'; this run began with 'classify'"):
        train(other, tmp_path / "run", resume=True)


def test_the_run_can_be_repeated_from_its_package(table: str, tmp_path: Path):
    train(recipe(table), tmp_path / "run")
    train(like(tmp_path / "run"), tmp_path / "again")
    one, two = packages(tmp_path / "run", tmp_path / "again")
    assert one["model.safetensors"] == two["model.safetensors"]
    assert one["golden.jsonl"] == two["golden.jsonl"]


def test_a_classifier_can_be_continued(table: str, tmp_path: Path):
    train(recipe(table), tmp_path / "run")
    more = recipe(table, text={"vocab_size": None}, model={"dim": 16}, train={"init": str(tmp_path / "run")})
    train(more, tmp_path / "more")
    model = onehop.load_classifier(tmp_path / "more")
    assert model.tokenizer.to_json() == onehop.load_classifier(tmp_path / "run").tokenizer.to_json()
    wrong = recipe(table, text={"vocab_size": None}, model={"dim": 24}, train={"init": str(tmp_path / "run")})
    with pytest.raises(ConfigError, match=r"model\.dim = 24, but the model that train.init names has 16"):
        train(wrong, tmp_path / "wrong")


def test_a_translation_cannot_become_a_classifier(table: str, trained: Path, tmp_path: Path):
    with pytest.raises(ModelError, match="a model of the task 'translation', not 'classify'"):
        train(recipe(table, train={"init": str(trained)}), tmp_path / "run")


def test_labels_that_are_numbers_get_names_and_the_model_knows_both(tmp_path: Path):
    rows = [(text, str(int(label == "good"))) for text, label in reviews(120)]
    file = write_reviews(tmp_path / "rooms.csv", rows)
    train(recipe(file, data={"label_names": ["0=bad", "1=good"]}), tmp_path / "run")
    model = onehop.load_classifier(tmp_path / "run")
    assert model.labels == ("bad", "good")
    assert (model.label("1"), model.label("good")) == ("good", "good")
    with pytest.raises(DataError, match="the label '2', which the model does not know") as caught:
        model.label("2", "rooms.csv:row 7")
    assert caught.value.where == "rooms.csv:row 7"


def test_packed_rows_have_the_loss_of_padded_ones(table: str, tmp_path: Path):
    from onehop.train.classify import prepare

    losses: list[float] = []
    for packing in (False, True):
        steps = {"batch_tokens": 100_000, "packing": packing}
        ready = prepare(
            recipe(table, train=steps, model={"dropout": 0.0}, head={"dropout": 0.0}), tmp_path, lambda text: None
        )
        batch = next(ready.batches)
        assert (batch.source_segments is not None) == packing
        assert batch.num_targets == len(labels_of(batch)) == len(batch.pairs)
        losses.append(loss_sum(ready.task, ready.task.model.eval(), batch).item())
        ready.batches.close()
        torch.manual_seed(1)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert counted(batch).num_targets == batch.num_targets


def test_two_columns_of_text_are_one_input(tmp_path: Path):
    draw = random.Random(1)
    rows = [(f"It is {a}.", f"It is {b}.", "same" if a == b else "other")
            for a, b in ((draw.choice(["wet", "dry"]), draw.choice(["wet", "dry"])) for _ in range(80))]  # fmt: skip
    rows = [(f"{n}. {a}", b, label) for n, (a, b, label) in enumerate(rows)]
    file = tmp_path / "pairs.tsv"
    file.write_text("premise\thypothesis\tlabel\n" + "".join("\t".join(row) + "\n" for row in rows), "utf-8")
    train(recipe(str(file), text={"vocab_size": None}), tmp_path / "run")
    model = onehop.load_classifier(tmp_path / "run")
    assert model.settings.columns == ["premise", "hypothesis"]
    assert model.predict([("It is wet.", "It is dry.")])[0].label in ("same", "other")
    assert SEPARATOR in load_package(tmp_path / "run").golden[0]["source"]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([("A room.", "good"), ("A bath.", "good")], "one label only, 'good'"),
        ([(f"Room {n}.", f"label {n}") for n in range(120)], "96 labels of 96 texts"),
        ([("", "good"), ("A room.", "")], "no text with a label"),
    ],
)
def test_labels_that_cannot_be_learnt_are_told(rows: list[tuple[str, str]], problem: str, tmp_path: Path):
    with pytest.raises(DataError, match=problem) as caught:
        train(recipe(write_reviews(tmp_path / "rooms.csv", rows)), tmp_path / "run")
    assert caught.value.remedy
    assert not (tmp_path / "run").exists()


def test_what_looks_wrong_is_told_before_training(tmp_path: Path):
    rows = [*reviews(120), *((text, "good" if label == "bad" else "bad") for text, label in reviews(30))]
    heard = Heard()
    train(recipe(write_reviews(tmp_path / "rooms.csv", rows)), tmp_path / "run", listener=heard)
    assert any("(label-conflict" in line for line in heard.lines)
    quiet = Heard()
    unchecked = recipe(str(tmp_path / "rooms.csv"), data={"check": False})
    train(unchecked, tmp_path / "quiet", listener=quiet)
    assert not any("label-conflict" in line for line in quiet.lines)


def test_an_unknown_label_for_validation_is_told(table: str, tmp_path: Path):
    valid = write_reviews(tmp_path / "valid.csv", [("A room.", "fair")])
    with pytest.raises(DataError, match=r"valid\.csv:2: a text for validation has the label 'fair'"):
        train(recipe(table, data={"valid": [valid]}), tmp_path / "run")


def test_long_texts_are_an_error_where_the_user_set_the_limit(table: str, tmp_path: Path):
    with pytest.raises(LengthError, match="longer than the model's limit of 6"):
        train(recipe(table, text={"max_length": 6}), tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model": {"hidden_dim": 15}}, "hidden_dim=15 must be even"),
        ({"model": {"architecture": "recurent"}}, "did you mean 'recurrent'"),
        ({"model": {"num_heads": 3}}, "model.num_heads: unknown key"),
        ({"head": {"pooling": "sum"}}, "head.pooling"),
        ({"data": {"label_names": ["good"]}}, "each must be VALUE=NAME"),
        ({"train": {"r_drop": 1.0, "class_weights": "balanced"}}, "r_drop and class_weights do not go together"),
        ({"train": {"best": "bleu"}}, "train.best"),
        ({"decode": {"beam_size": 2}}, "decode: unknown key"),
        ({"model": {"architecture": "hierarchical"}, "train": {"packing": True}}, "not as packed texts"),
        ({"model": {"architecture": "hierarchical"}, "text": {"sentences": False}}, "reads sentences"),
    ],
)
def test_recipes_that_make_no_classifier_are_told(
    changes: dict[str, dict[str, Any]], problem: str, table: str, tmp_path: Path
):
    with pytest.raises(ConfigError) as caught:
        train(recipe(table, **changes), tmp_path / "run")
    assert problem in str(caught.value)


def test_a_task_that_cannot_be_trained_is_told():
    with pytest.raises(ConfigError, match="unknown task 'clasify'") as caught:
        make_recipe({"task": "clasify", "data": {"train": ["x.csv"]}})
    assert "classify" in caught.value.remedy
