import gzip
import io
import json
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from onehop.errors import DataError, FileError
from onehop.files import (
    Run,
    decode_lines,
    free_aside,
    new_folder,
    new_text,
    read_lines,
    sha256,
    to_json,
    write_bytes,
    write_text,
)
from tests.fixtures.tiny import no_file_larger_than

LINES = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r")), max_size=8)


def decoded(data: bytes) -> list[str]:
    return list(decode_lines(io.BytesIO(data), "x.txt"))


# ------------------------------------------------------------------------------------------------ reading


@given(LINES, st.lists(st.sampled_from(["\n", "\r\n"]), min_size=8, max_size=8), st.booleans())
def test_lines_come_back_whatever_mixture_of_line_ends_they_had(lines, ends, mark):
    data = "".join(line + end for line, end in zip(lines, ends, strict=False)).encode()
    assert decoded(b"\xef\xbb\xbf" * (mark and bool(data)) + data) == [
        line.removeprefix("\ufeff") if number == 0 and not mark else line for number, line in enumerate(lines)
    ]


@given(LINES.filter(lambda lines: bool(lines) and lines[-1] != ""))
def test_a_last_line_without_an_end_counts_like_one_with(lines):
    data = "\n".join(lines).encode()
    assert decoded(data) == decoded(data + b"\n")


def test_a_line_ends_nowhere_else_than_python_str_splitlines_would_like():
    line = "a\u2028b\u2029c\x0bd\x0ce\x1cf\x85g\rh"
    assert decoded(f"{line}\nnext".encode()) == [line, "next"]


def test_a_line_of_a_million_characters_and_one_of_nul_are_lines():
    assert decoded(b"x" * 1_000_000 + b"\n\0\0\n") == ["x" * 1_000_000, "\0\0"]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gz", "zst"])
def test_compressed_text_reads_like_plain_text_and_a_damaged_file_is_told(tmp_path, pack):
    ending = {gzip.compress: "gz", zstandard.compress: "zst"}[pack]
    path = tmp_path / f"text.{ending}"
    data = pack("".join(f"Grüße {n}\n" for n in range(9000)).encode())
    path.write_bytes(data)
    assert list(read_lines(path))[8999] == "Grüße 8999"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=rf"text\.{ending}: .*damaged"):
        list(read_lines(path))
    path.write_bytes(b"plain text\n")
    with pytest.raises(DataError, match="Check the name's ending"):
        list(read_lines(path))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("Zeile eins\nfür\n".encode("latin-1"), r"x.txt:2: not UTF-8 \(byte 0xfc at column 2\)(?s:.*)ISO-8859-1"),
        ("Grüße".encode("utf-16"), "x.txt:1: UTF-16 text(?s:.*)iconv -f UTF-16"),
        (b"a\n\xed\xa0\x80", "x.txt:2: not UTF-8"),
        (b"PAR1\x15\x04\x15\xe0", r"x.txt: a Parquet file, where lines(?s:.*)one a line"),
        (b"PK\x03\x04\x14", r"x.txt: a zip archive(?s:.*)\.csv"),
        (gzip.compress(b"a"), r"x.txt: data compressed by gzip(?s:.*)\.gz"),
        (zstandard.compress(b"a"), r"x.txt: data compressed by zstd(?s:.*)\.zst"),
    ],
    ids=["latin-1", "utf-16", "surrogate", "parquet", "zip", "gzip", "zstd"],
)
def test_another_encoding_is_told_with_its_line_and_the_command_that_converts_it(data, told):
    with pytest.raises(DataError, match=told):
        decoded(data)


def test_text_that_begins_as_binary_files_do_is_text():
    assert decoded(b"PAR1 is par.\nPK") == ["PAR1 is par.", "PK"]


def test_a_missing_file_is_told_when_it_is_read(tmp_path):
    with pytest.raises(FileError, match=r"(?s)none.txt: cannot read: No such file.*current folder"):
        list(read_lines(tmp_path / "none.txt"))


# ------------------------------------------------------------------------------------------------ writing


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with no_file_larger_than(1000), pytest.raises(FileError, match=r"(?s)file: cannot write: File too large.*ulimit"):
        write_bytes(path, b"x" * 5000)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_text_written_bit_by_bit_takes_its_place_only_when_it_is_whole(tmp_path):
    path = tmp_path / "text"
    path.write_text("old")

    def half() -> None:
        with new_text(path) as stream:
            stream.write("half")
            stream.flush()
            assert path.read_text() == "old"
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        half()
    with no_file_larger_than(1000), pytest.raises(FileError, match="text: cannot write"), new_text(path) as stream:
        stream.write("x" * 5000)
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["text"])
    with new_text(path) as stream:
        stream.write("neu \ud800\n")
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"neu ?\n", ["text"])


