"""The data doctor finds what was spoiled, where it was spoiled, and leaves sound text alone."""

import json
import random
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onehop.data import Pair, PairStore
from onehop.data.check import Input, Report, check_labels, check_pairs, check_store, clean, paragraph
from onehop.data.check.mojibake import Mojibake
from onehop.data.check.text import STEM, Text
from onehop.data.tatoeba import pairs, split
from onehop.errors import DataError, FileError, OnehopError
from tests.fixtures.tiny import number_pairs, onehop, refused, trained

__all__ = ["trained"]

MIDDLE, SIZE = 60_000, 6_000


@cache
def corpus() -> list[Pair]:
    """Return a stretch of Tatoeba: sorted by length, each English sentence several times in a row."""
    return tatoeba()[MIDDLE : MIDDLE + SIZE]


tatoeba = cache(pairs)


def written(folder: Path, name: str, rows: list[Pair]) -> Input:
    paths = [folder / f"{name}.{side}" for side in ("en", "de")]
    for path, lines in zip(paths, zip(*rows, strict=True), strict=True):
        path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass"))
    return Input(*map(str, paths))


def found(report: Report) -> dict[str, int]:
    return {finding.name: finding.count for finding in report.findings}


def errors(report: Report) -> list[str]:
    return [finding.name for finding in report.findings if finding.severity == "error"]


def line(place: str) -> int:
    return int(place.rpartition(":")[2])


def test_sound_text_gives_no_error(tmp_path):
    train, held = split(corpus())
    report = check_pairs({"train": [written(tmp_path, "a", train)], "test": [written(tmp_path, "b", held)]}).report
    assert (report.sound, errors(report), report.unchecked) == (True, [], [])


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
@pytest.mark.parametrize(("side", "lines"), [(1, 1), (0, 1), (1, 3)])
def test_the_line_from_which_on_a_side_is_shifted_is_named_within_20(tmp_path, order, side, lines):
    rows = corpus() if order == "sorted" else random.Random(3).sample(corpus(), SIZE)
    cut = 2_432
    sides = [list(column) for column in zip(*rows, strict=True)]
    del sides[side][cut : cut + lines]
    report = check_pairs({"train": [written(tmp_path, "a", list(map(Pair, *sides)))]}).report
    shift = next(finding for finding in report.findings if finding.name == "shifted-lines")
    assert errors(report) == ["shifted-lines"]
    assert len(shift.lines) == 1
    assert abs(line(shift.lines[0]) - 1 - cut) <= 20
    assert f"target line n{-lines if side else lines:+d}" in shift.detail


def test_a_corpus_shifted_from_its_first_line_on_is_found(tmp_path):
    rows = corpus()
    moved = [Pair(one.source, other.target) for one, other in zip(rows, rows[2:], strict=False)]
    report = check_pairs({"train": [written(tmp_path, "a", moved)]}).report
    assert "shifted-lines" in errors(report)
    assert found(report)["shifted-lines"] == len(moved)


def test_a_stretch_of_lines_that_belong_nowhere_is_found(tmp_path):
    rows = list(corpus())
    first, last = 2_000, 4_000
    targets = random.Random(1).sample([pair.target for pair in rows[first:last]], last - first)
    rows[first:last] = [Pair(pair.source, target) for pair, target in zip(rows[first:last], targets, strict=True)]
    report = check_pairs({"train": [written(tmp_path, "a", rows)]}).report
    stretch = next(finding for finding in report.findings if finding.name == "unrelated-lines")
    assert stretch.severity == "error"
    assert abs(line(stretch.lines[0]) - first) <= 100
    assert abs(stretch.count - (last - first)) <= 400  # the end of a stretch is known to some hundred lines


