"""CSV, Parquet and saved data sets: every text comes back, the right columns are found, and faults tell their place."""

import csv
import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from onehop.data import Columns, Pair, PairStore, read_table, table_columns
from onehop.data.check import check_labels
from onehop.data.choices import open_choices
from onehop.data.labelled import LabelColumns, open_labelled
from onehop.data.questions import read_questions
from onehop.data.tagged import open_tagged
from onehop.errors import DataError, FileError

TEXTS = st.one_of(
    st.sampled_from(
        ["", " ", '"', '""', ",", "a,b", 'say "so", he said', "two\nlines", "NUL \0", "#", "שלום", "\u2028"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")),
)
ROWS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8)


def csv_bytes(rows: Any, end: str = "\n", quoting: int = csv.QUOTE_MINIMAL) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator=end, quoting=quoting).writerows(rows)  # type: ignore[arg-type]
    return out.getvalue().encode()


def wrote(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def saved(folder: Path, *tables: pa.Table) -> Path:
    """Write what `datasets.Dataset.save_to_disk` writes, as far as it is read."""
    folder.mkdir(parents=True)
    names = [f"data-{n:05}-of-{len(tables):05}.arrow" for n in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table, max_chunksize=2)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "5d0f", "_split": "train"}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")
    return folder


# ---------------------------------------------------------------------------------------------- CSV


@settings(deadline=None, max_examples=100)
@given(
    rows=ROWS,
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ending=st.sampled_from([".csv", ".csv.gz", ".csv.zst"]),
    header=st.booleans(),
)
def test_every_text_comes_back_from_csv(tmp_path_factory, rows, end, quoting, ending, header):
    rows = [("A first pair.", "Ein erstes Paar."), *rows]
    table = [("id", "target", "source")] + [(n, b, a) for n, (a, b) in enumerate(rows)] if header else rows
    data = csv_bytes(table, end, quoting)
    data = {".gz": gzip.compress, ".zst": zstandard.compress}.get(Path(ending).suffix, bytes)(data)
    path = tmp_path_factory.mktemp("csv") / f"pairs{ending}"
    path.write_bytes(data)
    assert list(read_table(path)) == [Pair(*row) for row in rows]


def test_a_byte_order_mark_as_spreadsheets_write_it_is_no_part_of_the_header(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_bytes(b"\xef\xbb\xbfsource,target\r\nYes.,Ja.\r\n")
    assert list(read_table(path)) == [("Yes.", "Ja.")]


def test_a_blank_line_is_an_empty_pair_and_rows_keep_their_numbers(tmp_path):
    path = wrote(tmp_path / "pairs.csv", 'source,target\nYes.,Ja.\n\n"two\nlines",zwei\nNo.,Nein.\n')
    store = PairStore.from_tables([path])
    assert list(store) == [("Yes.", "Ja."), ("two\nlines", "zwei"), ("No.", "Nein.")]
    assert [store.where(n).source for n in range(3)] == [f"{path}:row {n}" for n in (1, 3, 4)]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("Yes.,Ja.\nNo.\n", 2, "1 fields where the first row has 2"),
        ("Yes.,Ja.\nYes, please.,Ja.\n", 2, "3 fields where the first row has 2"),
        ('Yes.,Ja.\n"two\nlines",zwei\nNo.\n', 4, "1 fields"),
        ('Yes.,Ja.\n"never closed,Nein.\nmore\n', 2, "not CSV"),
        ('Yes.,Ja.\n"never closed,' + "long line\n" * 20_000, 2, "not CSV"),
        ('Yes.,Ja.\n"No" he said,Nein.\n', 2, "not CSV"),
        ("Yes.,Ja.\nNo.\rMore.,Nein.\n", 2, "not CSV"),
        ("Yes.;Ja.\n", 1, "no two columns"),
        ("id,text,note\n1,Yes.,\n", 1, "among the columns: id, text, note"),
    ],
)
def test_a_row_that_is_none_is_told_with_the_line_it_begins_on_and_a_remedy(tmp_path, text, line, says):
    path = wrote(tmp_path / "pairs.csv", text)
    with pytest.raises(DataError) as caught:
        list(read_table(path))
    assert says in caught.value.problem
    assert caught.value.where == f"{path}:{line}"
    assert caught.value.remedy


