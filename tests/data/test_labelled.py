import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onehop.data import Pair
from onehop.data.labelled import FOUND, SEPARATOR, LabelColumns, open_labelled
from onehop.errors import DataError

ROWS = [("The room was quiet.", "good"), ("The bath, alas, was cold.", "bad")]


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def pairs(path: Path, columns: LabelColumns = FOUND) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in open_labelled(path, columns).pairs()]


def test_every_form_of_a_table_gives_the_same_texts_and_labels(tmp_path: Path):
    objects = "".join(
        json.dumps({"id": n, "label": label, "text": text}) + "\n" for n, (text, label) in enumerate(ROWS)
    )
    files = [
        write(tmp_path / "a.csv", "label,text\n" + "".join(f'{label},"{text}"\n' for text, label in ROWS)),
        write(tmp_path / "a.tsv", "text\tid\tlabel\n" + "".join(f"{text}\t7\t{label}\n" for text, label in ROWS)),
        write(tmp_path / "a.jsonl", objects),
        tmp_path / "b.jsonl.gz",
        tmp_path / "a.parquet",
    ]
    files[3].write_bytes(gzip.compress(objects.encode()))
    pq.write_table(pa.table({"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]}), files[4])
    for file in files:
        assert pairs(file) == ROWS, file
        assert (open_labelled(file).texts, open_labelled(file).label) == (("text",), "label")


def test_labels_that_are_numbers_become_their_digits(tmp_path: Path):
    write(tmp_path / "a.jsonl", '{"text": "x", "label": 1}\n\n{"text": "y", "label": 0}\n')
    assert pairs(tmp_path / "a.jsonl") == [("x", "1"), ("", ""), ("y", "0")]
    pq.write_table(pa.table({"text": ["x", "y"], "label": [1, 0]}), tmp_path / "a.parquet")
    assert pairs(tmp_path / "a.parquet") == [("x", "1"), ("y", "0")]


def test_two_columns_without_names_are_told_by_how_many_values_they_have(tmp_path: Path):
    rows = [(f"text {n}", "good" if n % 2 else "bad") for n in range(9)]
    first = write(tmp_path / "a.tsv", "".join(f"{text}\t{label}\n" for text, label in rows))
    second = write(tmp_path / "b.csv", "".join(f"{label},{text}\n" for text, label in rows))
    assert pairs(first) == pairs(second) == rows


def test_several_columns_become_one_text_with_a_mark_between_them(tmp_path: Path):
    file = write(tmp_path / "a.csv", f'premise,hypothesis,label\n"It{SEPARATOR}rains.",It is wet.,yes\n')
    assert list(open_labelled(file).pairs()) == [Pair(f"It rains.{SEPARATOR}It is wet.", "yes")]
    other = LabelColumns(("hypothesis", "premise"))
    assert pairs(file, other) == [(f"It is wet.{SEPARATOR}It rains.", "yes")]


@pytest.mark.parametrize(
    ("name", "text", "columns", "problem"),
    [
        ("a.csv", "text,label\nx,y,z\n", LabelColumns(), "3 fields"),
        ("a.csv", "one,two,three\na,b,c\n", LabelColumns(), "no columns of texts and labels among: one, two, three"),
        ("a.csv", "one,two,score\na,b,1\n", LabelColumns(numbers=True), "no columns of texts among: one, two, score"),
        ("a.csv", "one,two,x\na,b,1\n", LabelColumns(numbers=True), "no columns of texts and numbers among: one, two"),
        ("a.csv", "text,label,class\na,b,c\n", LabelColumns(), "several columns may hold the labels"),
        ("a.csv", "text,label\na,b\n", LabelColumns(label="verdict"), "no column 'verdict'"),
        ("a.jsonl", '{"text": "x", "label": "y"}\n{"text": "z"}\n', LabelColumns(), "no key 'label'"),
        ("a.jsonl", '{"text": ["x"], "label": "y"}\n', LabelColumns(), "'text' is a list"),
        ("a.jsonl", '{"text": "x", "label": NaN}\n', LabelColumns(), "'label' is a float"),
        ("a.jsonl", "[1]\n", LabelColumns(), "not an object"),
        ("a.jsonl", "\n", LabelColumns(), "a table without rows"),
        ("a.csv", "", LabelColumns(), "a table without rows"),
        ("a.doc", "x", LabelColumns(), "tells no table"),
    ],
)
def test_what_is_no_table_of_labelled_texts_is_told(
    name: str, text: str, columns: LabelColumns, problem: str, tmp_path: Path
):
    file = write(tmp_path / name, text)
    with pytest.raises(DataError, match=problem.replace("[", r"\[")) as caught:
        list(open_labelled(file, columns).pairs())
    assert caught.value.remedy
    assert name in caught.value.where


HEADINGS = ["Kommentar,Ergebnis", "v1,v2", "Kunde sagt,Urteil"]


@pytest.mark.parametrize("heading", HEADINGS)
@pytest.mark.parametrize("swapped", [False, True])
def test_headings_that_tell_nothing_are_known_by_a_label_that_no_other_row_has(
    heading: str, swapped: bool, tmp_path: Path
):
    rows = [(f"a film of {n} scenes", "good" if n % 3 else "bad") for n in range(12)]
    lines = [f"{label},{text}" if swapped else f"{text},{label}" for text, label in rows]
    names = heading.split(",")
    path = tmp_path / "a.csv"
    path.write_text("\n".join([heading, *lines]) + "\n")
    table = open_labelled(path)
    assert (table.texts, table.label) == ((names[swapped],), names[not swapped])
    assert [(row.texts[0], row.label) for row in table.rows] == rows
    assert [row.texts[0] for row in open_labelled(path, LabelColumns(labelled=False)).rows] == [
        text for text, _ in rows
    ]
    path.write_text("\n".join(lines) + "\n")  # and without them, all rows are read
    for columns in (LabelColumns(), LabelColumns(labelled=False)):
        found = open_labelled(path, columns)
        assert found.texts == ()
        assert [row.texts[0] for row in found.rows] == [text for text, _ in rows]


def test_a_name_of_numbers_is_what_is_none(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("Satz,Note\ngut,1.5\nschlecht,5\n")
    table = open_labelled(path, LabelColumns(numbers=True))
    assert (table.texts, table.label) == (("Satz",), "Note")
    assert [row.label for row in table.rows] == ["1.5", "5"]


def test_another_mark_between_columns_is_told(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("Bewertung;Klasse\ngut;ja\n")
    with pytest.raises(DataError, match="no columns of texts and labels") as error:
        open_labelled(path)
    assert "';' stands between the columns" in error.value.remedy