def test_exchanged_pairs_are_found_one_by_one(tmp_path):
    rows = list(corpus())
    for number in range(3_000, 3_050):
        rows[number] = Pair(*reversed(rows[number]))
    report = check_pairs({"train": [written(tmp_path, "a", rows)]}).report
    swapped = next(finding for finding in report.findings if finding.name == "swapped-sides")
    assert swapped.severity == "error"
    assert 48 <= swapped.count <= 50
    assert {line(place) for place in swapped.lines} <= set(range(3_001, 3_051))


def test_test_pairs_and_sources_in_the_training_data_are_found(tmp_path):
    train, held = split(corpus())
    leaked = [*train, held[3], Pair(held[5].source.upper() + " ", "Etwas anderes.")]
    report = check_pairs({"train": [written(tmp_path, "a", leaked)], "test": [written(tmp_path, "b", held)]}).report
    lines = {finding.name: [line(place) for place in finding.lines] for finding in report.findings}
    assert (lines["overlap"], lines["source-overlap"]) == ([4], [6])
    assert errors(report) == ["overlap"]


def test_mojibake_is_found_and_mended(tmp_path):
    rows = list(corpus())
    numbers = [n for n, pair in enumerate(rows) if "ü" in pair.target][::20]
    for number in numbers:
        rows[number] = Pair(rows[number].source, rows[number].target.encode().decode("cp1252", "replace"))
    report = check_pairs({"train": [written(tmp_path, "a", rows)]}).report
    assert found(report)["mojibake"] >= len(numbers)
    assert "mojibake" in errors(report)


TYPOGRAPHY = {
    "German": ["„Viel Spaß“, sagte er", "Das war groß…", "Gruß – und Kuß", "‚Maß‘", "Er hieß Groß«", "Übung ist alles"],
    "French": [
        "Il dit\u00a0: «\u00a0désolé\u00a0»",
        "voilà\u00a0!",
        "l'amitié\u00a0»",
        "À l’été…",
        "« Ça va »",
        "CAFÉ’S",
    ],
    "Spanish": ["¡NO SÉ…!", "¿Qué?», dijo", "Él respondió: «Sí»", "NIÑO”", "año 2°"],
    "Portuguese": ["MAÇÃ”, disse", "NÃO…", "SÃO PAULO –", "irmã»", "ação"],
}


@pytest.mark.parametrize("language", TYPOGRAPHY)
def test_good_typography_is_no_mojibake(language):
    lines = TYPOGRAPHY[language]
    for few in (lines, lines[:1], lines * 20):
        known = Mojibake(few)
        assert [known.mended(line) for line in few] == few


@pytest.mark.parametrize("language", TYPOGRAPHY)
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_what_was_read_wrongly_is_mended_among_good_typography(language, encoding):
    lines = [line for line in TYPOGRAPHY[language] for _ in range(20)]
    broken = [line.encode().decode(encoding, "replace") for line in lines[::20]]
    known = Mojibake([*lines, *broken])
    right = sum(known.mended(wrong) == line for wrong, line in zip(broken, lines[::20], strict=True))
    assert right >= sum("\ufffd" not in wrong for wrong in broken) - 1
    assert [known.mended(line) for line in lines] == lines


@given(st.text(st.sampled_from("abc .äöüßéèçñåøÉÖ"), max_size=30))
def test_a_text_that_was_read_as_latin_1_is_mended(text):
    wrong = text.encode().decode("latin-1")
    assert Mojibake([wrong] * 20).mended(wrong) == text


def test_mojibake_of_other_scripts_and_of_what_was_read_wrongly_twice_is_mended():
    for text in (
        "Где находится вокзал?",
        "今日は天気がいい。",
        "Πού είναι ο σταθμός;",
        "Schöne Grüße",
        "It’s “fine” – €5",
    ):
        once = text.encode().decode("latin-1")
        twice = once.encode().decode("latin-1")
        assert Mojibake([once] * 10).mended(once) == text
        assert Mojibake([twice] * 10).mended(twice) == text