# ---------------------------------------------------------------------------------------------- columns


@pytest.mark.parametrize(
    ("names", "columns", "found"),
    [
        (["a", "b", "c"], Columns("c", "a"), ("c", "a")),
        (["source", "target", "en", "de"], Columns("de", "en"), ("de", "en")),
        (["de", "en"], Columns(source_language="en", target_language="de"), ("en", "de")),
        (["de", "en", "source", "target"], Columns(source_language="en", target_language="de"), ("en", "de")),
        (["x.zh-Hans", "x.en"], Columns(source_language="en", target_language="zh_hans"), ("x.en", "x.zh-Hans")),
        (["de", "en"], Columns(source_language="fr", target_language="de"), ("de", "en")),
        (["id", "tgt", "src"], Columns(), ("src", "tgt")),
        (["Target text", "Source text", "en", "de"], Columns(), ("Source text", "Target text")),
        (["id", "translation.de", "translation.en"], Columns(), ("translation.de", "translation.en")),
        (["id", "eng_Latn", "deu_Latn"], Columns(), ("eng_Latn", "deu_Latn")),
        (["no", "sv", "da"], Columns(), ("sv", "da")),
        (["no", "en"], Columns(source_language="en", target_language="no"), ("en", "no")),
        (["question", "answer"], Columns(), None),
        (["en", "de", "fr"], Columns(), None),
        (["source", "src", "target"], Columns(), None),
        (["id", "text"], Columns(), None),
        (["Yes.", "Ja."], Columns(), None),
        (["source"], Columns(), None),
        (["en", "en"], Columns(), None),
    ],
)
def test_columns_are_found_by_name_or_not_at_all(names, columns, found):
    assert columns.find(names) == found


def test_a_column_that_is_missing_is_told_with_the_nearest_name(tmp_path):
    path = wrote(tmp_path / "pairs.csv", "id,english,german\n1,Yes.,Ja.\n")
    with pytest.raises(DataError, match="no column of text 'englisch'; did you mean 'english'"):
        list(read_table(path, Columns("englisch", "german")))
    assert list(read_table(path, Columns("english", "german"))) == [("Yes.", "Ja.")]
    assert table_columns(path, Columns("english", "german")) == ("english", "german")


READERS: dict[str, Any] = {
    "pairs named": lambda path: list(read_table(path, Columns("text", "label"))),
    "pairs found": lambda path: list(read_table(path)),
    "labelled": open_labelled,
    "of regress": lambda path: open_labelled(path, LabelColumns(numbers=True)),
    "without labels": lambda path: open_labelled(path, LabelColumns(labelled=False)),
    "choices": open_choices,
    "checked": check_labels,
}


@pytest.mark.parametrize("reader", READERS)
def test_two_columns_of_one_name_are_refused(tmp_path, reader):
    file = tmp_path / "a.csv"
    file.write_text("text,text,label\nA.,B.,x\nC.,D.,y\n", "utf-8")
    with pytest.raises(DataError, match="two columns of one name: 'text'") as error:
        READERS[reader](file)
    assert error.value.where == f"{file}:1"


def test_two_columns_of_one_name_in_parquet_and_in_conllu_plus_are_refused(tmp_path):
    columns = [pa.array(["A.", "B."])] * 3
    pq.write_table(pa.Table.from_arrays(columns, ["text", "text", "label"]), tmp_path / "a.parquet")
    (tmp_path / "a.conll").write_text("# global.columns = FORM FORM TAG\nA\tB\tx\n", "utf-8")
    for read, name in ((open_labelled, "a.parquet"), (check_labels, "a.parquet"), (open_tagged, "a.conll")):
        with pytest.raises(DataError, match="two columns of one name"):
            read(tmp_path / name)


ASKED = '{"question": "Who?", "context": "Ada.", "answers": []'
TWICE: dict[str, Any] = {
    "labelled": (lambda path: list(open_labelled(path).pairs()), '{"text": "a", "label": "x"', ', "label": "y"}'),
    "checked": (check_labels, '{"text": "a", "label": "x"', ', "label": "y"}'),
    "pairs": (lambda path: list(read_table(path)), '{"source": "a", "target": "b"', ', "target": "c"}'),
    "words": (lambda path: list(open_tagged(path).sentences), '{"words": ["a"], "tags": ["x"]', ', "tags": ["y"]}'),
    "questions": (lambda path: list(read_questions(path)), ASKED, ', "\\u0063ontext": "Bob."}'),
}


