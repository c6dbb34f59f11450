"""Every attention that a recipe can ask for: each works, or is refused with the reason, and the page says which."""

from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest

import onehop.lab.table as onehop_table
from onehop.lab.table import AXES, SMALL, Cell, Outcome, attempt, cells, each, page, scratch
from onehop.models.registry import architecture
from tests.docs.pages import ROOT
from tests.fixtures.tiny import onehop, refused
from tests.laws.combinations import each as every_value
from tests.laws.combinations import pairwise

PAGE = ROOT / "docs/reference/attention-table.md"
KINDS = {  # values that take different ways through the layers
    **AXES,
    "region": ("everywhere", "local-p"),
    "score": ("scaled_dot", "additive", "location"),
    "select": ("soft", "hard"),
    "heads": ("single", "grouped-query"),
}


def is_refused(row: dict[str, str]) -> bool:
    """Whether no cell with these values is accepted, the other axes being free."""
    free = {axis: [row[axis]] if axis in row else ["scaled_dot"] if axis == "score" else values
            for axis, values in AXES.items()}  # fmt: skip
    rows = [{}]
    for axis, values in free.items():
        rows = [{**one, axis: value} for one in rows for value in values]
    return all(Cell(**one).refusal() for one in rows)


def some_cells() -> list[Cell]:
    """Return a few accepted cells that hold every value of every axis, and every pair of values of different kinds."""
    rows = [*every_value(AXES, is_refused), *pairwise(KINDS, is_refused)]
    return list(dict.fromkeys(Cell(**row) for row in rows))


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Make no checks of shapes: those of the laws see the same layers."""
    jaxtyping.config.update("jaxtyping_disable", True)
    with scratch() as made:
        yield made
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("cell", some_cells(), ids=str)
def test_a_cell_is_trained_decoded_packaged_reloaded_and_verified(cell: Cell, folder: Path):
    assert attempt(cell, folder, str(cell)) == ""


@pytest.mark.slow
def test_every_cell_is_trained_or_refused_as_the_page_says(folder: Path):
    assert page(list(each(cells()))) == PAGE.read_text("utf-8")


def test_the_page_has_precisely_the_cells_there_are_with_the_reasons_that_the_configuration_gives():
    assert page([Outcome(cell, cell.refusal()) for cell in cells()]) == PAGE.read_text("utf-8")


def test_the_cells_hold_every_value_that_a_family_knows():
    for family in SMALL:
        known = architecture(family).axes
        regions = known.get("cross_region", known.get("region"))
        selects = known.get("cross_select", known["select"])
        assert set(AXES["score"]) == set(known["score"])
        assert set(AXES["select"]) == set(selects) - {None}
        assert set(AXES["region"]) == {*regions, "causal", "window"}


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("recurrent causal", "model.region: 'causal' hides what comes later"),
        ("recurrent window", "model.region: 'window' is a reach around a word's own place"),
        ("transformer causal hard", "model.select: 'hard' learns from how likely"),
    ],
)
def test_what_is_refused_is_refused_by_train_in_the_same_words(asked: str, reason: str, pairs: str, tmp_path: Path):
    cell = next(iter(cells(asked.split())))
    assert cell.refusal().startswith(reason)
    settings = [word for key, value in cell.keys().items() for word in ("--set", f"model.{key}={value}")]
    refused(onehop("train", "--pairs", pairs, *settings, "--out", tmp_path / "run"), cell.refusal())


def test_a_source_has_no_region_of_oneself_in_a_transformer_either(pairs: str, tmp_path: Path):
    result = onehop("train", "--pairs", pairs, "--set", "model.cross_region=causal", "--out", tmp_path / "run")
    refused(result, "model.cross_region: 'causal' hides what comes later", "'local-m'")


def test_a_cell_that_fails_is_told_and_ends_with_1(monkeypatch: pytest.MonkeyPatch):
    def broken(cell: Cell, folder: Path, run: str) -> str:
        if cell.heads == "single":
            raise ValueError("no such thing\nat all")
        return "" if cell.heads != "multi-query" else "precision: 3.0"

    monkeypatch.setattr(onehop_table, "attempt", broken)
    result = onehop("lab", "table", "dot", "soft", "everywhere", "transformer")
    assert result.status == 1
    assert "| `dot` | ✗✓✓✗ |" in result.out
    assert "- transformer everywhere dot soft single: ValueError: no such thing\n" in result.out
    assert "4 cells, 2 trained and 0 refused, 2 failed" in result.err


def test_a_value_of_no_axis_names_the_nearest():
    refused(
        onehop("lab", "table", "entmx"), "no score, select, region, heads or family 'entmx'; did you mean 'entmax'?"
    )
