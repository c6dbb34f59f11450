"""Readers of parallel text: what stands on line n comes back as pair n, and every fault is told with its line."""

import gzip
import json
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from onehop.data import Pair, read_parallel, read_table
from onehop.errors import DataError, FileError

HOSTILE = [
    "",
    " \t ",
    "nul \0 inside",
    "a lone \r return",
    "next line \x85, line separator \u2028, form feed \f, file separator \x1c",
    "שלום לכם and مرحبا",
    "👩‍👩‍👧 family, e\u0301 combining, \ufeff mark inside",
    "x" * 100_000,
    "</s> <pad>",
]
LINES = st.lists(
    st.one_of(st.sampled_from(HOSTILE), st.text().filter(lambda line: "\n" not in line)), min_size=1, max_size=8
).map(lambda lines: [line.rstrip("\r") for line in lines])


def write(path: Path, data: bytes) -> Path:
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        data = zstandard.compress(data)
    path.write_bytes(data)
    return path


@settings(deadline=None, max_examples=60)
@given(
    sources=LINES,
    ends=st.tuples(st.sampled_from(["\n", "\r\n"]), st.sampled_from(["\n", "\r\n"])),
    endings=st.tuples(st.sampled_from(["", ".gz", ".zst"]), st.sampled_from(["", ".gz", ".zst"])),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_line_n_of_both_files_is_pair_n(tmp_path_factory, sources, ends, endings, mark):
    folder = tmp_path_factory.mktemp("pairs")
    targets = [line[::-1].rstrip("\r") for line in sources]
    paths = [
        write(folder / f"{side}{ending}", mark + "".join(line + end for line in lines).encode())
        for side, lines, end, ending in zip("ab", (sources, targets), ends, endings, strict=True)
    ]
    if mark == b"" and sources[0].startswith("\ufeff"):
        sources[0] = sources[0][1:]
    if mark == b"" and targets[0].startswith("\ufeff"):
        targets[0] = targets[0][1:]
    assert list(read_parallel(*paths)) == [Pair(*pair) for pair in zip(sources, targets, strict=True)]


@pytest.mark.parametrize(("left", "right"), [(3, 5), (5, 3), (0, 2), (2, 0)])
def test_unequal_files_are_refused_with_both_names_and_both_counts(tmp_path, left, right):
    source = write(tmp_path / "talk.en", b"yes\n" * left)
    target = write(tmp_path / "talk.de", b"ja\n" * right)
    with pytest.raises(DataError) as caught:
        list(read_parallel(source, target))
    assert caught.value.problem == f"{source} has {left} lines and {target} has {right}"
    short = source if left < right else target
    assert caught.value.where == f"{short}:{min(left, right)}"


@settings(deadline=None, max_examples=60)
@given(cells=st.lists(LINES, min_size=1, max_size=6), ending=st.sampled_from([".tsv", ".txt.gz", ".tsv.zst"]))
def test_a_table_gives_its_first_two_columns(tmp_path_factory, cells, ending):
    rows = [[cell.replace("\t", " ").replace("\ufeff", "") for cell in row] + ["last"] for row in cells]
    path = tmp_path_factory.mktemp("table") / f"pairs{ending}"
    write(path, "".join("\t".join(row) + "\n" for row in rows).encode())
    assert list(read_table(path)) == [Pair(row[0], row[1]) for row in rows]


def test_a_blank_line_of_a_table_is_an_empty_pair(tmp_path):
    for name, line in (("a.tsv", "yes\tja"), ("a.jsonl", '{"source": "yes", "target": "ja"}')):
        path = write(tmp_path / name, f"{line}\n\n   \r\n{line}\n".encode())
        assert list(read_table(path)) == [("yes", "ja"), ("", ""), ("", ""), ("yes", "ja")]


@settings(deadline=None, max_examples=60)
@given(
    pairs=st.lists(st.tuples(st.text(st.characters()), st.text(st.characters())), min_size=1, max_size=6),
    escaped=st.booleans(),
)
def test_json_strings_come_back_whole(tmp_path_factory, pairs, escaped):
    """Line ends, NUL and lone surrogates (which JSON can hold as escapes) are part of the text."""
    pairs = [*pairs, ("two\nlines\r\n", "\0\ud800")]
    path = tmp_path_factory.mktemp("json") / "pairs.jsonl"
    escaped = escaped or any("\ud800" <= char <= "\udfff" for pair in pairs for side in pair for char in side)
    lines = [json.dumps({"target": t, "id": 3, "source": s}, ensure_ascii=escaped) for s, t in pairs]
    write(path, "\n".join(lines).encode())
    # A high and a low surrogate side by side are one character in JSON.
    joined = [
        Pair(*(side.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") for side in p)) for p in pairs
    ]
    assert list(read_table(path)) == joined


@pytest.mark.parametrize(
    ("name", "line", "says"),
    [
        ("a.tsv", "one column", "one column"),
        ("a.txt", "comma, separated", "one column"),
        ("a.jsonl", "{'source': 'yes'}", "not JSON"),
        ("a.jsonl", '{"source": "yes", "target": "ja"', "not JSON"),
        ("a.jsonl", "[" * 100_000, "not JSON"),
        ("a.jsonl", '["yes", "ja"]', "list"),
        ("a.jsonl", "null", "NoneType"),
        ("a.jsonl", '{"source": "yes", "traget": "ja"}', "did you mean 'traget'"),
        ("a.jsonl", '{"target": "ja"}', "'source'"),
        ("a.jsonl", '{"source": "yes", "target": 3}', "int"),
        ("a.jsonl", '{"source": null, "target": "ja"}', "NoneType"),
    ],
)
def test_a_line_without_a_pair_is_told_with_its_number_and_a_remedy(tmp_path, name, line, says):
    good = "yes\tja" if name != "a.jsonl" else '{"source": "yes", "target": "ja"}'
    path = write(tmp_path / name, f"{good}\n{good}\n{line}\n".encode())
    with pytest.raises(DataError) as caught:
        list(read_table(path))
    assert says in caught.value.problem
    assert caught.value.where == f"{path}:3"
    assert caught.value.remedy
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize(
    ("data", "line"), [(b"ja\tja\nn\xe9\tja\n", 2), ("ja\tja\n".encode("utf-16"), 1), (b"\x80\x81\tx\n", 1)]
)
def test_text_in_another_encoding_is_told_with_its_line(tmp_path, data, line):
    path = write(tmp_path / "pairs.tsv", data)
    with pytest.raises(DataError) as caught:
        list(read_table(path))
    assert caught.value.where == f"{path}:{line}"


@pytest.mark.parametrize("name", ["pairs.xls", "pairs", "pairs.gz", "pairs.json", "pairs.tsv.bz2", "pairs.parquet.gz"])
def test_a_name_that_tells_no_form_is_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"\.tsv"):
        list(read_table(write(tmp_path / name, b"yes\tja\n")))


def test_a_missing_file_is_a_file_error(tmp_path):
    with pytest.raises(FileError) as caught:
        list(read_table(tmp_path / "no.tsv"))
    assert caught.value.where == str(tmp_path / "no.tsv")
    (tmp_path / "a").write_text("yes\n")
    with pytest.raises(FileError) as caught:
        list(read_parallel(tmp_path / "a", tmp_path / "b"))
    assert caught.value.where == str(tmp_path / "b")