def test_a_device_is_written_as_it_comes_and_a_link_stays_a_link(tmp_path):
    with (
        pytest.raises(FileError, match=r"(?s)/dev/full: cannot write: No space left.*disk is full"),
        new_text("/dev/full") as stream,
    ):
        stream.write("x")
    (tmp_path / "there").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with new_text(tmp_path / "link") as stream:
        stream.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text() == "new"


@pytest.mark.parametrize("write", [lambda path: write_text(path, "x"), lambda path: new_text(path).__enter__()])
def test_a_place_where_nothing_can_be_written_is_an_error_with_its_name(write):
    with pytest.raises(FileError, match=r"/proc/onehop.txt: cannot write"):
        write("/proc/onehop.txt")


def test_a_folder_is_replaced_whole(tmp_path):
    place = tmp_path / "deep" / "folder"
    for names in (["a", "b"], ["b", "c"]):
        with new_folder(place) as new:
            for name in names:
                (new / name).write_text(name)
        assert sorted(os.listdir(place)) == names
    assert os.listdir(place.parent) == ["folder"]


def test_a_folder_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    place = tmp_path / "folder"
    with new_folder(place) as new:
        (new / "a").write_text("old")
    with no_file_larger_than(1000), pytest.raises(FileError, match="folder: cannot write"), new_folder(place) as new:
        (new / "b").write_bytes(b"x" * 5000)
    assert (os.listdir(tmp_path), (place / "a").read_text()) == (["folder"], "old")

    monkeypatch.setattr("onehop.files._exchange", lambda one, other: False)  # as on other systems

    def refuse(source, target, replace=os.replace):
        if str(source).endswith(".tmp"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(FileError, match="No space left"), new_folder(place):
        pass
    assert (os.listdir(tmp_path), (place / "a").read_text()) == (["folder"], "old")


def test_a_folder_that_is_replaced_is_there_at_every_moment(tmp_path):
    place, stop = tmp_path / "folder", threading.Event()

    def write(text: str) -> None:
        with new_folder(place) as new:
            (new / "a").write_text(text)

    def watch() -> int:
        looks = 0
        while not stop.is_set():
            os.stat(place)  # an error if it is missing
            looks += 1
        return looks

    write("0")
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        for number in range(60):
            write(str(number))
        stop.set()
        assert watching.result() > 60
    assert (place / "a").read_text() == "59"


@pytest.mark.parametrize("exchanges", [True, False])
def test_what_a_killed_process_left_is_removed_and_that_of_a_living_one_is_not(tmp_path, monkeypatch, exchanges):
    if not exchanges:
        monkeypatch.setattr("onehop.files._exchange", lambda one, other: False)
    gone = subprocess.Popen(["true"])
    gone.wait()
    names = [f".folder.{gone.pid}.tmp", f".folder.{gone.pid}.old", f".folder.{os.getppid()}.tmp", ".folder.x.tmp"]
    for name in [*names, f".folder2.{gone.pid}.tmp"]:
        (tmp_path / name).mkdir()
    for text in ("one", "two"):
        with new_folder(tmp_path / "folder") as new:
            (new / "a").write_text(text)
    assert sorted(os.listdir(tmp_path)) == sorted([*names[2:], f".folder2.{gone.pid}.tmp", "folder"])
    assert (tmp_path / "folder/a").read_text() == "two"


# ------------------------------------------------------------------------------------------------ forms and places


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_json_has_one_form_whatever_the_order_of_keys(value):
    assert json.loads(to_json(value)) == value
    if isinstance(value, dict):
        assert to_json(dict(reversed(value.items()))) == to_json(value)


def test_a_hash_is_that_of_the_bytes_and_of_nothing_else(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_checkpoints_are_in_order_of_their_updates_beyond_six_digits_too(tmp_path):
    run = Run(tmp_path)
    assert run.saved() == []
    for name in ("1000000", "999999", "000002", ".000003.1.tmp", "notes"):
        (run.checkpoints / name).mkdir(parents=True)
    assert [path.name for path in run.saved()] == ["000002", "999999", "1000000"]


def test_the_name_aside_is_the_first_that_is_free(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    assert free_aside(tmp_path / "run").name == "run.1"
    (tmp_path / "run.1").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    assert free_aside(tmp_path / "run") == free_aside(type(tmp_path)(".")) == tmp_path / "run.2"