def test_a_cleaned_copy_leaves_good_typography_alone(tmp_path):
    rows = [
        Pair(f"{pair.source} {n}", f"„{pair.target}“ Viel Spaß… {n} groß“") for n, pair in enumerate(corpus()[:2_000])
    ]
    diagnosis = check_pairs({"train": [written(tmp_path, "a", rows)]})
    assert "mojibake" not in found(diagnosis.report)
    assert clean(diagnosis, tmp_path / "clean")["train"]["repaired"] == 0
    assert (tmp_path / "clean" / "a.de").read_text("utf-8") == (tmp_path / "a.de").read_text("utf-8")


@pytest.mark.parametrize("offset", [4, 40, -7])
def test_a_file_that_is_shifted_as_a_whole_is_found_however_far(tmp_path, offset):
    rows = random.Random(0).sample(tatoeba(), 3_000)
    targets = [pair.target for pair in rows]
    targets = targets[-offset:] + targets[:-offset]
    report = check_pairs({"train": [written(tmp_path, "a", [*map(Pair, [p.source for p in rows], targets)])]}).report
    shifted = next(finding for finding in report.findings if finding.name == "shifted-lines")
    assert shifted.severity == "error"
    assert shifted.detail.endswith(f"n{offset:+d}")


def test_targets_in_another_order_are_found(tmp_path):
    rows = random.Random(0).sample(tatoeba(), 3_000)
    targets = random.Random(1).sample([pair.target for pair in rows], len(rows))
    mixed = [*map(Pair, [pair.source for pair in rows], targets)]
    report = check_pairs({"train": [written(tmp_path, "a", mixed)]}).report
    assert errors(report) == ["unrelated-lines"]
    store = PairStore()
    store.add(mixed, "a.tsv")
    assert "does not look sound" in paragraph(check_store(store, []), len(mixed))


def test_the_line_after_which_a_block_is_missing_is_named_and_by_how_many_lines(tmp_path):
    rows = random.Random(0).sample(tatoeba(), 12_000)
    targets = [pair.target for pair in rows]
    del targets[5_000:5_010]
    short = [*map(Pair, [pair.source for pair in rows[:-10]], targets)]
    report = check_pairs({"train": [written(tmp_path, "a", short)]}).report
    finding = next(finding for finding in report.findings if finding.name == "unrelated-lines")
    assert abs(line(finding.lines[0]) - 5_001) <= 20
    assert finding.detail.endswith("n-10")


def test_single_words_and_labels_are_not_taken_for_strangers(tmp_path):
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randrange(4, 12))) for _ in range(2_000)]
    names = [Pair(word, " ".join(word.upper())) for word in words]
    labels = [Pair(pair.source, draw.choice(("good", "bad"))) for pair in corpus()[:2_000]]
    for rows in (names, labels):
        report = check_pairs({"train": [written(tmp_path, "a", rows)]}).report
        assert not {"unrelated-lines", "shifted-lines"} & set(found(report))


def test_files_without_a_pair_are_an_error(tmp_path):
    for name in ("a.en", "a.de"):
        (tmp_path / name).write_text("", "utf-8")
    report = check_pairs({"train": [Input(str(tmp_path / "a.en"), str(tmp_path / "a.de"))]}).report
    assert errors(report) == ["no-pairs"]


def test_a_cleaned_copy_counts_the_lines_whose_encoding_was_guessed(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"A room.\tEin R\xe4um.\nA door.\tEine T\xc3\xbcr.\n")
    diagnosis = check_pairs({"train": [Input(str(tmp_path / "a.tsv"))]})
    assert clean(diagnosis, tmp_path / "clean")["train"]["converted"] == 1


