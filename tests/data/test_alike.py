"""Tables of texts that are to be near each other: columns by name and by number, every form, damaged rows."""

import gzip
from pathlib import Path

import pytest

from onehop.data.alike import AlikeColumns, open_alike
from onehop.errors import DataError

PAIRS = [("It rains.", "It pours.", 4.0), ("It rains.", "He runs.", 0.5)]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["id", "sentence1", "sentence2", "score"], (("sentence1", "sentence2"), "score")),
        (["first_sentence", "second_sentence", "similarity"], (("first_sentence", "second_sentence"), "similarity")),
        (["question_1", "question_2", "label"], (("question_1", "question_2"), "label")),
        (["anchor", "positive", "negative"], (("anchor", "positive", "negative"), "")),
        (["positive", "query"], (("query", "positive"), "")),
        (["question", "answer", "neg_1", "neg_2"], (("question", "answer", "neg_1", "neg_2"), "")),
        (["text_a", "text_b", "relatedness"], (("text_a", "text_b"), "relatedness")),
        (["premise", "hypothesis", "label"], (("premise", "hypothesis"), "label")),
        (["sent0", "sent1", "hard_neg"], (("sent0", "sent1", "hard_neg"), "")),
        (["one", "other"], None),
        (["query", "positive", "answer"], None),  # which of two is to be found?
    ],
)
def test_columns_are_found_by_their_names(names: list[str], found: object):
    assert AlikeColumns().find(names) == found


def test_columns_that_are_named_come_first_and_in_the_order_given():
    names = ["a", "b", "query", "positive", "score"]
    assert AlikeColumns(("b", "a")).find(names) == (("b", "a"), "score")
    assert AlikeColumns(("b", "a"), "positive").find(names) == (("b", "a"), "positive")
    assert AlikeColumns(("a", "b", "query")).find(names) == (("a", "b", "query"), "")
    with pytest.raises(DataError, match=r"no column 'querry'; did you mean 'query'\?"):
        AlikeColumns(("querry", "a")).find(names)
    with pytest.raises(DataError, match="3 columns of texts and a score, which is of two"):
        AlikeColumns(("a", "b", "query"), "score").find(names)
    with pytest.raises(DataError, match="several columns may hold the scores: score, rating"):
        AlikeColumns().find(["query", "positive", "score", "rating"])


def forms(folder: Path) -> list[Path]:
    rows = [f"{one}|{other}|{score}" for one, other, score in PAIRS]
    text = {
        "named.csv": "sentence1,sentence2,score\n" + "\n".join(rows).replace("|", ",") + "\n",
        "bare.csv": "\n".join(rows).replace("|", ",") + "\n\n",
        "bare.tsv": "\n".join(rows).replace("|", "\t") + "\n",
        "lines.jsonl": "".join(
            f'{{"query": "{one}", "positive": "{other}", "score": {score}}}\n\n' for one, other, score in PAIRS
        ),
    }
    for name, content in text.items():
        (folder / name).write_text(content)
    (folder / "bare.tsv.gz").write_bytes(gzip.compress(text["bare.tsv"].encode()))
    return [*(folder / name for name in text), folder / "bare.tsv.gz"]


def test_every_form_gives_the_same_rows(tmp_path: Path):
    for path in forms(tmp_path):
        rows = list(open_alike(path).rows)
        assert [(*row.texts, row.score) for row in rows] == PAIRS, path
        assert all(row.whole and row.where.startswith(f"{path}:") for row in rows)


def test_parquet_gives_the_same_rows(tmp_path: Path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = dict(zip(("sentence1", "sentence2", "score"), map(list, zip(*PAIRS, strict=True)), strict=True))
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    rows = list(open_alike(tmp_path / "a.parquet").rows)
    assert [(*row.texts, row.score) for row in rows] == PAIRS
    assert rows[1].where.endswith("a.parquet:row 2")


def test_a_table_without_names_may_hold_pairs_or_triplets_and_columns_may_be_numbered(tmp_path: Path):
    table = tmp_path / "a.tsv"
    table.write_text("It rains.\tIt pours.\tHe runs.\n")
    assert [row.texts for row in open_alike(table).rows] == [("It rains.", "It pours.", "He runs.")]
    [row] = open_alike(table, AlikeColumns(("3", "1"))).rows
    assert row.texts == ("He runs.", "It rains.")
    table.write_text("a\tb\tc\td\n")
    with pytest.raises(DataError, match="no two columns of texts among: a, b, c, d"):
        open_alike(table)


def test_rows_with_an_empty_cell_are_known_and_others_refused(tmp_path: Path):
    table = tmp_path / "a.csv"
    table.write_text("query,positive,score\nIt rains., ,3\nIt rains.,It pours.,\nIt rains.,It pours.,3\n")
    assert [row.whole for row in open_alike(table).rows] == [False, False, True]
    for cell in ("much", "nan", "inf"):
        table.write_text(f"query,positive,score\nIt rains.,It pours.,{cell}\n")
        with pytest.raises(DataError, match=f"the score '{cell}' is no finite number") as error:
            list(open_alike(table).rows)
        assert error.value.where == f"{table}:2"
    table.write_text("query,positive,score\nIt rains.,It pours.\n")
    with pytest.raises(DataError, match="2 fields where the first row has 3"):
        list(open_alike(table).rows)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "a table without rows"),
        ('{"query": "a"}', "no two columns of texts among: query"),
        ('{"query": "a", "positive": "b"}\n{"query": "a"}', "no key 'positive'"),
        ('{"query": "a", "positive": 3}', "'positive' is a int, not a string"),
        ('{"query": "a", "positive": "b", "score": true}', "'score' is a bool, not a number"),
        ('{"query": "a", "positive": "b", "score": [1]}', "'score' is a list, not a number"),
    ],
)
def test_objects_that_are_no_rows_are_refused(text: str, told: str, tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(DataError, match=told):
        list(open_alike(tmp_path / "a.jsonl").rows)


def test_another_ending_is_refused():
    with pytest.raises(DataError, match=r"the ending '\.txt' tells no table"):
        open_alike("pairs.txt")


def test_names_that_tell_nothing_are_no_row_of_texts(tmp_path: Path):
    table = tmp_path / "a.csv"
    for text in ("a,b,sim\nIt rains.,It pours.,0.5\n", "left,right\nIt rains.,It pours.\nHe runs.,He walks.\n"):
        table.write_text(text)
        with pytest.raises(DataError, match="no two columns of texts among: "):
            open_alike(table)
    table.write_text("text,text,score\nIt rains.,It pours.,0.5\n")
    with pytest.raises(DataError, match="text"):
        open_alike(table)
    table.write_text("cat,Katze\ndog,Hund\n")
    assert [row.texts[0] for row in open_alike(table).rows] == ["cat", "dog"]
    assert "the first row is no row of names" in open_alike(table).named


def test_columns_that_are_not_used_are_told(tmp_path: Path):
    table = tmp_path / "a.csv"
    table.write_text("id,sentence1,sentence2,sim\n1,It rains.,It pours.,0.5\n")
    assert open_alike(table).named.endswith("not used: id, sim")
    lines = tmp_path / "a.jsonl"
    lines.write_text('{"query": "a", "positive": "b"}\n{"query": "a", "positive": "b", "negative": "c"}\n')
    with pytest.raises(DataError, match="no key 'negative'"):  # not left out in silence
        list(open_alike(lines).rows)
    lines.write_text('{"query": "a", "positive": null}\n')
    assert [row.whole for row in open_alike(lines).rows] == [False]
