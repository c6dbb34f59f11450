import gzip
import json
import os
import re
import subprocess
import sys
import threading

import pytest
import zstandard

import onehop as package
from onehop.cli.translate import CHUNK
from onehop.text import Tokenizer
from tests.fixtures.tiny import ENGLISH, onehop, refused

TEXT = "One Two.\n\nThree.\n"
GERMAN = "Eins Zwei.\n\nDrei.\n"
HOW_IT_RAN = r"(compiling kernels .* once\n)?float32 on .*, \d+% of the weights.*, \d+ threads?\n"


@pytest.fixture(scope="module")
def translator(trained):
    return package.load(trained)


def test_lines_come_from_standard_input_or_a_file_and_go_to_standard_output_or_a_file(trained, tmp_path):
    (tmp_path / "in.txt").write_text(TEXT)
    for given in ([], ["-"], [tmp_path / "in.txt"]):
        result = onehop("translate", trained, *given, stdin=TEXT.encode())
        assert (result.status, result.out) == (0, GERMAN)
        assert re.fullmatch(HOW_IT_RAN, result.err)
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
    assert (result.status, result.out) == (0, GERMAN)
    assert re.fullmatch(HOW_IT_RAN, result.err)


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


def test_candidates_are_rows_of_line_number_score_and_text_and_every_line_has_one(trained):
    long = b"Two " * 60
    result = onehop(
        "translate", trained, "--nbest", "3", "--long", "drop", stdin=b"One Two. Three.\n\n" + long + b"\nFour.\n"
    )
    rows = [line.split("\t") for line in result.out.splitlines()]
    assert [row[0] for row in rows] == ["1"] * 3 + ["2", "3"] + ["4"] * 3
    assert rows[3][1:] == rows[4][1:] == ["0.0000", ""]
    for candidates in (rows[:3], rows[5:]):
        scores = [float(score) for _, score, _ in candidates]
        assert scores == sorted(scores, reverse=True)
        assert len({text for *_, text in candidates}) == 3


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
        "dropped": False, "cut": 0, "windows": 0, "lost": 0,
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


def test_a_long_line_is_translated_whole_in_windows_when_asked_and_counted(trained):
    numbers = [1, 5, 2, 8, 3, 9, 4, 7, 6, 0] * 4
    data = ("One.\n" + " ".join(ENGLISH[n] for n in numbers) + ".\nThree.\n").encode()
    result = onehop("translate", trained, "--long", "window", "--no-split", "--json", stdin=data)
    first, long, third = map(json.loads, result.out.splitlines())
    assert (result.status, first["translation"], third["translation"]) == (0, "Eins.", "Drei.")
    assert (first["windows"], third["windows"], long["cut"], long["dropped"]) == (0, 0, 0, False)
    assert long["windows"] == len(long["sentences"]) > 1
    assert long["translation"] == " ".join(sentence[0]["text"] for sentence in long["sentences"])
    assert f"1 lines were too long and translated in {long['windows']} windows" in result.err
    refused(onehop("translate", trained, stdin=data), "standard input:2", "--long window")


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
    assert done.stdout == "Eins.\n"
    assert re.fullmatch(HOW_IT_RAN, done.stderr)


# ------------------------------------------------------------------------------------------------ sampling

HOT = ["--sample", "--set", "decode.temperature=3", "--set", "decode.max_length=9"]


def test_samples_are_those_of_the_library_and_the_same_for_the_same_seed(trained, translator):
    options = ["--nbest", "4", "--seed", "5", *HOT]
    data = b"One Two.\n\nThree.\n"
    out = onehop("translate", trained, *options, stdin=data).out
    assert out == onehop("translate", trained, *options, "--chunk-size", "1", stdin=data).out
    assert out != onehop("translate", trained, *options[:2], "--seed", "6", *HOT, stdin=data).out
    decode = translator.settings.decode.model_copy(
        update={"sample": True, "temperature": 3.0, "seed": 5, "max_length": 9}
    )
    found = translator.translate(["One Two.", "", "Three."], decode, nbest=4)
    expected = [(str(n), c.text) for n, t in enumerate(found, 1) for part in t.candidates for c in part]
    rows = [line.split("\t") for line in out.splitlines()]
    assert [(number, text) for number, _, text in rows if number != "2"] == expected
    assert len(set(expected)) > 4