@pytest.mark.parametrize("form", TWICE)
def test_a_key_that_stands_twice_in_an_object_is_told_with_its_line(tmp_path, form):
    read, sound, again = TWICE[form]
    file = tmp_path / "a.jsonl"
    file.write_text(f"{sound}}}\n{sound}{again}\n", "utf-8")
    with pytest.raises(DataError, match=r"the key '.*' twice in one object") as error:
        read(file)
    assert error.value.where == f"{file}:2"


def test_a_first_row_of_text_is_no_header(tmp_path):
    path = wrote(tmp_path / "pairs.csv", "Yes.,Ja.\nNo.,Nein.\n")
    assert table_columns(path, Columns()) is None
    assert list(read_table(path)) == [("Yes.", "Ja."), ("No.", "Nein.")]


# ---------------------------------------------------------------------------------------------- Parquet


@settings(deadline=None, max_examples=40)
@given(rows=ROWS, group=st.integers(1, 5), nested=st.booleans(), encoded=st.booleans())
def test_every_text_comes_back_from_parquet_and_saved_data_sets(tmp_path_factory, rows, group, nested, encoded):
    sources, targets = (pa.array([row[side] for row in rows], pa.string()) for side in (0, 1))
    if nested:
        table = pa.table(
            {"id": range(len(rows)), "translation": pa.StructArray.from_arrays([targets, sources], ["de", "en"])}
        )
    elif encoded:
        table = pa.table(
            {"id": range(len(rows)), "de": targets.dictionary_encode(), "en": sources.cast(pa.large_string())}
        )
    else:
        table = pa.table({"id": range(len(rows)), "de": targets, "en": sources})
    folder = tmp_path_factory.mktemp("arrow")
    pq.write_table(table, folder / "pairs.parquet", row_group_size=group)
    saved(folder / "set", table, table.slice(0, 1))
    columns = Columns(source_language="en", target_language="de")
    assert list(read_table(folder / "pairs.parquet", columns)) == [Pair(*row) for row in rows]
    assert list(read_table(folder / "set", columns)) == [Pair(*row) for row in [*rows, rows[0]]]
    prefix = "translation." if nested else ""
    assert table_columns(folder / "set", columns) == (f"{prefix}en", f"{prefix}de")


def test_missing_values_are_empty_texts_and_rows_keep_their_numbers(tmp_path):
    rows = [{"de": "Ja.", "en": "Yes."}, None, {"de": None, "en": "Never."}, {"de": "Nein.", "en": "No."}]
    path = parquet(tmp_path / "a.parquet", {"translation": rows}, row_group_size=1)
    store = PairStore.from_tables([path])
    assert list(store) == [("Ja.", "Yes."), ("Nein.", "No.")]
    assert [store.where(n).source for n in (0, 1)] == [f"{path}:row {n}" for n in (1, 4)]


def test_texts_in_string_views_are_read(tmp_path):
    views = [pa.array([text, None, text * 20]).cast(pa.string_view()) for text in ("Yes.", "Ja.")]
    path = parquet(tmp_path / "a.parquet", {"en": views[0], "de": views[1]})
    assert list(read_table(path)) == [("Yes.", "Ja."), ("", ""), ("Yes." * 20, "Ja." * 20)]