SPOILED = {
    "empty-sides": Pair("Nobody came.", " "),
    "copied-sources": Pair("The same on both sides.", " The same on both sides."),
    "length-ratio": Pair("No.", "Ein sehr langer Satz, der viel mehr sagt, als da stand. " * 5),
    "wrong-script": Pair("Where is it?", "Где же она теперь находится?"),
    "wrong-language": Pair(
        "She did not know where they would have gone.", "This is what they would have thought of it."
    ),
    "replacement-characters": Pair("A room.", "Ein R\ufffdum."),
    "control-characters": Pair("A bell\x07.", "Eine Glocke."),
    "mixed-normalization": Pair("A door.", "Eine Tu\u0308r."),
    "lone-surrogates": Pair("Half \ud83d.", "Halb."),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_pair_is_found_and_its_line_named(tmp_path, name):
    rows = list(corpus()[:3_000])
    rows[1_234] = SPOILED[name]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(pair._asdict()) + "\n" for pair in rows), "utf-8")
    report = check_pairs({"train": [Input(str(file))]}).report
    assert [f.lines for f in report.findings if f.name == name] == [[f"{file}:1235"]]


def test_targets_that_restore_case_are_no_copies(tmp_path):
    cased = [pair.target for pair in corpus()[:600]]
    rows = [Pair(line.lower(), line) for line in dict.fromkeys(cased)]
    diagnosis = check_pairs({"train": [written(tmp_path, "a", rows)]})
    assert (diagnosis.report.sound, "copied-sources" in found(diagnosis.report)) == (True, False)
    counts = clean(diagnosis, tmp_path / "clean")["train"]
    assert (counts["kept"] > 0.95 * len(rows), counts["swapped"]) == (True, 0)


def test_a_cleaned_copy_without_a_line_is_refused_and_one_of_less_than_half_told(tmp_path):
    rows = [Pair(line, line) for line in {pair.target for pair in corpus()[:60]}]
    words = ["data", "check", "--fix", tmp_path / "clean"]
    files = written(tmp_path, "a", rows)
    pairs = ["--source", files.source, "--target", files.target]
    told = f"none of the {len(rows)} lines of train: copied-sources ({len(rows)}: targets that are their source)"
    refused(onehop(*words, *pairs), told, f"{files.target}:1")
    named = table(tmp_path / "t.tsv", [("text", "label"), *[("A room.", ""), ("A bed.", "")]])
    refused(onehop(*words, "--data", named), "none of the 2 lines of data: label-missing (2: rows without a label)")
    assert not (tmp_path / "clean").exists()
    written(tmp_path, "a", [*rows, Pair("A room.", "Ein Raum.")])
    done = onehop(*words, *pairs)
    assert f"warning: train: {len(rows)} of {len(rows) + 1} lines are left out: copied-sources" in done.err
    assert (tmp_path / "clean/a.en").read_text("utf-8") == "A room.\n"


def test_files_that_training_would_refuse_are_told_and_read_on(tmp_path):
    files = written(tmp_path, "a", corpus()[:1_000])
    Path(files.target).write_bytes(Path(files.target).read_bytes() + "Zwölf.\nMehr.\n".encode("latin-1"))
    assert set(errors(check_pairs({"train": [files]}).report)) == {"line-count", "not-utf-8"}
    table = tmp_path / "pairs.tsv"
    table.write_text("Yes.\tJa.\nonly one\nNo.\tNein.\n", "utf-8")
    report = check_pairs({"train": [Input(str(table))]}).report
    assert (errors(report), report.findings[0].lines) == (["unreadable"], [f"{table}:2"])
    with pytest.raises(FileError):
        check_pairs({"train": [Input("nowhere.tsv")]})


def test_near_duplicates_are_pairs_that_differ_in_little(tmp_path):
    rows = [pair for pair in corpus()[:400] if len(pair.source) > 20]
    distinct = list({pair.source[:12]: pair for pair in rows}.values())
    rows = [*distinct, Pair(distinct[0].source + " So it was said.", distinct[0].target[:-1] + "!")]
    one = check_pairs({"train": [written(tmp_path, "a", rows)]}, near=True).report
    assert "near-duplicates" not in found(one)
    long = [Pair(a.source + " " + b.source + " " + c.source, a.target + " " + b.target + " " + c.target)
            for a, b, c in zip(distinct, distinct[1:], distinct[2:], strict=False)][::3]  # fmt: skip
    rows = [*long, Pair(long[2].source[:-1] + "!", long[2].target)]
    report = check_pairs({"train": [written(tmp_path, "b", rows)]}, near=True).report
    assert next(f.lines for f in report.findings if f.name == "near-duplicates")[-1].endswith(f":{len(rows)}")