def test_one_sample_of_a_line_is_the_first_of_many(trained):
    one = onehop("translate", trained, *HOT, stdin=b"One Two.\n").out
    many = onehop("translate", trained, "--nbest", "3", *HOT, stdin=b"One Two.\n").out
    assert many.splitlines()[0].split("\t")[2] + "\n" == one


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--sample", "--beam", "4"], "a sample follows one hypothesis"),
        (["--seed", "3"], "only sampling uses a seed"),
        (["--set", "decode.top_p=0.9"], "top_p=0.9: only sampling uses this; set decode.sample = true"),
        (["--sample", "--set", "decode.top_p=1.5"], "decode.top_p"),
        (["--sample", "--set", "decode.temperature=0"], "decode.temperature"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(trained, options, told):
    result = onehop("translate", trained, *options, stdin=b"One.\n")
    assert (result.status, result.raw) == (2, b"")
    assert told in result.err


def test_a_package_that_samples_searches_when_told_so(trained, translator, tmp_path):
    decode = translator.settings.decode.model_copy(update={"sample": True, "top_p": 0.9, "seed": 3})
    settings = translator.settings.model_copy(update={"decode": decode})
    sampler = package.Translator(translator.model, translator.source_tokenizer, translator.target_tokenizer, settings)
    package.tasks.save_package(package.tasks.new_package(sampler, ["One."], "# Samples"), tmp_path / "sampler")
    greedy = onehop("translate", trained, "--beam", "1", stdin=TEXT.encode()).out
    search = ["--beam", "1", "--set", "decode.sample=false"]
    assert onehop("translate", tmp_path / "sampler", *search, stdin=TEXT.encode()).out == greedy
    refused(onehop("translate", tmp_path / "sampler", "--beam", "1", stdin=b"One.\n"), "--beam", "decode.sample=false")
    golden = (tmp_path / "sampler" / "golden.jsonl").read_text("utf-8")
    assert json.loads(golden)["target"] == "Eins."


# ------------------------------------------------------------------------------------------------ prefixes


def test_each_translation_begins_as_its_line_of_the_prefix_file_says(trained, tmp_path):
    (tmp_path / "begin").write_text("Neun\n\n\nDr\n")
    result = onehop("translate", trained, "--prefix", tmp_path / "begin", stdin=b"One Two. One.\n\nThree.\nThree.\n")
    first, second, third, fourth = result.out.splitlines()
    assert first.startswith("Neun")
    assert (second, third, fourth[:2]) == ("", "Drei.", "Dr")
    assert "lines were not split into sentences" in result.err
    assert (
        "not split"
        not in onehop("translate", trained, "--no-split", "--prefix", tmp_path / "begin", stdin=b"O\n" * 4).err
    )


def test_prefixes_that_do_not_fit_are_told_before_the_first_output(trained, tmp_path):
    (tmp_path / "begin").write_text("Eins\n" * 3)
    options = ["translate", trained, "--prefix", tmp_path / "begin", "--chunk-size", "1", "--long", "drop"]
    for lines in (b"One.\n" * 2, b"One.\n" * 4, b""):
        count = lines.count(b"\n")
        refused(onehop(*options, stdin=lines), "begin: 3 prefixes for", f"{count} lines of standard input")
    refused(onehop(*options, stdin=b"One.\n\nTwo.\n"), "begin:2: a prefix for a blank line")
    refused(onehop(*options, "--set", "decode.max_length=1", stdin=b"One.\n" * 3), "begin:1: a prefix of")
    refused(onehop("translate", trained, "--prefix", tmp_path / "none", stdin=b"One.\n"), "none: cannot read")


# ------------------------------------------------------------------------------------------------ ensembles


def test_an_ensemble_of_the_same_models_is_the_model_and_a_model_that_does_not_fit_is_refused(trained, tmp_path):
    data = TEXT.encode()
    together = onehop("translate", trained, "--ensemble", trained, "--ensemble", trained, stdin=data)
    assert (together.status, together.out) == (0, GERMAN)
    scores = [
        float(json.loads(onehop("translate", trained, *more, "--json", stdin=b"One.\n").out)["score"])
        for more in ([], ["--ensemble", trained])
    ]
    assert scores[0] == pytest.approx(scores[1], abs=2e-4)
    refused(onehop("translate", trained, "--ensemble", tmp_path, stdin=data), "not a model")


# ------------------------------------------------------------------------------------------------ streaming


@pytest.mark.parametrize("long", ["drop", "cut", "window"])
def test_a_line_is_answered_before_the_next_one_is_there_unless_all_must_be_checked_first(trained, long):
    command = "from onehop.cli.main import main; main()"
    options = ["translate", trained, "--long", long, "--chunk-size", "1", "--beam", "1", "--threads", "1"]
    with subprocess.Popen(
        [sys.executable, "-c", command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        for english, german in (("One.", "Eins."), ("Two.", "Zwei.")):
            process.stdin.write(english + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == german + "\n"
        process.stdin.close()
        assert process.stdout.read() == ""
    assert process.returncode == 0


def test_an_error_in_a_late_line_comes_before_the_first_output(trained):
    data = b"One.\n" * 5 + b"Two " * 60 + b"\n"
    refused(onehop("translate", trained, "--chunk-size", "2", stdin=data), "standard input:6")


def test_the_size_of_chunks_changes_nothing(trained):
    data = TEXT.encode() * 3
    for long in ("error", "cut", "window"):
        outs = {
            onehop("translate", trained, "--long", long, "--chunk-size", size, stdin=data).out for size in ("1", "4")
        }
        assert outs == {GERMAN * 3}


def test_alignments_are_a_last_column_of_numbers_of_words(trained):
    lines = b"One Two. Three.\n\nFour Five.\n"
    plain = onehop("translate", trained, stdin=lines).out.splitlines()
    rows = [line.split("\t") for line in onehop("translate", trained, "--alignments", stdin=lines).out.splitlines()]
    assert [text for text, _ in rows] == plain
    assert rows[1] == ["", ""]
    for (text, links), source in zip(rows, lines.decode().splitlines(), strict=True):
        pairs = [tuple(map(int, link.split("-"))) for link in links.split()]
        assert pairs == sorted(set(pairs))
        assert {target for _, target in pairs} <= set(range(len(text.split())))
        assert {one for one, _ in pairs} <= set(range(len(source.split())))
    assert len(rows[0][1].split()) >= 2


def test_alignments_go_with_json_and_with_candidates(trained):
    row = json.loads(onehop("translate", trained, "--alignments", "--json", stdin=b"One Two. Three.\n").out)
    [found] = row["alignments"]
    assert found["source_words"] == row["source"].split()
    assert found["target_words"] == row["translation"].split()
    assert found["difference"] < 1e-4
    written = " ".join(f"{source}-{target}" for source, target in found["links"])
    assert onehop("translate", trained, "--alignments", stdin=b"One Two. Three.\n").out.split("\t")[1] == written + "\n"

    several = onehop("translate", trained, "--alignments", "--nbest", "3", stdin=b"One Two.\n\n").out.splitlines()
    assert [len(line.split("\t")) for line in several] == [4, 4, 4, 4]
    row = json.loads(onehop("translate", trained, "--alignments", "--nbest", "3", "--json", stdin=b"One Two.\n").out)
    texts = [candidate["text"] for candidate in row["sentences"][0]]
    assert [found["target_words"] for found in row["alignments"]] == [text.split() for text in texts]


def test_an_ensemble_has_no_alignments_which_is_told_before_the_input_is_read(trained):
    result = onehop("translate", trained, "--ensemble", trained, "--alignments", stdin=b"One.\n")
    refused(result, "no attention of its own")
