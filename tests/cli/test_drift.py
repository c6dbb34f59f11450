"""A model that drifted is refused by every verb, unless that is allowed, which is told and recorded."""

import json
import shutil
from pathlib import Path

import pytest

from onehop.tasks import load_package
from tests.fixtures.tiny import onehop, refused
from tests.tasks.test_mutations import rehash

TOLD = "golden.jsonl:1: token 1, "


@pytest.fixture
def drifted(trained, tmp_path, monkeypatch) -> Path:
    """Return a package whose first golden line tells another log-probability."""
    monkeypatch.chdir(tmp_path)
    folder = Path(shutil.copytree(trained / "model", "model"))
    rows = [json.loads(row) for row in (folder / "golden.jsonl").read_text("utf-8").splitlines()]
    rows[0]["log_probs"][0] -= 0.5
    (folder / "golden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    rehash(folder)
    Path("in.tsv").write_text("Two.\tZwei.\n" * 3, "utf-8")
    Path("in.txt").write_text("Two.\n", "utf-8")
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["translate", "model", "in.txt"],
        ["evaluate", "model", "--data", "in.tsv"],
        ["info", "model"],
        ["export", "model", "x"],
    ],
    ids=lambda words: words[0],
)
def test_every_verb_refuses_it_and_the_option_lets_it_pass_with_a_warning_or_a_row(drifted, words):
    refused(onehop(*words), TOLD, "does not do what it did when it was made", "--allow-drift", "torch ")
    result = onehop(*words, "--allow-drift")
    assert result.status == 0
    assert TOLD in (result.out if words[0] == "info" else result.err)


def test_it_is_recorded_in_what_is_printed_as_json(drifted, trained):
    calls = (["translate", "model", "in.txt"], ["evaluate", "model", "--data", "in.tsv"], ["info", "model"])
    for words in calls:
        assert TOLD in json.loads(onehop(*words, "--json", "--allow-drift").out)["drift"]
    both = onehop("translate", trained, "in.txt", "--ensemble", "model", "--json", "--allow-drift")
    assert TOLD in json.loads(both.out)["drift"]
    against = onehop("evaluate", trained, "--data", "in.tsv", "--against", "model", "--json", "--allow-drift")
    report = json.loads(against.out)
    assert (report["drift"], TOLD in report["against"]["drift"]) == (None, True)
    assert "drift" not in json.loads(onehop("translate", trained, "in.txt", "--json").out)


def test_an_export_has_golden_lines_of_what_the_model_does_now_and_keeps_the_record(drifted):
    assert onehop("export", "model", "new", "--allow-drift").status == 0
    package = load_package("new")
    assert TOLD in package.drift
    assert package.translator.drift == ""
    assert TOLD in json.loads(Path("new/onehop.json").read_text("utf-8"))["drift"]
    assert onehop("export", "new", "again").status == 0
    for file in Path("new").iterdir():
        assert (Path("again") / file.name).read_bytes() == file.read_bytes()
