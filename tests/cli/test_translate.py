import gzip
import json
import os
import subprocess
import sys
import threading

import pytest
import zstandard

import onehop as package
from onehop.cli.translate import CHUNK
from onehop.text import Tokenizer
from tests.fixtures.tiny import onehop

TEXT = "One Two.\n\nThree.\n"
GERMAN = "Eins Zwei.\n\nDrei.\n"


@pytest.fixture(scope="module")
def translator(trained):
    return package.load(trained)


def test_lines_come_from_standard_input_or_a_file_and_go_to_standard_output_or_a_file(trained, tmp_path):
    (tmp_path / "in.txt").write_text(TEXT)
    for given in ([], ["-"], [tmp_path / "in.txt"]):
        result = onehop("translate", trained, *given, stdin=TEXT.encode())
        assert (result.status, result.out, result.err) == (0, GERMAN, "")
    result = onehop("translate", trained / "model", tmp_path / "in.txt", "-o", tmp_path / "out.txt")
    assert (result.status, result.raw) == (0, b"")
    assert (tmp_path / "out.txt").read_text("utf-8") == GERMAN
    assert sorted(os.listdir(tmp_path)) == ["in.txt", "out.txt"]


def test_a_file_can_be_replaced_by_its_own_translation(trained, tmp_path):
    (tmp_path / "text").write_text(TEXT)
    assert onehop("translate", trained, tmp_path / "text", "-o", tmp_path / "text").status == 0
    assert (tmp_path / "text").read_text("utf-8") == GERMAN


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        b"One Two.\r\n\nThree.\n",
        TEXT.removesuffix("\n").encode(),
    ],
    ids=["plain", "mark", "crlf", "mixed", "no-last-end"],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["txt", "gz", "zst"])
def test_the_form_of_the_input_changes_nothing(trained, tmp_path, data, pack):
    path = tmp_path / f"in.{ {bytes: 'txt', gzip.compress: 'gz', zstandard.compress: 'zst'}[pack] }"
    path.write_bytes(pack(data))
    result = onehop("translate", trained, path)
    assert (result.status, result.out, result.err) == (0, GERMAN, "")


def test_a_pipe_is_read_although_it_cannot_be_read_twice(trained, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=[TEXT])
    writer.start()
    assert onehop("translate", trained, tmp_path / "pipe").out == GERMAN
    writer.join()


HOSTILE = [
    "One\0Two.",
    "مرحبا بالعالم.",
    "👩‍👩‍👧 ½ ﬁ e\u0301",
    "\u2028\x0b\x0c\x1c\x85",
    "a\rb",
    "</s> <pad> <0x41>",
    "\u200b",
    " \t ",
    "x" * 10_000,
    "One. " * 2_000,
    "￿\U0010ffff",
]


def test_every_hostile_line_gives_one_line(trained):
    data = "".join(line + "\n" for line in HOSTILE).encode()
    result = onehop("translate", trained, "--long", "cut", "--set", "decode.max_length=5", stdin=data)
    assert (result.status, result.raw.count(b"\n")) == (0, len(HOSTILE))
    assert result.raw.split(b"\n")[7] == b""
    assert "lines were too long and cut" in result.err


def test_what_a_model_writes_never_breaks_a_line(trained, translator, monkeypatch):
    monkeypatch.setattr(Tokenizer, "decode", lambda self, tokens: "a\nb\r\nc\ud800")
    for options in ([], ["--no-split"]):
        assert onehop("translate", trained, *options, stdin=b"One.\nTwo.\n").out == "a b  c?\n" * 2
    assert onehop("translate", trained, "--nbest", "2", stdin=b"One.\n").raw.count(b"\n") == 2
    row = json.loads(onehop("translate", trained, "--json", stdin=b"One.\n").out)
    assert row["translation"] == "a\nb\r\nc?"


def test_an_empty_input_gives_an_empty_output(trained, tmp_path):
    for data in (b"", b"\xef\xbb\xbf"):
        result = onehop("translate", trained, "-o", tmp_path / "out", stdin=data)
        assert (result.status, (tmp_path / "out").read_bytes()) == (0, b"" if not data else b"\n")