def test_columns_that_hold_no_text_are_not_taken(tmp_path):
    path = parquet(tmp_path / "a.parquet", {"id": [1], "score": [0.5], "q": ["Why?"], "a": ["So."]})
    assert list(read_table(path)) == [("Why?", "So.")]
    with pytest.raises(DataError, match="no column of text 'id'"):
        list(read_table(path, Columns("id", "a")))
    numbers = parquet(tmp_path / "b.parquet", {"id": [1]})
    with pytest.raises(DataError, match="none of text"):
        list(read_table(numbers))


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"text": [["a", "b"]], "label": ["x"]}, r"text \(list<"),
        ({"text": [b"a"], "label": ["x"]}, r"text \(binary\)"),
        ({"text": pa.nulls(1), "label": ["x"]}, r"text \(null\)"),
        ({"text": ["a"], "label": [["x", "y"]]}, r"label \(list<"),
        ({"text": ["a"], "label": [0.5]}, r"label \(double\)"),
        ({"text": [{"a": {"b": "deep"}}], "label": ["x"]}, r"text \(struct<"),
    ],
)
def test_columns_that_hold_no_text_are_named_where_nothing_else_fits(tmp_path, columns, told):
    """The message said that there was no such column."""
    path = parquet(tmp_path / "a.parquet", columns)
    with pytest.raises(DataError, match=f"not to be read as text here: {told}") as caught:
        open_labelled(path)
    assert caught.value.where == str(path)
    pairs = parquet(tmp_path / "b.parquet", {"en": ["Yes."], "de": columns["text"], "id": [1]})
    if columns["text"] != ["a"]:
        with pytest.raises(DataError, match=r"not to be read as text here: de \("):
            list(read_table(pairs))


def test_text_that_is_not_utf8_is_told_with_its_rows(tmp_path):
    bad = pa.array([b"Yes.", b"n\xe9"]).cast(pa.binary()).view(pa.string())
    path = parquet(tmp_path / "a.parquet", {"source": bad, "target": ["Ja.", "Nein."]})
    with pytest.raises(DataError, match="not UTF-8") as caught:
        list(read_table(path))
    assert caught.value.where == f"{path}:rows 1 to 2"


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"text" * 50])
@pytest.mark.parametrize("kind", ["parquet", "saved"])
def test_a_damaged_file_is_one_message_with_its_name(tmp_path, damage, kind):
    table = pa.table({"source": ["Yes."] * 3, "target": ["Ja."] * 3})
    if kind == "parquet":
        path = file = parquet(tmp_path / "a.parquet", {"source": ["Yes."], "target": ["Ja."]})
    else:
        path = saved(tmp_path / "set", table)
        file = path / "data-00000-of-00001.arrow"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match="damaged") as caught:
        list(read_table(path))
    assert caught.value.where == str(file)
    assert "\n" not in caught.value.problem
    file.unlink()
    with pytest.raises(FileError) as missing:
        list(read_table(path))
    assert missing.value.where == str(file)


def test_a_missing_pyarrow_is_one_message_with_the_command(tmp_path):
    path = parquet(tmp_path / "a.parquet", {"source": ["Yes."], "target": ["Ja."]})
    with patch.dict(sys.modules, {"pyarrow": None, "pyarrow.parquet": None}), pytest.raises(DataError) as caught:
        list(read_table(path))
    assert "pip install 'onehop[data]'" in caught.value.remedy


# ---------------------------------------------------------------------------------------------- folders


def test_a_folder_of_splits_is_refused_with_their_names(tmp_path):
    table = pa.table({"source": ["Yes."], "target": ["Ja."]})
    for split in ("train", "test"):
        saved(tmp_path / "set" / split, table)
    wrote(tmp_path / "set/dataset_dict.json", '{"splits": ["train", "test"]}')
    with pytest.raises(DataError, match="several splits") as caught:
        list(read_table(tmp_path / "set"))
    assert f"{tmp_path / 'set/test'}, {tmp_path / 'set/train'}" in caught.value.remedy
    assert list(read_table(tmp_path / "set/test")) == [("Yes.", "Ja.")]


@pytest.mark.parametrize(
    ("state", "says"),
    [(None, "no data set"), ("{", "damaged"), ('{"_data_files": 3}', "damaged"), ("[]", "damaged")],
)
def test_a_folder_that_is_no_data_set_is_refused(tmp_path, state, says):
    if state is not None:
        wrote(tmp_path / "state.json", state)
    with pytest.raises(DataError, match=says):
        list(read_table(tmp_path))


def test_a_data_set_of_chosen_rows_is_refused(tmp_path):
    folder = saved(tmp_path / "set", pa.table({"source": ["Yes."], "target": ["Ja."]}))
    state = json.loads((folder / "state.json").read_text())
    wrote(folder / "state.json", json.dumps({**state, "_indices_data_files": [{"filename": "indices.arrow"}]}))
    with pytest.raises(DataError, match="chosen by an index"):
        list(read_table(folder))
