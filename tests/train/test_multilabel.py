"""Multi-label classifiers from a table: lists and separators, texts without a label, thresholds, what is refused."""

import json
import random
from pathlib import Path

import pytest

from onehop.data.labelled import LabelColumns, open_labelled
from onehop.errors import DataError
from onehop.tasks import load_package
from onehop.tasks.foreign import save_checkpoint
from onehop.train import make_recipe
from onehop.train.multilabel import with_separator
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "checkpoints" / "BertModel"
SHORT = ["--set", "train.max_updates=60", "--set", "train.evaluate_every=30"]
WORDS = {"animal": ["cat", "dog"], "floor": ["mat", "rug"], "done": ["sat", "ran"]}


def rows(count: int, seed: int = 1) -> list[tuple[str, list[str]]]:
    """Return texts of a few words with what their words are about; some of nothing."""
    draw = random.Random(seed)
    found: list[tuple[str, list[str]]] = []
    for _ in range(count):
        labels = [label for label in WORDS if draw.random() < 0.4]
        words = ["the", "big", *(draw.choice(WORDS[label]) for label in labels)]
        draw.shuffle(words)
        found.append((" ".join(words), labels))
    return found


def write(path: Path, found: list[tuple[str, list[str]]]) -> Path:
    """Write a table, in the form that its ending says: lists, or labels with a bar between."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": text, "labels": labels}) + "\n" for text, labels in found))
    else:
        path.write_text("text,labels\n" + "".join(f"{text},{'|'.join(labels)}\n" for text, labels in found))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("multilabel")
    train, valid = write(folder / "train.jsonl", rows(200)), write(folder / "valid.csv", rows(150, 2))
    done = command(
        "train", "--task", "multilabel", "--data", train, "--valid", valid, "--out", folder / "run", *SHORT, "--set",
        "data.label_separator=|",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "3 labels (animal" in done.err
    assert "none for" in done.err
    write(folder / "test.csv", rows(60, 3))
    return folder / "run"


def test_it_learns_sets_and_stores_thresholds_by_name(run: Path):
    task = load_package(run, task="multilabel").task
    assert task.labels == ("animal", "done", "floor")
    assert set(task.settings.thresholds) == set(task.labels)
    assert task.settings.separator == "|"
    both, none, empty = task.predict(["the cat sat", "the big", " "])
    assert set(both.labels) == {"animal", "done"}
    assert none.labels == ()
    assert (empty.labels, empty.scores) == (None, {})
    assert sum(both.scores.values()) > 1.2  # probabilities of labels that do not exclude each other
    alone = task.predict(["the cat sat"])[0].scores
    assert alone == pytest.approx(both.scores, abs=1e-5)


def test_it_predicts_evaluates_and_verifies_from_the_command_line(run: Path):
    predicted = command("predict", run, "-", stdin=b"the cat sat\n\nthe big\n")
    assert predicted.status == 0, predicted.err
    lines = [json.loads(line) for line in predicted.out.splitlines()]
    assert [line["labels"] for line in lines] == [["animal", "done"], None, []]
    assert "1 texts are empty" in predicted.err
    test = run.parent / "test.csv"
    report = json.loads(command("evaluate", run, "--data", test, "--json").out)
    assert report["micro_f1"] > 0.9
    assert report["micro_f1_interval"][0] <= report["micro_f1"] <= report["micro_f1_interval"][1]
    assert report["majority"] < report["exact"]
    assert [one["label"] for one in report["by_label"]] == ["animal", "done", "floor"]
    shown = command("evaluate", run, "--data", test, "--against", run, "-o", run.parent / "out.txt")
    for part in ("micro F1", "exact match", "by label", "always the usual set", "+0.0 exact matches, p = 1.000"):
        assert part in shown.out
    again = command("evaluate", run, "--data", test, "--against", run.parent / "out.txt", "--json")
    assert json.loads(again.out)["against"]["p"] == 1
    assert command("verify", run).status == 0
    page = (run / "report.html").read_text()
    assert "threshold" in page
    assert "exact match" in page
    card = (run / "model" / "MODEL_CARD.md").read_text()
    assert "micro F1" in card


def test_it_begins_with_a_checkpoint_of_transformers_and_becomes_one_again(run: Path, tmp_path: Path):
    begun = command(
        "train", "--task", "multilabel", "--data", run.parent / "train.jsonl", "--init", CHECKPOINT, "--out",
        tmp_path / "run", "--set", "train.max_updates=1",
    )  # fmt: skip
    assert begun.status == 0, begun.err
    task = load_package(tmp_path / "run").task
    assert save_checkpoint(task, tmp_path / "hf") == "BertForSequenceClassification"
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    again = load_package(tmp_path / "hf").task
    assert again.task == "multilabel"
    assert again.predict(["the cat sat"])[0].scores == pytest.approx(task.predict(["the cat sat"])[0].scores, abs=1e-6)


def test_a_run_goes_on_with_the_labels_it_has(run: Path, tmp_path: Path):
    more = command(
        "train", "--task", "multilabel", "--data", write(tmp_path / "more.jsonl", rows(40, 5)), "--init", run, "--out",
        tmp_path / "more", "--set", "train.max_updates=1",
    )  # fmt: skip
    assert more.status == 0, more.err
    assert load_package(tmp_path / "more").task.labels == ("animal", "done", "floor")
    other = write(tmp_path / "other.jsonl", [*rows(40, 5), *[(f"the cat {n}", ["beast"]) for n in range(9)]])
    refused(
        command(
            "train",
            "--task",
            "multilabel",
            "--data",
            other,
            "--init",
            run,
            "--out",
            tmp_path / "other",
            "--valid",
            run.parent / "valid.csv",
            "--set",
            "data.label_separator=|",
        ),
        "the labels beast, which the model that train.init names does not know",
    )


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [("a;b", ["a", "b"]), ("", []), ("b; a;;b", ["a", "b"]), ('["a;b"]', ["a;b"]), ("a", ["a"]), ("[]", [])],
)
def test_a_cell_holds_any_number_of_labels(tmp_path: Path, cell: str, wanted: list[str]):
    quoted = cell.replace('"', '""')
    (tmp_path / "t.csv").write_text(f'text,label\nHello.,"{quoted}"\n')
    columns = LabelColumns(many=True, separator=";")
    assert [json.loads(row.label) for row in open_labelled(tmp_path / "t.csv", columns).rows] == [wanted]


def test_a_list_that_holds_no_names_is_an_error_with_its_line(tmp_path: Path):
    (tmp_path / "t.jsonl").write_text('{"text": "a", "labels": ["x"]}\n{"text": "b", "labels": [1.5]}\n')
    with pytest.raises(DataError, match="a list of labels that holds a float") as told:
        list(open_labelled(tmp_path / "t.jsonl", LabelColumns(many=True)).rows)
    assert told.value.where.endswith("t.jsonl:2")


def test_what_cannot_be_learnt_or_scored_is_one_message(run: Path, tmp_path: Path):
    def train(name: str, found: list[tuple[str, list[str]]], *more: str) -> object:
        table = write(tmp_path / f"{name}.jsonl", found)
        return command("train", "--task", "multilabel", "--data", table, "--out", tmp_path / name, *more)

    refused(train("none", [(text, []) for text, _ in rows(30)]), "no text has a label")
    refused(train("drop", rows(30), "--set", "train.r_drop=1"), "r_drop")
    valid = write(tmp_path / "held.jsonl", [("the cat", ["beast"])])
    refused(
        train("valid", rows(30), "--valid", str(valid)), "a text for validation has the label 'beast'", f"{valid}:1"
    )
    single = command("train", "--task", "classify", "--data", run.parent / "train.jsonl", "--out", tmp_path / "single")
    refused(single, "'labels' is a list, not a string", "--task multilabel")
    unknown = write(tmp_path / "unknown.csv", [("the cat", ["animal"]), ("the dog", ["animal", "beast"])])
    refused(
        command("evaluate", run, "--data", unknown), "the label 'beast', which the model does not know", f"{unknown}:3"
    )
    (tmp_path / "theirs.txt").write_text("animal\n")
    bad = command("evaluate", run, "--data", run.parent / "test.csv", "--against", tmp_path / "theirs.txt")
    refused(bad, "not a set of labels", "theirs.txt:1")


def test_people_are_told_of_the_separator_and_of_labels_that_exclude_each_other(tmp_path: Path):
    (tmp_path / "t.csv").write_text(
        "text,label\n" + "".join(f"the cat {n},{'a' if n % 2 else 'b'}\n" for n in range(40))
    )
    (tmp_path / "u.csv").write_text(
        "text,label\n" + "".join(f"the cat {n},{'a;b' if n % 2 else 'b'}\n" for n in range(40))
    )
    short = ["--set", "train.max_updates=1"]
    one = command("train", "--task", "multilabel", "--data", tmp_path / "t.csv", "--out", tmp_path / "one", *short)
    assert "every text has one label: --task classify" in one.err
    two = command("train", "--task", "multilabel", "--data", tmp_path / "u.csv", "--out", tmp_path / "two", *short)
    assert "labels are divided at ';' (data.label_separator)" in two.err
    assert "more than 90 % of the texts have the label 'b'" in two.err
    assert "thresholds: one half for every label" in two.err
    rows = "".join(f"the cat {n},{('a', 'b', 'a;b', 'b; a')[n % 4]}\n" for n in range(40))
    (tmp_path / "v.csv").write_text("text,label\n" + rows)
    three = command("train", "--task", "classify", "--data", tmp_path / "v.csv", "--out", tmp_path / "three", *short)
    assert "'a;b' looks like several labels: --task multilabel" in three.err


def test_a_table_with_lists_of_labels_is_predicted_and_verified_on(run: Path, tmp_path: Path):
    table = write(tmp_path / "rows.jsonl", rows(20, 4))
    found = command("predict", run, table)
    assert (found.status, found.out.count("\n")) == (0, 20), found.err
    assert command("verify", run, "--data", table).status == 0


def test_lists_and_cells_with_a_mark_in_one_file_are_read_as_the_doctor_reads_them(tmp_path: Path):
    """Training did not divide cells of a file in which some row had a list, or that came late; the doctor did."""
    mixed = tmp_path / "mixed.jsonl"
    made = [{"text": f"{text} {n}", "label": labels} for n, (text, labels) in enumerate(rows(1_200))]
    for row in made[1_000:]:
        row["label"] = ";".join(row["label"])
    mixed.write_text("".join(json.dumps(row) + "\n" for row in made))
    checked = json.loads(command("data", "check", "--data", mixed, "--json").out)
    assert checked["columns"]["label separator"] == [";"]
    assert not [one for one in checked["findings"] if one["name"].startswith("label")]
    done = command(
        "train", "--task", "multilabel", "--data", mixed, "--out", tmp_path / "run",
        *["--set", "train.max_updates=2", "--set", "train.evaluate_every=2"],
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "labels are divided at ';'" in done.err
    task = load_package(tmp_path / "run").task
    assert (task.labels, task.settings.separator) == (("animal", "done", "floor"), ";")


def test_a_mark_inside_a_label_does_not_divide_where_another_divides_labels(tmp_path: Path):
    """Training took the first mark that some cell had, and the doctor the one that cells are made of."""
    table = tmp_path / "rooms.csv"
    cells = ["warm;dark", "dark;wet", "warm", "dark", "wet", "in|out"] * 20
    table.write_text("text,label\n" + "".join(f"room {n},{cell}\n" for n, cell in enumerate(cells)))
    assert json.loads(command("data", "check", "--data", table, "--json").out)["columns"]["label separator"] == [";"]
    given = {"task": "multilabel", "data": {"train": [str(table)]}}
    assert with_separator(make_recipe(given), lambda line: None).data.label_separator == ";"
