"""`onehop lab`, as the command line does it."""

import json
from pathlib import Path
from typing import Any

import pytest

import onehop.lab.experiments
from onehop.cli.main import app
from onehop.errors import ConfigError
from onehop.lab import ROWS, Measured, Row


def call(*words: str) -> int:
    """Return the exit status of a call."""
    return int(app(["lab", *words], standalone_mode=False) or 0)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ONEHOP_CACHE", str(tmp_path / "cache"))
    return tmp_path


def statuses(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert call("list", "--json") == 0
    return {row["id"]: row["status"] for row in json.loads(capsys.readouterr().out)["rows"]}


def test_the_list_has_a_line_for_every_row(cache: Path, capsys: pytest.CaptureFixture[str]):
    call("list")
    lines = capsys.readouterr().out.splitlines()
    found = [line.split()[0] for line in lines if line[:1].isalpha() and line.split()[0] in ROWS]
    assert found == list(ROWS)


def test_a_row_says_pass_only_after_it_was_run_with_this_code(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(ROWS, "F-01", Row("a row to come", "a paper", missing="a part"))
    assert statuses(capsys)["T-06"] == "not run"
    call("run", "T-06", "L-04")
    capsys.readouterr()
    after = statuses(capsys)
    assert (after["T-06"], after["L-04"], after["T-07"], after["F-01"]) == ("PASS", "PASS", "not run", "not built")
    monkeypatch.setattr("torch.__version__", "0.0")
    assert statuses(capsys)["T-06"] == "not run"


def test_a_failed_check_ends_with_1_and_is_told(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(onehop.lab.experiments, "load_check", lambda row, tier: lambda: Measured({"pointers": 3.0}))
    assert call("run", "L-04") == 1
    assert "FAIL L-04 pointers: 3, must be == 1" in capsys.readouterr().out
    assert statuses(capsys)["L-04"] == "FAIL"


def test_an_unknown_row_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown row 'R-011'; did you mean 'R-01'"):
        call("run", "R-011")


def test_a_report_is_one_page_that_needs_no_network_and_json_beside_it(cache: Path, capsys: pytest.CaptureFixture[str]):
    out = cache / "deep" / "out"
    call("run", "R-05", "T-08", "--out", str(out))
    page = (out / "report.html").read_text("utf-8")
    assert "://" not in page.replace("http://www.w3.org/", "")
    assert page.count("<section") == 2
    assert page.count("<svg") == 1
    assert "Vaswani et al. 2017, table 1" in page
    assert "def distances()" in page
    told = json.loads((out / "report.json").read_text("utf-8"))
    assert [row["id"] for row in told["checks"]] == ["R-05", "T-08"]


def test_json_is_one_object(cache: Path, capsys: pytest.CaptureFixture[str]):
    call("run", "L-04", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["checks"][0]["findings"][0]["measured"] == 1
