"""`onehop bench` lets systems take turns on the same weights and says what was equal."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from onehop.bench import Report, systems, systems_for
from onehop.bench.report import row
from onehop.bench.run import READS, written_for_others
from onehop.models.registry import build
from onehop.tasks.registry import TASKS
from tests.fixtures.tiny import number_pairs, refused, trained
from tests.fixtures.tiny import onehop as command

__all__ = ["trained"]


def test_the_runtime_gives_the_outputs_of_the_reference_and_rivals_that_are_not_there_are_named(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(systems, "OWN", tuple(s for s in systems.OWN if s.mode in ("float32", "reference")))
    data = tmp_path / "lines"
    data.write_text("".join(f"{source}\n" for source, _ in number_pairs(6)))
    done = command("bench", trained, "--data", data, "--rounds", "1", "--threads", "1", "--json")
    assert done.status == 0, done.err
    found = json.loads(done.out)
    assert {(each["work"], each["system"]) for each in found["rows"]} == {
        (work, f"onehop {mode}") for work in ("bulk", "single") for mode in ("float32", "reference")
    }
    assert all(each["equal"] == 1.0 and each["speed"] > 0 for each in found["rows"])
    assert (found["lines"], found["unit"], found["ratios"]) == (6, "tokens", {})
    assert "ctranslate2" in found["missing"]


def test_only_systems_that_are_installed_take_part():
    rivals = [
        systems.System("json int8", "x.py", "int8", "json"),
        systems.System("no int8", "x.py", "", "no_such_thing"),
    ]
    found, missing = systems_for(rivals, sys.executable, "")
    assert [system.name for system in found if system.needs] == ["json int8"]
    assert [each.name for each in missing if "onehop" not in each.name] == ["no_such_thing"]
    unfit = systems_for(rivals, sys.executable, "it cannot")[1]
    assert [each.name for each in unfit if each.reason == "it cannot"] == ["json", "no_such_thing"]


def test_every_task_can_be_measured():
    assert {*READS, "translation"} == {*TASKS}


def test_an_environment_without_python_is_refused(trained: Path):
    refused(command("bench", trained, "--rivals", "/nowhere/python"), "/nowhere/python", "--rivals")


@pytest.mark.parametrize(
    "changes",
    [{"positions": "rotary"}, {"activation": "gelu"}, {"num_kv_heads": 1}, {"final_norm": True}, {"window": 4}],
)
def test_what_a_rival_would_compute_otherwise_is_not_handed_to_it(changes: dict[str, Any], tmp_path: Path):
    class Task:
        model = build("transformer", {"preset": "transformer-tiny", **changes}, 50)
        others = ()

    assert written_for_others(Task(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_ratio_is_that_of_the_best_of_each_side_without_the_reference_path():
    answers = {"onehop float32": 2.0, "onehop reference": 0.5, "other a": 4.0, "other b": 3.0}
    rows = [
        row("bulk", name, [{"wall": wall, "cpu": wall, "each": [wall], "peak": None}], 12, 1.0, 0.0)
        for name, wall in answers.items()
    ]
    report = Report("", "embed", "texts", 12, 1, 1, None, 32, tuple(rows), {})
    assert report.ratios() == {"bulk": 6.0 / 4.0}
    printed = report.to_dict()
    assert printed["rows"][0]["speed"] == 6.0
    page = (Path(__file__).parents[2] / "docs/reference/files.md").read_text("utf-8")
    section = page.split("## `onehop bench --json`")[1].split("\n## ")[0]
    assert [key for key in [*printed, *printed["rows"][0]] if f"`{key}`" not in section] == []


def test_without_kernels_the_reason_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ONEHOP_KERNELS", "0")
    found, missing = systems_for([], sys.executable, "")
    assert [system.mode for system in found] == ["float32", "reference"]
    assert {each.reason for each in missing} == {"no kernels: ONEHOP_KERNELS=0"}