def test_a_cleaned_copy_has_nothing_left_to_find(tmp_path):
    train, held = split(corpus())
    rows = [*train, *held[:5], *train[:7], Pair("Nothing.", "")]
    for number in range(2_000, 2_060):
        rows[number] = Pair(*reversed(rows[number]))
    rows[100] = Pair(rows[100].source, "Er l\u00c3\u00a4uft.")
    targets = [pair.target for pair in rows]
    del targets[4_000]
    spoiled = [Pair(a.source, b) for a, b in zip(rows, targets, strict=False)]
    inputs = {"train": [written(tmp_path, "a", spoiled)], "test": [written(tmp_path, "b", held)]}
    diagnosis = check_pairs(inputs)
    assert {"shifted-lines", "swapped-sides"} <= set(errors(diagnosis.report))
    counts = clean(diagnosis, tmp_path / "clean")["train"]
    assert counts["swapped"] >= 55
    assert counts["realigned"] > 1_500
    assert counts["kept"] + counts["dropped"] == len(spoiled)
    again = {"train": [Input(*(str(tmp_path / f"clean/a.{side}") for side in ("en", "de")))], "test": inputs["test"]}
    clean(check_pairs(again), tmp_path / "twice")
    again["train"] = [Input(*(str(tmp_path / f"twice/a.{side}") for side in ("en", "de")))]
    assert errors(check_pairs(again).report) == []
    with pytest.raises(FileError):
        clean(diagnosis, tmp_path / "clean")


HOSTILE = st.one_of(
    st.sampled_from(["", " ", "\0", "\ud800", "x" * 100_000, "👩‍👩‍👧", "שלום مرحبا", "a\rb", "\u2028", "İ", "e\u0301"]),
    st.text(max_size=20),
)  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(rows=st.lists(st.tuples(HOSTILE, HOSTILE), max_size=6), times=st.sampled_from([1, 1, 1, 60]))
def test_hostile_text_raises_nothing(tmp_path_factory, rows, times):
    folder = tmp_path_factory.mktemp("hostile")
    file = folder / "pairs.jsonl"
    objects = [json.dumps({"source": source, "target": target}) + "\n" for source, target in rows * times]
    file.write_text("".join(objects), "utf-8")
    inputs = {"train": [Input(str(file))], "test": [Input(str(file))]}
    diagnosis = check_pairs(inputs, near=True)
    assert diagnosis.report.pairs["train"] == len(rows) * times
    json.dumps(diagnosis.report.to_dict())
    with suppress(DataError):  # nothing would be left
        clean(diagnosis, folder / "clean")


@settings(deadline=None, max_examples=60)
@given(sides=st.tuples(st.binary(max_size=60), st.binary(max_size=60)), ending=st.sampled_from(["", ".gz", ".zst"]))
def test_hostile_bytes_raise_nothing_but_our_own_errors(tmp_path_factory, sides, ending):
    folder = tmp_path_factory.mktemp("bytes")
    paths = [folder / f"{side}{ending}" for side in "ab"]
    for path, data in zip(paths, sides, strict=True):
        path.write_bytes(data)
    (folder / "t.csv").write_bytes(sides[0])
    (folder / "t.tsv").write_bytes(sides[1])
    for inputs in (Input(*map(str, paths)), Input(str(folder / "t.tsv")), Input(str(folder / "t.csv"))):
        check_pairs({"train": [inputs]})
    for name in ("t.csv", "t.tsv"):
        with suppress(OnehopError):
            check_labels(folder / name)