def test_paragraphs_are_split_into_sentences_and_joined_again_unless_this_is_not_wanted(trained):
    data = b"One Two. Three.  Four.\n"
    rows = [json.loads(onehop("translate", trained, "--json", *o, stdin=data).out) for o in ([], ["--no-split"])]
    assert rows[0]["translation"] == "Eins Zwei. Drei. Vier."
    assert [len(row["sentences"]) for row in rows] == [3, 1]


def test_candidates_of_a_line_follow_each_other_best_first_under_their_scores(trained):
    result = onehop("translate", trained, "--nbest", "3", stdin=b"One Two. Three.\n\nFour.\n")
    lines = result.out.split("\n")
    assert (len(lines), lines[3], lines[-1]) == (8, "", "")
    for candidates in (lines[:3], lines[4:7]):
        scores = [float(line.split("\t")[0]) for line in candidates]
        assert scores == sorted(scores, reverse=True)
        assert len({line.split("\t")[1] for line in candidates}) == 3


def test_more_candidates_than_the_beam_widen_it(trained):
    result = onehop("translate", trained, "--beam", "1", "--nbest", "6", stdin=b"One.\n")
    assert result.raw.count(b"\n") == 6
    assert result.out == onehop("translate", trained, "--beam", "6", "--nbest", "6", stdin=b"One.\n").out


def test_json_tells_everything_about_a_line(trained, translator):
    result = onehop("translate", trained, "--json", "--beam", "1", stdin="One.\n\nZwölf.\n".encode())
    one, blank, _ = map(json.loads, result.out.splitlines())
    best = translator.translate(["One."], translator.settings.decode.model_copy(update={"beam_size": 1}))[0]
    assert one == {
        "source": "One.", "translation": best.text, "score": round(best.score, 4), "complete": True,
        "dropped": False, "cut": 0,
        "sentences": [[{
            "text": best.text, "score": round(best.score, 4), "log_prob": round(best.candidates[0][0].log_prob, 4),
        }]],
    }  # fmt: skip
    assert (blank["translation"], blank["sentences"], blank["complete"]) == ("", [], True)
    assert "ö" in result.out


@pytest.mark.parametrize(
    ("policy", "told"),
    [("drop", "1 lines were too long and left out"), ("cut", "1 lines were too long and cut")],
)
def test_long_lines_are_dropped_or_cut_when_asked_and_counted(trained, policy, told):
    data = b"One.\n" + b"Two " * 60 + b"\nThree.\n"
    result = onehop("translate", trained, "--long", policy, stdin=data)
    first, second, third = result.out.splitlines()
    assert (result.status, first, third) == (0, "Eins.", "Drei.")
    assert bool(second) == (policy == "cut")
    assert told in result.err
    told_in_json = onehop("translate", trained, "--json", "--long", policy, stdin=data).out
    rows = [json.loads(line) for line in told_in_json.splitlines()]
    assert [row["dropped"] for row in rows] == [False, policy == "drop", False]
    assert [row["cut"] > 0 for row in rows] == [False, policy == "cut", False]


def test_a_translation_that_was_ended_by_the_maximum_length_is_told(trained):
    result = onehop("translate", trained, "--set", "decode.max_length=2", stdin=b"One Two Three.\n\n")
    assert "1 translations were ended by decode.max_length" in result.err
    assert "ended" not in onehop("translate", trained, stdin=b"One Two Three.\n").err


def test_numbers_of_lines_go_on_from_chunk_to_chunk_and_so_do_the_translations(trained):
    data = b"One.\n" + b"\n" * (CHUNK + 3) + b"Two.\n"
    assert onehop("translate", trained, stdin=data).raw == b"Eins.\n" + b"\n" * (CHUNK + 3) + b"Zwei.\n"
    assert f"standard input:{CHUNK + 5}" in onehop("translate", trained, stdin=data[:-5] + b"Two " * 60).err


def test_a_reader_that_goes_away_ends_the_command_without_a_traceback(trained, tmp_path):
    (tmp_path / "in").write_text("One.\n\n" * 3_000)
    command = 'set -o pipefail; "$0" -c "from onehop.cli.main import main; main()" translate "$@" | head -n 1'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, trained, tmp_path / "in", "--beam", "1"], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("Eins.\n", "")
