"""The doctor on what every task learns from: near duplicates, a tokenizer, a cleaned copy, and every form of file."""

import json
from pathlib import Path
from typing import Any

import pytest

from onehop.data.check import Report, check_labels, diagnose_labels
from onehop.data.labelled import LabelColumns, open_labelled
from onehop.data.tagged import open_tagged
from onehop.errors import DataError
from tests.fixtures.labelled import reviews, write_reviews
from tests.fixtures.tagged import meetings, write_conll
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "checkpoints" / "BertModel"
LONG = "The bed was warm, and the room was bright and full of flowers when we came in{}."


def counts(report: Report) -> dict[str, int]:
    return {f"{finding.split}/{finding.name}": finding.count for finding in report.findings}


def test_texts_nearly_alike_are_found_in_the_training_data_and_beside_it(tmp_path: Path):
    rows = [*reviews(40), (LONG.format(""), "good"), (LONG.format(" at last"), "good")]
    train = write_reviews(tmp_path / "a.tsv", [])
    rows = list(dict.fromkeys(rows))
    Path(train).write_text("text\tlabel\n" + "".join(f"{a}\t{b}\n" for a, b in rows), "utf-8")
    test = tmp_path / "t.tsv"
    test.write_text(f"text\tlabel\n{LONG.format(' then')}\tgood\nIt rained on Monday and snowed on Friday.\tbad\n")
    found = diagnose_labels(train, others={"test": test}, near=True).report
    near = {(f.split, f.name): f.lines for f in found.findings if f.name.startswith("near")}
    assert near["data", "near-duplicates"][-1:] == [f"{train}:{len(rows) + 1}"]
    assert near["test", "near-overlap"] == [f"{test}:2"]
    assert "near duplicates" in found.checked
    assert not any(name.startswith("near") for name in counts(check_labels(train, others={"test": test})))


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_a_cleaned_copy_of_every_form_of_table_has_nothing_left_that_ruins_a_run(tmp_path: Path, form: str):
    rows: list[tuple[Any, ...]] = [(n, text, label, 1.5) for n, (text, label) in enumerate(dict.fromkeys(reviews(60)))]
    sound = len(rows)
    rows += [(90, rows[0][1], rows[0][2], 0.5), (91, "", "good", 0.5), (92, "No label here.", "", 0.5)]
    rows += [(93, "Lost \ufffd here.", "bad", 0.5), (94, "Schön warm.\x01", "Good ", 0.5), (95, "Tested.", "bad", 0.5)]
    names = ("id", "text", "label", "weight")
    path, test = write_table(tmp_path / f"a.{form}", names, rows), tmp_path / "t.csv"
    test.write_text("text,label\ntested.,bad\n", "utf-8")
    words = ["data", "check", "--data", path, "--test", test, "--json"]
    done = command(*words, "--fix", tmp_path / "clean")
    assert done.status == 1
    told = json.loads(done.out)
    assert told["written"]["data"] == {"kept": sound + 1, "dropped": 5, "repaired": 1, "relabelled": 1}
    copy = tmp_path / "clean" / ("a.csv" if form == "parquet" else f"a.{form}")
    again = check_labels(copy, others={"test": tmp_path / "clean/t.csv"})
    assert again.sound
    assert again.pairs == {"data": sound + 1, "test": 1}
    last = list(open_labelled(copy, LabelColumns(texts=("text",), label="label")).pairs())[-1]
    assert (last.source, last.target) == ("Schön warm.", "good")
    if form == "jsonl":
        assert json.loads(copy.read_text("utf-8").splitlines()[0])["weight"] == 1.5  # and no text
    refused(command(*words, "--fix", tmp_path / "clean"), "there is something already")