@given(lines=st.lists(st.text(max_size=12), max_size=5))
def test_hashes_of_lines_and_words_depend_on_nothing_but_their_characters(lines):
    text = Text(lines)
    assert len(text) == len(lines)
    for number, each in enumerate(lines):
        alone = Text([each])
        assert text.hashes[number] == alone.hashes[0]
        hashes, of = text.words
        assert hashes[of == number].tolist() == alone.words[0].tolist()
    known = dict(zip(text.hashes.tolist(), (" ".join(each.split()).lower() for each in lines), strict=True))
    assert len(set(text.hashes.tolist())) == len(known)


def test_words_are_runs_of_letters_or_single_characters_of_scripts_without_spaces():
    text = Text(["The cat's 42 über-hats", "我是 ok 猫", "characterise characters"])
    assert np.bincount(text.words[1]).tolist() == [6, 4, 2]
    assert len(set(text.words[0][text.words[1] == 2].tolist())) == 1
    assert len("character") > STEM


def test_the_fast_part_finds_a_shift_in_a_sample(tmp_path):
    rows = tatoeba()[:40_000]
    targets = [pair.target for pair in rows]
    del targets[20_000]
    store = PairStore()
    store.add([Pair(pair.source, target) for pair, target in zip(rows, targets, strict=False)], "talk.tsv")
    report = check_store(store, [rows[5]])
    assert set(errors(report)) == {"shifted-lines", "overlap"}
    assert report.pairs["train"] <= 16_384
    told = paragraph(report, len(store))
    assert "does not look sound" in told
    assert "shifted-lines" in told


def test_the_fast_part_says_one_short_thing_of_sound_text():
    store = PairStore()
    store.add(corpus(), "talk.tsv")
    told = paragraph(check_store(store, []), len(store))
    assert told.startswith("data: looks sound")
    assert "\n" not in told


def test_a_corpus_too_small_to_learn_from_is_not_judged_by_what_it_taught():
    store = PairStore()
    store.add([Pair(*row) for row in number_pairs(40)], "numbers.tsv")
    report = check_store(store, [])
    assert errors(report) == []
    assert len(report.unchecked) == 2


def table(path: Path, rows: list[tuple[str, ...]]) -> Path:
    path.write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")
    return path


def labelled(count: int = 100) -> list[tuple[str, str]]:
    draw = random.Random(1)
    words = ["quiet", "bright", "narrow", "warm", "dusty", "open", "crowded", "cold"]
    return [
        (f"Room {n} was {draw.choice(words)} and {draw.choice(words)}.", draw.choice(["good", "bad"]))
        for n in range(count)
    ]


def test_sound_labels_give_no_finding(tmp_path):
    assert check_labels(table(tmp_path / "t.tsv", [("text", "label"), *labelled()])).findings == []


@pytest.mark.parametrize("form", ["tsv", "csv", "jsonl"])
def test_faults_of_labels_are_found_in_every_form(tmp_path, form):
    rows = [*labelled(), ("A single one.", "odd"), ("No label here.", ""), (labelled()[0][0], "other")]
    path = tmp_path / f"t.{form}"
    if form == "jsonl":
        path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows), "utf-8")
    else:
        table(path, [("text", "label"), *rows])
        path.write_text(path.read_text("utf-8").replace("\t", "\t" if form == "tsv" else ","), "utf-8")
    counts = found(check_labels(path))
    assert counts == {"label-missing": 1, "label-rare": 2, "label-conflict": 2}


def test_a_constant_label_is_an_error(tmp_path):
    rows = [(text, "good") for text, _ in labelled()]
    assert errors(check_labels(table(tmp_path / "t.tsv", [("text", "label"), *rows]))) == ["label-constant"]


