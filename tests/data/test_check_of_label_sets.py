"""The doctor on sets of labels: each label is judged by itself, however the file writes a set."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from onehop.data.check import Report, check_labels
from onehop.data.check.clean_labels import clean_labels
from onehop.data.check.labels import diagnose_labels
from tests.fixtures.tiny import onehop as command

WORDS = ["one", "two", "six", "ten", "red", "old", "wet", "big", "hot", "dry", "low", "raw"]
Row = tuple[str, list[str], str]


def rows(count: int, seed: int = 1) -> list[Row]:
    """Return texts of their own, each with none to three of three labels, and a column that tells nothing."""
    draw = Random(seed)
    labels = ["noise", "dirt", "staff"]
    return [
        (
            " ".join(draw.choices(WORDS, k=7)) + f" {seed}x{n}",
            draw.sample(labels, draw.randint(0, 3)),
            draw.choice("abc"),
        )
        for n in range(count)
    ]


def objects(path: Path, some: list[Row]) -> Path:
    made = [{"text": text, "labels": labels, "rater": rater} for text, labels, rater in some]
    path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in made), "utf-8")
    return path.with_suffix(".jsonl")


def bars(path: Path, some: list[Row]) -> Path:
    lines = (f'"{text}","{"|".join(labels)}",{rater}\n' for text, labels, rater in some)
    path.with_suffix(".csv").write_text("text,labels,rater\n" + "".join(lines), "utf-8")
    return path.with_suffix(".csv")


def lists(path: Path, some: list[Row]) -> Path:
    lines = (f"{text}\t{json.dumps(labels)}\t{rater}\n" for text, labels, rater in some)
    path.with_suffix(".tsv").write_text("text\tlabels\trater\n" + "".join(lines), "utf-8")
    return path.with_suffix(".tsv")


Write = Callable[[Path, list[Row]], Path]


@pytest.fixture(params=[objects, bars, lists])
def write(request: pytest.FixtureRequest) -> Write:
    return request.param


def findings(report: Report) -> dict[str, str]:
    return {f"{one.split}/{one.name}": one.detail for one in report.findings}


def test_sound_sets_are_sound_and_how_they_are_written_is_told(write: Write, tmp_path: Path):
    report = check_labels(write(tmp_path / "a", rows(300)))
    assert report.findings == []
    assert report.columns["label separator"] == (["|"] if write is bars else [])


def test_each_label_is_counted_by_itself(write: Write, tmp_path: Path):
    some = rows(300)
    some[7][1].append("mould")
    some = [(text, [*labels, "seen"], rater) for text, labels, rater in some]
    file = write(tmp_path / "a", some)
    report = check_labels(file)
    assert findings(report) == {"data/label-rare": "1 labels: mould", "data/label-everywhere": "'seen'"}
    rare = next(one for one in report.findings if one.name == "label-rare")
    assert rare.lines == [f"{file}:{8 if write is objects else 9}"]


def test_a_column_or_a_text_that_tells_one_label_is_a_leak(write: Write, tmp_path: Path):
    some = [(text, labels, "x" if "dirt" in labels else "y") for text, labels, _ in rows(300)]
    assert findings(check_labels(write(tmp_path / "a", some))) == {"data/label-leak": "column 'rater' tells 'dirt'"}
    some = [(text + " the staff" * ("staff" in labels), labels, rater) for text, labels, rater in rows(300)]
    assert findings(check_labels(write(tmp_path / "b", some))) == {"data/label-leak": "the name of 'staff' in the text"}


def test_a_label_that_training_does_not_know_and_the_same_set_in_another_order(write: Write, tmp_path: Path):
    train = rows(300)
    test = [*rows(40, 2), ("a new text", ["noise", "mould"], "a"), (train[0][0], train[0][1][::-1], "b")]
    report = check_labels(write(tmp_path / "a", train), others={"test": write(tmp_path / "t", test)})
    unknown = next(one for one in report.findings if one.name == "label-unknown")
    assert (unknown.count, len(unknown.lines)) == (1, 1)
    assert {name for name in findings(report) if name.startswith("test/")} == {"test/label-unknown", "test/overlap"}


def test_no_label_at_all_and_always_the_same_set_are_errors(write: Write, tmp_path: Path):
    for labels, name in (([], "label-missing"), (["noise", "dirt"], "label-constant")):
        file = write(tmp_path / name, [(text, list(labels), rater) for text, _, rater in rows(60)])
        report = check_labels(file, others=None)
        if write is bars and not labels:
            continue  # an empty column has no separator: a label that is missing in each row
        assert not report.sound
        assert f"data/{name}" in findings(report)


def test_a_cleaned_copy_writes_each_label_in_one_way_and_sets_as_they_were(write: Write, tmp_path: Path):
    some = rows(200)
    some[5] = (some[5][0], ["Noise", "dirt"], "a")
    file = write(tmp_path / "a", some)
    done = command("data", "check", "--data", file, "--fix", tmp_path / "out", "--json")
    assert json.loads(done.out)["written"]["data"] == {"kept": 200, "dropped": 0, "repaired": 0, "relabelled": 1}
    copy = (tmp_path / "out" / file.name).read_text("utf-8").splitlines()
    line = copy[5 if write is objects else 6]
    wanted = {objects: '["noise", "dirt"]', bars: "noise|dirt", lists: '["noise", "dirt"]'}[write]
    assert wanted in line
    original = file.read_text("utf-8").splitlines()
    assert len(copy) == len(original)
    assert check_labels(tmp_path / "out" / file.name).sound


def test_an_object_without_its_labels_stays_as_it_is_in_a_cleaned_copy(tmp_path: Path):
    file = objects(tmp_path / "a", rows(200))
    with file.open("a", encoding="utf-8") as stream:
        stream.write('{"text": "nothing was said"}\n{"text": "nor here", "labels": null}\n')
    clean_labels(diagnose_labels(file), tmp_path / "out")
    copy = list(map(json.loads, (tmp_path / "out" / file.name).read_text("utf-8").splitlines()))
    assert [row.get("labels") for row in copy[-2:]] == [[], None]


def test_a_set_of_one_label_is_no_list_in_the_copy_of_a_file_with_a_separator(tmp_path: Path):
    some = rows(200)
    some[5] = (some[5][0], ["Noise"], "a")
    file = bars(tmp_path / "a", some)
    clean_labels(diagnose_labels(file), tmp_path / "out")
    copy = (tmp_path / "out" / file.name).read_text("utf-8")
    assert copy.splitlines()[6].split(",")[1:] == ["noise", "a"]
    assert "[" not in copy


def test_a_list_in_one_cell_does_not_hide_what_divides_the_others_as_it_does_not_in_training(tmp_path: Path):
    file = bars(tmp_path / "a", rows(200))
    with file.open("a", encoding="utf-8") as stream:
        stream.write('one more,"[""noise""]",a\n')
    report = check_labels(file)
    assert (report.columns["label separator"], report.findings) == (["|"], [])


def test_a_separator_may_be_named(tmp_path: Path):
    some = [(text, labels[:2], rater) for text, labels, rater in rows(300)]
    file = bars(tmp_path / "a", some)
    file.write_text(file.read_text("utf-8").replace("|", "/"), "utf-8")
    assert "label separator" not in check_labels(file).columns
    told = json.loads(command("data", "check", "--data", file, "--label-separator", "/", "--json").out)
    assert (told["columns"]["label separator"], told["findings"]) == (["/"], [])
