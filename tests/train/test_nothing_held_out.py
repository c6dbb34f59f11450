"""Where nothing is held out, nobody reads scores of it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from onehop.cli.main import app

CASES = {
    "classify": ("text,label\nthe cat sat,yes\nthe dog sat,no\n", "texts"),
    "multilabel": ("text,labels\nthe cat sat,a|b\nthe dog sat,b\n", "texts"),
    "regress": ("text,score\nthe cat sat,1.5\nthe dog sat,2\n", "texts"),
    "": ("the cat sat\tdie Katze\nthe dog sat\tder Hund\n", "pairs"),
}


@pytest.mark.parametrize("task", CASES)
def test_neither_training_nor_the_card_tells_figures(task: str, tmp_path: Path):
    text, what = CASES[task]
    data, run = tmp_path / ("data.csv" if task else "data.tsv"), tmp_path / "run"
    data.write_text(text, "utf-8")
    given = ["--task", task, "--data", str(data)] if task else ["--pairs", str(data)]
    done = CliRunner().invoke(app, ["train", *given, "--out", str(run), "--set", "train.max_updates=1"])
    assert done.exit_code == 0, done.output
    assert "update 1: no validation; this model is kept" in done.output
    card = (run / "model" / "MODEL_CARD.md").read_text("utf-8")
    assert f"- validation: none, no {what} were held out" in card
    for false in ("validation loss", "0.000", "accuracy 0.0 %", "best so far"):
        assert false not in done.output + card


def test_several_seeds_have_no_spread_and_the_first_is_kept(tmp_path: Path):
    data, run = tmp_path / "data.csv", tmp_path / "run"
    data.write_text(CASES["classify"][0], "utf-8")
    given = ["--task", "classify", "--data", str(data), "--out", str(run), "--seeds", "2"]
    done = CliRunner().invoke(app, ["train", *given, "--set", "train.max_updates=1"])
    assert done.exit_code == 0, done.output
    assert "nothing was held out to validate them, so seed 1 is kept" in done.output.replace("\n", " ")
    assert "±" not in done.output