def write_table(path: Path, names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Path:
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(
            pa.table({name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}), path
        )
    elif path.suffix == ".jsonl":
        objects = (dict(zip(names, row, strict=True)) for row in rows)
        path.write_text("".join(json.dumps(one) + "\n" for one in objects), "utf-8")
    else:
        mark = "," if path.suffix == ".csv" else "\t"
        path.write_text("".join(mark.join(map(str, row)) + "\n" for row in (names, *rows)), "utf-8")
    return path


def test_sentences_are_judged_by_the_labels_of_their_words(tmp_path: Path):
    rows = [*meetings(60), (["He", "met", "X"], ["O", "O", "I-place"]), (["We"], ["B-Place"])]
    file = write_conll(tmp_path / "words.conll", rows)
    test = write_conll(tmp_path / "test.conll", [rows[3], (["They", "sang"], ["O", "B-song"])])
    found = check_labels(file, others={"test": test})
    own = {finding.name: finding for finding in found.findings if finding.split == "data"}
    assert own["label-scheme"].count == 1
    assert own["label-variants"].detail == "'B-Place', 'B-place'"
    assert own["label-rare"].detail == "1 labels: B-Place"
    beside = {finding.name: finding.lines for finding in found.findings if finding.split == "test"}
    assert beside == {"overlap": [f"{test}:1"], "label-unknown": [f"{test}:{len(rows[3][0]) + 2}"]}
    done = command("data", "check", "--data", file, "--test", test, "--fix", tmp_path / "clean")
    assert done.status == 1
    kept = [one.words for one in open_tagged(tmp_path / "clean/words.conll").sentences]
    assert tuple(rows[3][0]) not in kept
    assert len(kept) == len({tuple(words) for words, _ in rows}) - 1


def test_questions_are_compared_with_their_contexts(tmp_path: Path):
    one = {"question": "Who ran?", "context": "Ada ran.", "answers": [{"text": "Ada", "answer_start": 0}]}
    rows = [one, {**one, "question": "Who flew?", "answers": []}, one, {**one, "question": "Ran who?"}]
    file, test = tmp_path / "asked.jsonl", tmp_path / "test.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    test.write_text(json.dumps(rows[3]) + "\n", "utf-8")
    assert counts(check_labels(file, others={"test": test})) == {"data/duplicates": 1, "test/overlap": 1}
    squad = {"data": [{"paragraphs": [{"context": "Ada ran.", "qas": [{**one, "id": "7"}]}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(squad), "utf-8")
    command("data", "check", "--data", file, "--test", tmp_path / "squad.json", "--fix", tmp_path / "clean")
    copies = [(tmp_path / "clean" / name).read_text("utf-8").splitlines() for name in ("asked.jsonl", "squad.jsonl")]
    assert [json.loads(row)["question"] for row in copies[0]] == ["Who flew?", "Ran who?"]
    assert json.loads(copies[1][0])["answers"] == one["answers"]
    with pytest.raises(DataError, match="labels beside answers"):
        check_labels(file, others={"test": write_reviews(tmp_path / "rooms.csv", reviews(3))})


def test_numbers_are_no_labels_that_are_all_different(tmp_path: Path):
    rows = [(text, n / 7) for n, (text, _) in enumerate(dict.fromkeys(reviews(50)))]
    path = write_table(tmp_path / "scores.parquet", ("text", "score"), rows)
    assert check_labels(path).findings == []
    pairs = list(open_labelled(path, LabelColumns(numbers=True)).pairs())  # as `train --task regress` reads it
    assert [float(pair.target) for pair in pairs] == [value for _, value in rows]
    same = write_table(tmp_path / "same.csv", ("text", "score"), [(text, 0.5) for text, _ in rows])
    assert counts(check_labels(same)) == {"data/label-constant": len(rows)}


def test_a_models_tokenizer_is_held_to_the_texts_and_the_worst_lines_are_named(tmp_path: Path):
    file = tmp_path / "a.csv"
    file.write_text("text,label\nthe cat sat,good\nżółw Ω ж,bad\nthe dog ran,good\n", "utf-8")
    told = json.loads(command("data", "check", "--data", file, "--model", CHECKPOINT, "--json").out)
    assert told["coverage"] == [{"side": "texts", "pieces": 9, "words": 9, "characters": 30, "bytes": 0, "unknown": 3}]
    unknown = next(finding for finding in told["findings"] if finding["name"] == "unknown")
    assert (unknown["count"], unknown["lines"]) == (3, [f"{file}:3"])
    shown = command("data", "check", "--data", file, "--model", CHECKPOINT).out
    assert "tokenizer, texts: 9 pieces, 1.00 a word, 3.33 characters each, 33.33% unknown" in shown
