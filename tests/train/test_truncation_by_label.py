"""What the length limit did is told by label: in the log, the package, the card, `evaluate` and `predict`."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from onehop.data import Pair, PairStore, hold_out
from onehop.data.questions import read_questions
from onehop.tasks import load_package
from onehop.tasks.wordwise import as_words
from onehop.train import make_recipe, train
from tests.fixtures.labelled import reviews, write_reviews
from tests.fixtures.tagged import meetings, write_conll
from tests.fixtures.tiny import log_rows
from tests.fixtures.tiny import onehop as command
from tests.train.test_resume import Heard

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "checkpoints" / "BertModel"
SHORT = {"max_updates": 2, "evaluate_every": 2, "batch_tokens": 200}
SMALL = {"dim": 16, "hidden_dim": 16, "dropout": 0.0}


def truncation(run: Path) -> dict[str, dict[str, Any]]:
    return {row["split"]: row for row in log_rows(run) if row["kind"] == "truncation"}


def table(labels: list[str], lost: list[int | None]) -> dict[str, dict[str, int]]:
    """Return what is to be told: of each label the lines, those with tokens lost, and these tokens."""
    lines, tokens = Counter(labels), Counter[str]()
    affected = Counter(label for label, own in zip(labels, lost, strict=True) if own is not None)
    for label, own in zip(labels, lost, strict=True):
        tokens[label] += own or 0
    return {label: {"lines": lines[label], "affected": affected[label], "tokens": tokens[label]} for label in affected}


@pytest.mark.parametrize("policy", ["cut", "drop"])
def test_texts_are_counted_under_their_labels_in_each_split(policy: str, tmp_path: Path):
    rows = list(dict.fromkeys(reviews(90, sentences=4)))
    data = {"train": [write_reviews(tmp_path / "rooms.csv", rows)]}
    text = {"vocab_size": 300, "max_length": 12, "long": policy}
    heard = Heard()
    train(
        make_recipe({"task": "classify", "data": data, "model": SMALL, "text": text, "train": SHORT}), tmp_path / "run",
        listener=heard,
    )  # fmt: skip
    package, found = load_package(tmp_path / "run"), truncation(tmp_path / "run")
    store = PairStore()
    store.add((Pair(*row) for row in rows), "rooms")
    held = set(hold_out(store).held.tolist())
    for split, chosen in (("train", False), ("valid", True)):
        own = [row for number, row in enumerate(rows) if (number in held) == chosen]
        sizes = [len(tokens) for tokens in package.task.encode([text for text, _ in own])]
        lost = [None if size <= 12 else size if policy == "drop" else size - 12 for size in sizes]
        assert found[split]["by_label"] == table([label for _, label in own], lost)
    assert found["train"]["by_label"].keys() == {"good", "bad"}
    assert package.record
    record = package.record["truncation"]
    assert all(record[split]["by_label"] == found[split]["by_label"] for split in ("train", "valid"))
    first, counts = next(iter(found["train"]["by_label"].items()))
    told = f"{first} {counts['affected']} of {counts['lines']}"
    assert told in (tmp_path / "run/model/MODEL_CARD.md").read_text("utf-8")
    assert any(f"; by label: {told}" in line for line in heard.told)


def test_a_text_counts_under_each_of_its_labels(tmp_path: Path):
    rows = list(dict.fromkeys(text for text, _ in reviews(90, sentences=4)))
    file = tmp_path / "rooms.jsonl"
    sets = [[word for word in ("room", "bath") if word in text] for text in rows]
    lines = [{"text": text, "labels": labels} for text, labels in zip(rows, sets, strict=True)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    data = {"train": [str(file)], "valid": [str(file)]}
    text = {"vocab_size": 300, "max_length": 12, "long": "cut"}
    train(
        make_recipe({"task": "multilabel", "data": data, "model": SMALL, "text": text, "train": SHORT}),
        tmp_path / "run",
    )
    sizes = [len(tokens) for tokens in load_package(tmp_path / "run").task.encode(rows)]
    pairs = [(label, size - 12 if size > 12 else None) for size, own in zip(sizes, sets, strict=True) for label in own]
    wanted = table([label for label, _ in pairs], [lost for _, lost in pairs])
    found = truncation(tmp_path / "run")
    assert wanted.keys() == {"room", "bath"}
    assert found["train"]["by_label"] == found["valid"]["by_label"] == wanted
    assert found["train"]["tokens"] == sum(size - 12 for size in sizes if size > 12)
    report = json.loads(command("evaluate", tmp_path / "run", "--data", file, "--long", "cut", "--json").out)
    assert (report["long_by_label"], report["lost"]) == (wanted, found["train"]["tokens"])


def test_words_that_are_cut_off_are_counted_under_their_labels(tmp_path: Path):
    rows = meetings(60)
    file = write_conll(tmp_path / "words.conll", rows)
    text = {"vocab_size": 300, "max_length": 8, "long": "cut"}
    train(
        make_recipe({"task": "tag", "data": {"train": [file], "valid": [file]}, "model": SMALL, "text": text,
                     "train": SHORT}),
        tmp_path / "run",
    )  # fmt: skip
    tagger, found = load_package(tmp_path / "run").task, truncation(tmp_path / "run")["train"]
    expected: dict[str, Counter[str]] = {}
    for words, labels in rows:
        sizes = [len(pieces) for pieces in tagger.documents.pieces([as_words(words, "space")])[0]]
        read = next((n for n in range(len(sizes)) if sum(sizes[: n + 1]) > 8), len(sizes))
        for label in set(labels):
            own = expected.setdefault(label, Counter())
            own["lines"] += 1
            own["affected"] += read < len(sizes)
            own["tokens"] += sum(size for n, size in enumerate(sizes) if n >= read and labels[n] == label)
    assert found["by_label"] == {label: dict(own) for label, own in expected.items() if own["affected"]}
    assert found["tokens"] == sum(own["tokens"] for own in expected.values()) > 0
    report = json.loads(command("evaluate", tmp_path / "run", "--data", file, "--long", "cut", "--json").out)
    assert report["long_by_label"] == found["by_label"]
    assert (report["cut"], report["lost"]) == (found["affected"], found["tokens"])


def test_answers_that_are_cut_off_are_told_apart_from_those_that_are_read(tmp_path: Path):
    rows = [("Where is the cat?", "the cat sat on the mat", "the mat", 15),
            ("Who ran?", "a dog ran " + "and ran " * 20 + "to the rug", "the rug", 173),
            ("Who ran?", "a dog ran " + "and ran " * 20, "a dog", 0)]  # fmt: skip
    file = tmp_path / "asked.jsonl"
    lines = [
        {"question": asked, "context": context, "answers": [{"text": text, "answer_start": start}]}
        for asked, context, text, start in rows
    ]
    lines.append({"question": "Who flew?", "context": "a dog ran", "answers": []})
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    assert len(list(read_questions(str(file)))) == 4
    recipe = make_recipe({
        "task": "answer", "data": {"train": [str(file)], "valid": [str(file)]},
        "text": {"max_length": 20, "long": "cut", "overlap": 4}, "train": {**SHORT, "init": str(CHECKPOINT)},
    })  # fmt: skip
    train(recipe, tmp_path / "run")
    found = truncation(tmp_path / "run")["train"]
    kinds = {label: (row["lines"], row["affected"]) for label, row in found["by_label"].items()}
    assert kinds == {"answered": (2, 1), "answer not read": (1, 1)}
    assert sum(row["tokens"] for row in found["by_label"].values()) == found["tokens"] > 0
    shown = command("evaluate", tmp_path / "run", "--data", file, "--long", "cut").out
    assert "2 contexts were too long and cut, " in shown
    assert "tokens not read: answered 2 of 3" in shown


@pytest.mark.parametrize("policy", ["cut", "drop", "window"])
def test_evaluate_and_predict_of_a_classifier_tell_lines_and_tokens_by_label(policy: str, tmp_path: Path):
    rows = reviews(40)
    data = {"train": [write_reviews(tmp_path / "rooms.csv", rows)]}
    text = {"vocab_size": 300, "max_length": 12, "long": "cut"}
    train(make_recipe({"task": "classify", "data": data, "model": SMALL, "text": text, "train": SHORT}), tmp_path / "r")
    classifier = load_package(tmp_path / "r").task
    sizes = [len(tokens) for tokens in classifier.encode([text for text, _ in rows])]
    amounts = {"cut": lambda size: size - 12, "drop": lambda size: size, "window": lambda size: 0}
    lost = [None if size <= 12 else amounts[policy](size) for size in sizes]
    file = tmp_path / "rooms.csv"
    report = json.loads(command("evaluate", tmp_path / "r", "--data", file, "--long", policy, "--json").out)
    assert report["long_by_label"] == table([label for _, label in rows], lost)
    assert report["lost"] == sum(own or 0 for own in lost)
    result = command("predict", tmp_path / "r", file, "--long", policy)
    assert [json.loads(line)["lost"] for line in result.out.splitlines()] == [own or 0 for own in lost]
    long = sum(own is not None for own in lost)
    assert f"{long} texts were too long and " in result.err
    assert ("tokens not read" in result.err) == (policy != "window")
    assert (", by the label given: " in result.err) == (policy != "drop")  # what is left out is given none
