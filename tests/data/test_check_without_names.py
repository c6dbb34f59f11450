"""The doctor on tables that name no columns: it reads them as training does."""

from pathlib import Path

from onehop.data.check import check_labels
from onehop.data.labelled import LabelColumns, open_labelled
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused

TEXTS = [f"the {kind} room of guest {number}" for number in range(6) for kind in ("warm", "cold")]
ROWS = [f"{text}\t{'good' if 'warm' in text else 'bad'}" for text in TEXTS]


def found(report) -> dict[str, list[str]]:
    return {one.name: one.lines for one in report.findings}


def test_two_columns_are_read_as_training_reads_them(tmp_path: Path):
    for rows in (ROWS, ["\t".join(reversed(row.split("\t"))) for row in ROWS]):
        file = tmp_path / "reviews.tsv"
        file.write_text("\n".join([*rows, rows[3]]) + "\n", "utf-8")
        report = check_labels(file)
        assert report.pairs == {"data": len(list(open_labelled(file).rows))} == {"data": 13}
        assert found(report) == {"duplicates": [f"{file}:13"]}


def test_columns_are_named_by_their_numbers(tmp_path: Path):
    file, valid = tmp_path / "reviews.tsv", tmp_path / "valid.tsv"
    file.write_text("".join(f"guest\t{row.replace(chr(9), chr(9) + 'x' + chr(9))}\n" for row in ROWS), "utf-8")
    valid.write_text("guest\t" + ROWS[0].replace("\t", "\tx\t") + "\n", "utf-8")
    report = check_labels(file, label="4", texts=["2"], others={"valid": valid})
    assert report.pairs == {"data": len(list(open_labelled(file, LabelColumns(("2",), "4")).rows)), "valid": 1}
    assert found(report) == {"overlap": [f"{valid}:1"]}


def test_a_cleaned_copy_has_no_names_either(tmp_path: Path):
    file = tmp_path / "reviews.tsv"
    file.write_text("\n".join([*ROWS, ROWS[3]]) + "\n", "utf-8")
    command("data", "check", "--data", file, "--fix", tmp_path / "clean")
    assert (tmp_path / "clean" / "reviews.tsv").read_text("utf-8").splitlines() == ROWS


def test_a_column_that_tells_the_label_may_stand_beside_texts_that_are_named(tmp_path: Path):
    file = tmp_path / "reviews.tsv"
    lines = [f"{row}\t{'*' if row.endswith('bad') else ''}" for row in ROWS]
    file.write_text("\n".join(["text\tlabel\tmark", *lines]) + "\n", "utf-8")
    assert "label-leak" in found(check_labels(file))
    assert found(check_labels(file, texts=["text"])) == {}


def test_texts_named_by_number_need_a_label_named_too(tmp_path: Path):
    for rows in (ROWS, [row.split("\t")[0] for row in ROWS], [f"{row}\tx" for row in ROWS]):
        file = tmp_path / "reviews.tsv"
        file.write_text("\n".join(rows) + "\n", "utf-8")
        refused(command("data", "check", "--data", file, "--text", "1"), "no column of labels among: 1", "--label")
