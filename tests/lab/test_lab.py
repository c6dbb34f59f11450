"""The lab as a user relies on it: every row is there, what is right passes, what is broken fails."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import onehop.lab.layers
import onehop.lab.recurrent
from onehop.errors import ConfigError
from onehop.lab import CHAPTERS, ROWS, TIERS, Measured, Row, choose, load_check, read_thresholds, run, thresholds
from onehop.lab.experiments import check
from onehop.lab.parts import slopes
from onehop.nn.attention.attend import attention_weights

EVERY = [
    *(f"F-0{n}" for n in range(1, 7)), *(f"R-0{n}" for n in range(1, 6)), *(f"A-{n:02}" for n in range(1, 20)),
    *(f"T-{n:02}" for n in range(1, 14)), "K-01", "K-02", "B-01", "B-02", "B-03", *(f"L-0{n}" for n in range(1, 8)),
]  # fmt: skip
CHECKS = [(name, tier) for name, row in ROWS.items() for tier in row.checks]
EXACT = [name for name, tier in CHECKS if tier == "T0"]


def test_every_row_of_the_list_is_there_and_has_a_check_or_says_what_is_missing():
    assert list(ROWS) == EVERY
    for name, row in ROWS.items():
        assert row.checks or row.missing, name
        assert set(row.checks) <= set(TIERS), name
        assert name[0] in CHAPTERS


def test_a_line_of_the_list_is_one_line_of_a_narrow_terminal():
    assert [name for name, row in ROWS.items() if len(row.title) > 45] == []


@pytest.mark.parametrize("name", EXACT)
def test_the_check_passes(name: str):
    result = check(name, "T0")
    assert not result.error
    assert [(f.name, f.measured) for f in result.findings if not f.passed] == []


@pytest.mark.parametrize(("name", "tier"), CHECKS)
def test_a_check_says_what_it_is_with_formula_and_source(name: str, tier: str):
    told = inspect.getdoc(load_check(name, tier)) or ""
    assert told.startswith(name)
    assert re.search(r"^Formula: ", told, re.M)
    assert re.search(r"^Source: ", told, re.M)


def test_every_threshold_belongs_to_a_check():
    assert set(thresholds()) == {(tier, name) for name, tier in CHECKS}


def test_the_same_check_measures_the_same_twice_and_leaves_the_callers_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two = check("A-05", "T0"), check("A-05", "T0")
    assert [f.measured for f in one.findings] == [f.measured for f in two.findings]
    assert torch.equal(torch.rand(3), expected)


# ------------------------------------------------------------------------------------------------ broken mechanisms


def failed(name: str) -> set[str]:
    return {finding.name for finding in check(name, "T0").findings if not finding.passed}


def test_a_mask_that_is_off_fails(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(onehop.nn.Mask, "_allowed", lambda self, T, S, device: None)
    monkeypatch.setattr(onehop.nn.Mask, "is_causal_square", lambda self, T, S: False)
    assert {"later", "gradient", "steps"} <= failed("T-11")
    assert "masked" in failed("R-03")
    assert "outside" in failed("A-06")


def test_a_wrong_scale_fails(monkeypatch: pytest.MonkeyPatch):
    wrong = lambda head_dim: onehop.nn.attention.scores.Score(scale=1 / head_dim)  # noqa: E731
    monkeypatch.setattr("onehop.lab.reading.scaled_dot", wrong)
    monkeypatch.setattr("onehop.lab.parts.scaled_dot", wrong)
    assert failed("A-02") == {"torch", "torch_masked", "scaled"}
    assert {"torch", "loop"} <= failed("A-10")


def test_tables_that_are_not_tied_fail(monkeypatch: pytest.MonkeyPatch):
    built = onehop.lab.layers.model

    def untied(family: str, settings: Any = None, vocab: int = 20) -> Any:
        model = built(family, settings, vocab)
        model.output.weight = nn.Parameter(model.output.weight.detach().clone())
        return model

    monkeypatch.setattr("onehop.lab.layers.model", untied)
    assert {"pointers", "saved"} <= failed("T-07")
    assert failed("L-04") == {"pointers"}


def test_attention_that_does_not_sum_to_one_fails(monkeypatch: pytest.MonkeyPatch):
    weights = attention_weights
    monkeypatch.setattr("onehop.lab.reading.attention_weights", lambda *given: 1.1 * weights(*given))
    assert failed("A-04") == {"sums"}


def test_a_cache_that_forgets_fails(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onehop.nn.state.KV.append", lambda self, new, slots: new)
    monkeypatch.setattr("onehop.nn.state.KV.filled", lambda self, size: self)
    assert {"greedy", "beam"} <= failed("A-18")


def test_positions_with_the_books_exponent_fail(monkeypatch: pytest.MonkeyPatch):
    def doubled(positions: torch.Tensor, dim: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        angles = positions.unsqueeze(-1) * 10000.0 ** (-2 * torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2).to(dtype)

    monkeypatch.setattr("onehop.lab.layers.sinusoidal", doubled)
    assert {"values", "cosine", "product", "rotation"} <= failed("T-08")


def test_a_source_that_has_another_way_in_fails(monkeypatch: pytest.MonkeyPatch):
    built = onehop.lab.recurrent.model
    monkeypatch.setattr("onehop.lab.recurrent.model", lambda family, settings=None: built(family, {"context": "mean"}))
    assert "cut" in failed("R-01")


def test_a_check_that_ends_with_an_error_has_failed(monkeypatch: pytest.MonkeyPatch):
    def broken() -> Measured:
        raise RuntimeError("no such thing")

    monkeypatch.setattr("onehop.lab.experiments.load_check", lambda row, tier: broken)
    result = check("T-07", "T0")
    assert not result.passed
    assert result.error == "RuntimeError: no such thing"
    assert all(finding.to_dict()["measured"] is None for finding in result.findings)


def test_values_without_thresholds_are_a_defect(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "onehop.lab.experiments.load_check", lambda row, tier: lambda: Measured({"pointers": 1.0, "more": 0.0})
    )
    with pytest.raises(LookupError, match="more"):
        check("L-04", "T0")


# ------------------------------------------------------------------------------------------------ what is asked for


@pytest.mark.parametrize(
    ("rows", "tier", "message"),
    [
        (["R-99"], None, "unknown row 'R-99'; did you mean"),
        ([], None, "nothing to run"),
        (["T-01"], "T3", "unknown tier 'T3'"),
        (["F-01"], None, "F-01 has no check of tier T0: a part"),
        (["R-04"], None, "R-04 has no check of tier T0"),
    ],
)
def test_what_cannot_be_run_is_told(rows: list[str], tier: str | None, message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(ROWS, "F-01", Row("a row to come", "a paper", missing="a part"))
    with pytest.raises(ConfigError, match=re.escape(message)):
        choose(rows, tier)


def test_rows_may_be_named_in_either_case_and_run_once():
    assert choose(["t-07", "T-07"], None) == [("T-07", "T0")]
    assert [name for name, _ in choose([], "T0")] == EXACT


def test_a_report_is_json_values_and_tells_what_is_not_built(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(ROWS, "F-01", Row("a row to come", "a paper", missing="a part"))
    report = run(["L-04", "T-06"])
    told = report.to_dict()
    assert told["passed"] is True
    assert [row["id"] for row in told["checks"]] == ["L-04", "T-06"]
    assert told["not_built"]["F-01"] == "a part"
    assert set(told["not_built"]) == {name for name, row in ROWS.items() if not row.checks}


GOOD = """
[T0.R-01.cell]
what = "a"
compare = "<="
value = 1e-6
reference = "b"
why = "c"
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("why", "whi"), "T0.R-01.cell.whi: unknown key"),
        (lambda text: text.replace('why = "c"', ""), "T0.R-01.cell.why: must be given"),
        (lambda text: text.replace('"<="', '"~"'), "T0.R-01.cell.compare"),
        (lambda text: text.replace("1e-6", '"small"'), "T0.R-01.cell.value"),
        (lambda text: text.replace("1e-6", "nan"), "T0.R-01.cell.value"),
        (lambda text: text.replace('why = "c"', 'why = ""'), "T0.R-01.cell.why"),
        (lambda text: "T0 = 3", "T0 is 3"),
        (lambda text: "[T0]\nR-01 = 3", "T0.R-01 is 3"),
    ],
)
def test_thresholds_are_read_strictly(tmp_path: Path, change: Callable[[str], str], message: str):
    path = tmp_path / "thresholds.toml"
    path.write_text(GOOD)
    assert read_thresholds(path)["T0", "R-01"]["cell"].value == 1e-6
    path.write_text(change(GOOD))
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_thresholds(path)


def test_slopes_tell_a_wrong_gradient():
    x = torch.randn(4, dtype=torch.float64, requires_grad=True)
    error, length = slopes(lambda: x.square().sum(), [x])
    assert error < 1e-8
    assert length == pytest.approx(float(2 * x.detach().norm()))
    error, _ = slopes(lambda: (x * x.detach()).sum(), [x])  # half of the gradient is hidden
    assert error > 0.4
