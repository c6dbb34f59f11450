"""A regressor from a table: pairs with scores, what is told of the numbers, and what cannot be trained."""

import json
import random
from pathlib import Path

import pytest
import torch

from onehop.data import evaluation_batches
from onehop.errors import DataError
from onehop.tasks import load_package
from onehop.train import make_recipe, train
from onehop.train.regress import Numbers, loss_sum, numbers_of
from onehop.train.texts import counted
from tests.fixtures.labelled import regressor
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "checkpoints" / "BertModel"
SHORT = ["--set", "train.max_updates=3", "--set", "train.evaluate_every=3"]


def write_pairs(path: Path, count: int, shift: float = 0.0) -> Path:
    """Write pairs of sentences; the score is how many of three words they share."""
    draw = random.Random(3)
    lines = ["first_sentence,second_sentence,score"]
    for _ in range(count):
        one, other = (draw.choices(["cat", "dog", "mat", "rug", "sat"], k=3) for _ in range(2))
        lines.append(f"{' '.join(one)},{' '.join(other)},{shift + len(set(one) & set(other)):.1f}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regress")
    table = write_pairs(folder / "pairs.csv", 80)
    done = command("train", "--task", "regress", "--data", table, "--init", CHECKPOINT, "--out", folder / "run", *SHORT)
    assert done.status == 0, done.err
    assert "numbers from 0 to 3" in done.err
    return folder / "run"


def test_a_pair_is_read_as_two_texts_and_gets_a_number(run: Path):
    model = load_package(run, task="regress").task
    assert model.settings.columns == ["first_sentence", "second_sentence"]
    row = model.encode([("cat sat", "dog")])[0]
    source = model.source(torch.tensor([[*row, 2]]), torch.tensor([len(row) + 1]))
    assert source.types[0].tolist() == [0, 0, 0, 0, 1, 1]  # [CLS] cat sat [SEP] dog [SEP]
    one, other = model.predict([("cat sat", "dog"), ("", "")])
    assert isinstance(one.value, float)
    assert other.value is None
    alone = model.predict([("cat sat", "dog")])[0].value
    assert alone == pytest.approx(one.value, abs=1e-5)


def test_it_predicts_evaluates_and_verifies_from_the_command_line(run: Path):
    table = run.parent / "pairs.csv"
    predicted = command("predict", run, table)
    rows = [json.loads(line) for line in predicted.out.splitlines()]
    assert len(rows) == 80
    assert set(rows[0]) == {"value", "dropped", "cut", "windows", "lost"}
    theirs = run.parent / "theirs.jsonl"
    theirs.write_text(predicted.out)
    report = json.loads(command("evaluate", run, "--data", table, "--json", "--against", theirs).out)
    assert report["texts"] == 80
    assert -1 <= report["spearman"] <= 1
    assert report["mean_rmse"] > 0
    assert report["against"]["spearman_difference"] == pytest.approx(0, abs=1e-3)
    assert command("verify", run, "--data", table).status == 0


def test_what_is_dropped_counts_as_the_mean_and_is_told_by_both_commands(run: Path, tmp_path: Path):
    """`evaluate --long drop` was refused; and a model must not look better without its worst texts."""
    table = write_pairs(tmp_path / "pairs.csv", 30)
    limit = load_package(run).task.settings.text.max_length
    with table.open("a") as stream:
        stream.writelines(f"{'cat ' * limit},dog,{score}\n" for score in (3.0, 2.0))
    refused(command("evaluate", run, "--data", table), f"{table}:32", "--long drop")
    done = command("evaluate", run, "--data", table, "--long", "drop", "--json", "--output", tmp_path / "ours.txt")
    report = json.loads(done.out)
    mean = load_package(run).task.settings.mean
    counts = [report[name] for name in ("texts", "dropped", "without", "counted_as")]
    assert counts == [32, 2, 2, pytest.approx(mean, abs=1e-4)]
    kept = write_pairs(tmp_path / "kept.csv", 30)
    alone = json.loads(command("evaluate", run, "--data", kept, "--json").out)
    assert alone["without"] == 0
    assert report["others"] == {name: alone[name] for name in ("pearson", "spearman", "rmse", "mae")}
    errors = 30 * alone["rmse"] ** 2 + (3 - mean) ** 2 + (2 - mean) ** 2
    assert report["rmse"] == pytest.approx((errors / 32) ** 0.5, abs=1e-3)
    assert (tmp_path / "ours.txt").read_text().splitlines()[-2:] == ["null", "null"]
    predicted = command("predict", run, table, "--long", "drop", "-o", tmp_path / "theirs.jsonl")
    assert "2 texts were too long and left out" in predicted.err
    for theirs in ("ours.txt", "theirs.jsonl"):
        again = command("evaluate", run, "--data", table, "--long", "drop", "--against", tmp_path / theirs, "--json")
        against = json.loads(again.out)["against"]
        assert (against["without"], against["p"]) == (2, 1)
        assert against["spearman"] == pytest.approx(report["spearman"], abs=1e-4)
    told = command("evaluate", run, "--data", table, "--long", "drop", "--against", tmp_path / "ours.txt").out
    assert told.count("2 texts got no number") == 2
    assert f"count as the mean of the training numbers, {mean:.4g}; of the others Spearman" in told
    assert "2 texts were too long and left out" in told


