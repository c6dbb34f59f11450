"""Every verb tells the place of a row as an editor counts lines, whatever the form of the table."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onehop.data import PairStore, hold_out
from onehop.data.check import check_labels
from onehop.data.labelled import open_labelled
from onehop.tasks import new_package, save_package
from tests.fixtures.labelled import classifier, reviews, write_reviews
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused
from tests.laws.packages import every_package

LONG = "The room was lovely. " * 12
ROWS = [("The bed\nwas warm.", "good"), *dict.fromkeys(reviews(8, seed=4)), (LONG, "bad")]
LAST = len(ROWS) + 2  # its line in CSV: the first is the header, and the second row takes two


def quoted(path: Path) -> str:
    text = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in ROWS)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return f"{path}:{LAST}"


def tabs(path: Path) -> str:
    rows = [(text.replace("\n", " "), label) for text, label in ROWS]
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows), "utf-8")
    return f"{path}:{len(ROWS) + 1}"


def lines(path: Path) -> str:
    rows = [json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS]
    path.write_text("".join(rows), "utf-8")
    return f"{path}:{len(ROWS)}"


def columns(path: Path) -> str:
    texts, labels = zip(*ROWS, strict=True)
    pq.write_table(pa.table({"text": texts, "label": labels}), path)
    return f"{path}:row {len(ROWS)}"


FORMS = {"a.csv": quoted, "a.csv.gz": quoted, "a.tsv": tabs, "a.jsonl": lines, "a.parquet": columns}


@pytest.mark.parametrize(("name", "write"), FORMS.items(), ids=list(FORMS))
def test_a_long_text_has_one_place_in_every_verb_and_in_the_doctor(
    name: str, write: Callable[[Path], str], tmp_path: Path
):
    save_package(new_package(classifier(), [ROWS[1][0]], ""), tmp_path / "model")
    place = write(tmp_path / name)
    data, model = tmp_path / name, tmp_path / "model"
    for words in (("predict", model, data), ("evaluate", model, "--data", data), ("verify", model, "--data", data)):
        refused(command(*words), place, "longer than the model's limit")
    settings = ["--set", "text.max_length=30", "--set", "data.check=false"]
    train = ["train", "--task", "classify", "--out", tmp_path / "run", *settings, "--data"]
    refused(command(*train, data), place, "text.max_length")
    table = open_labelled(data)
    stand = [table.where(row) for row in table.rows if row.label]
    assert stand[-1] == place
    doubled = next(one for one in check_labels(data, others={"test": data}).findings if one.name == "overlap")
    assert doubled.lines == stand[: len(doubled.lines)] != []


@pytest.mark.parametrize("own", [False, True])
def test_a_text_for_validation_is_told_by_its_line_in_the_file_it_is_from(own: bool, tmp_path: Path):
    rows = list(dict.fromkeys((f'"{text}\n{n}"', label) for n, (text, label) in enumerate(reviews(40))))
    data, held = (
        write_reviews(tmp_path / "a.csv", rows),
        write_reviews(tmp_path / "v.csv", [rows[0], ("A bed.", "bad")]),
    )
    words = ["train", "--task", "classify", "--data", data, "--out", tmp_path / "run", "--set", "text.max_length=3"]
    words += ["--long", "cut", "--set", "train.max_updates=1", *(["--valid", held] if own else [])]
    store = PairStore()
    store.add_numbered(open_labelled(data).numbered(), data)
    first = f"{held}:2" if own else store.where(int(hold_out(store).held[0])).source
    assert f"(first {first}," in next(line for line in command(*words).err.splitlines() if line.startswith("valid: "))


def test_the_surest_mistakes_are_told_by_file_and_line(tmp_path: Path):
    save_package(new_package(classifier(), [ROWS[1][0]], ""), tmp_path / "model")
    (tmp_path / "a.csv").write_text(
        "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in ROWS[:-1]), "utf-8"
    )
    words = ["evaluate", tmp_path / "model", "--data", tmp_path / "a.csv"]
    told = json.loads(command(*words, "--json").out)["mistakes"]
    assert told
    assert all(one["where"] == f"{tmp_path}/a.csv:{one['row'] + (2 if one['row'] > 1 else 1)}" for one in told)
    assert told[0]["where"] in command(*words).out.replace("\n", "")


WORDS = "the cat sat on the mat " * 60
OTHERS = {
    "tag": ("a.conll", lambda long: "the O\ncat O\n\n" + "".join(f"{word} O\n" for word in long.split()), ":4"),
    "answer": ("a.jsonl", lambda long: asked("the cat sat") + asked(long), ":2"),
    "choose": ("a.csv", lambda long: f'premise,choice1,choice2,label\n"the\ncat",a,b,0\n"{long}",a,b,0\n', ":4"),
}


def asked(context: str) -> str:
    row = {"id": "7", "question": "who", "context": context, "answers": []}
    return json.dumps(row) + "\n"


@pytest.mark.parametrize("task", OTHERS)
def test_sentences_questions_and_choices_are_told_by_file_and_line_too(task: str, tmp_path: Path):
    small = next(small for small in every_package() if small.task == task and small.start != "fresh")
    save_package(small.make(), tmp_path / "model")
    name, write, place = OTHERS[task]
    (tmp_path / name).write_text(write(WORDS), "utf-8")
    data, model = tmp_path / name, tmp_path / "model"
    refused(command("predict", model, data), f"{data}{place}: ", "longer than the model's limit")
    refused(command("verify", model, "--data", data), f"{data}{place}: ", "longer than the model's limit")
    if task != "tag":  # whose labels this model does not know
        refused(command("evaluate", model, "--data", data), f"{data}{place}: ", "longer than the model's limit")