def test_a_column_that_tells_the_label_is_an_error_and_one_that_numbers_rows_is_none(tmp_path):
    rows = [(str(n), text, label, f"rater-{label[0]}") for n, (text, label) in enumerate(labelled())]
    report = check_labels(table(tmp_path / "t.tsv", [("id", "text", "label", "rater"), *rows]))
    assert [(f.name, f.detail) for f in report.findings] == [("label-leak", "column 'rater'")]
    named = [(f"{text} It was {label}.", label) for text, label in labelled()]
    assert errors(check_labels(table(tmp_path / "u.tsv", [("text", "label"), *named]))) == ["label-leak"]


def test_labelled_texts_of_a_test_that_are_trained_on_are_found_and_a_sound_test_is(tmp_path):
    train, test = labelled()[:70], labelled()[70:]
    path = table(tmp_path / "t.tsv", [("text", "label"), *train])
    sound = table(tmp_path / "sound.tsv", [("text", "label"), *test])
    report = check_labels(path, others={"test": sound})
    assert (report.findings, report.pairs) == ([], {"data": 70, "test": 30})
    other = {"good": "bad", "bad": "good"}
    leaked = [*test, (train[3][0].upper(), train[3][1]), (f" {train[4][0]} ", other[train[4][1]]), ("New.", "odd")]
    leaking = table(tmp_path / "leaking.tsv", [("text", "label"), *leaked])
    report = check_labels(path, others={"valid": sound, "test": leaking})
    assert {(f.split, f.name, f.severity): f.lines for f in report.findings} == {
        ("test", "overlap", "error"): [f"{leaking}:32"],
        ("test", "source-overlap", "warning"): [f"{leaking}:33"],
        ("test", "label-unknown", "error"): [f"{leaking}:34"],
    }
    done = onehop("data", "check", "--data", path, "--test", leaking, "--json")
    assert done.status == 1
    assert json.loads(done.out)["pairs"] == {"data": 70, "test": 33}
    refused(onehop("data", "check", "--test", leaking), "--test: labelled text without any to train on")
    table(leaking, [("words", "label"), *test])
    refused(onehop("data", "check", "--data", path, "--test", leaking), f"{leaking}: no column 'text'")


def test_columns_are_named_or_found_and_others_are_an_error(tmp_path):
    path = table(tmp_path / "t.tsv", [("a", "b", "n"), *((*row, "-") for row in labelled())])
    assert check_labels(path, label="b").pairs == {"data": 100}
    with pytest.raises(DataError, match="no column of labels"):
        check_labels(path)
    with pytest.raises(DataError, match="no column 'c'"):
        check_labels(path, label="c")


def test_the_command_exits_1_where_something_ruins_a_run_and_writes_a_copy(tmp_path):
    files = written(tmp_path, "a", [*corpus()[:1_000], *[Pair("", "Nichts.")] * 200])
    words = ["data", "check", "--source", files.source, "--target", files.target]
    result = onehop(*words, "--json", "--fix", str(tmp_path / "clean"))
    told = json.loads(result.out)
    assert (result.status, told["sound"], told["pairs"]) == (1, False, {"train": 1_200})
    assert told["written"]["train"]["dropped"] >= 200
    words[3], words[5] = str(tmp_path / "clean/a.en"), str(tmp_path / "clean/a.de")
    result = onehop(*words)
    assert result.status == 0
    assert "nothing that ruins a run" in result.out


def test_the_command_looks_with_a_models_tokenizer(tmp_path, trained):
    file = tmp_path / "p.tsv"
    file.write_text("One Two.\tEins Zwei.\n" * 3 + "Ω" * 200 + "\tЖ\n", "utf-8")
    told = json.loads(onehop("data", "check", "--pairs", str(file), "--model", str(trained), "--json").out)
    assert {"bytes", "too-long"} <= {finding["name"] for finding in told["findings"]}


@pytest.mark.parametrize(
    "words",
    [[], ["--source", "a"], ["--data", "t.csv", "--pairs", "p.tsv"], ["--pairs", "p.tsv", "--source-column", "a"]],
)
def test_what_cannot_be_checked_is_one_message(words):
    result = onehop("data", "check", *words)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("error: ")