def test_a_regressor_that_drops_every_text_is_scored_as_the_mean(run: Path, tmp_path: Path):
    table = tmp_path / "long.csv"
    limit = load_package(run).task.settings.text.max_length
    rows = "".join(f"{'cat ' * limit},dog,{n}\n" for n in range(3))
    table.write_text(f"first_sentence,second_sentence,score\n{rows}")
    report = json.loads(command("evaluate", run, "--data", table, "--long", "drop", "--json").out)
    assert (report["without"], report["others"], report["spearman"]) == (3, None, 0)


def test_numbers_of_any_scale_are_learnt(tmp_path: Path):
    table = write_pairs(tmp_path / "pairs.csv", 300, shift=5000.0)
    recipe = make_recipe({
        "task": "regress", "data": {"train": [str(table)]},
        "model": {"dim": 32, "hidden_dim": 32}, "head": {"dropout": 0.0},
        "train": {"max_updates": 80, "batch_tokens": 500, "evaluate_every": 80, "learning_rate": 5e-3},
    })  # fmt: skip
    train(recipe, tmp_path / "run")
    found = load_package(tmp_path / "run").task.predict([("cat cat cat", "dog dog dog")])[0].value
    assert 4998 < found < 5004
    last = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    evaluation = next(row for row in last if row["kind"] == "evaluation")
    assert evaluation["rmse"] < 1.5


def test_the_loss_is_the_squared_error_in_deviations():
    task = regressor()
    task.model.eval()
    texts, wanted = ["The room was lovely.", "The bath was dirty."], ["4.25", "-1"]
    rows = task.documents.encode_batch(texts)
    batch = counted(next(evaluation_batches(rows, Numbers().encode_batch(wanted), 1 << 20)))
    values = task.values(rows)
    expected = (((values - torch.tensor([4.25, -1.0])) / task.settings.deviation) ** 2).sum()
    assert loss_sum(task, task.model, batch).item() == pytest.approx(expected.item(), rel=1e-5)
    tokens = torch.tensor(Numbers().encode_batch(["-0.1", "3e9", "1e-20"]))[:, 0]
    assert numbers_of(tokens).tolist() == pytest.approx([-0.1, 3e9, 1e-20], rel=1e-6)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (["a,b,1", "c,d,nan"], "'nan' is not a finite number"),
        (["a,b,1", "c,d,high"], "'high' is not a finite number"),
        (["a,b,1", "c,d,1e200"], "1e200 is beyond 1e[+]18"),
        (["a,b,1", "c,d,1.0"], "one number only, 1"),
    ],
)
def test_numbers_that_cannot_be_learnt_are_told(rows: list[str], problem: str, tmp_path: Path):
    table = tmp_path / "pairs.csv"
    table.write_text("\n".join(["first_sentence,second_sentence,score", *rows]))
    with pytest.raises(DataError, match=problem):
        train(make_recipe({"task": "regress", "data": {"train": [str(table)]}}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_task_is_refused_by_name(run: Path, tmp_path: Path):
    table = write_pairs(tmp_path / "pairs.csv", 30)
    done = command("train", "--task", "classify", "--data", table, "--init", run, "--out", tmp_path / "x")
    refused(done, "a model of the task 'regress', not 'classify'")
