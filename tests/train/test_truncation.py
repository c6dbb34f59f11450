"""What the length limit did stands in log and package, exactly, however a run came to its end."""

from pathlib import Path
from typing import Any

import pytest

from onehop.data import PairStore, hold_out
from onehop.errors import Stopped
from onehop.files import Run
from onehop.tasks import load_package
from onehop.text import Ledger, limit_pair
from onehop.train import train
from onehop.train.listener import Evaluation
from onehop.train.progress import load_progress
from onehop.train.validation import Translated
from tests.fixtures.tiny import log_rows, number_pairs, tiny_recipe, write_pairs
from tests.train.test_resume import Heard, Stop, assert_same_run

LIMIT = {"max_length": 9, "long": "drop"}
MANY = 30  # updates that read all windows below


@pytest.fixture
def small_windows(monkeypatch):
    """Make windows of two blocks of five pairs, so that one pass over a little text takes many updates."""
    monkeypatch.setattr("onehop.data.store.BLOCK_PAIRS", 5)
    monkeypatch.setattr("onehop.data.windows.WINDOW_BLOCKS", 2)


def recipe(*pairs: str, updates: int = MANY, text: dict[str, Any] | None = None, **data: Any):
    settings = {"max_updates": updates, "evaluate_every": 4, "save_every": 50, "batch_tokens": 40}
    return tiny_recipe(pairs[0], data={"pairs": list(pairs), **data}, text=LIMIT | (text or {}), train=settings)


def truncation(run: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of the log by their split; none is there twice."""
    rows = [row for row in log_rows(run) if row["kind"] == "truncation"]
    found = {row["split"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def bare(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ("kind", "update")}


def counted(run: Path, *files: str) -> dict[str, dict[str, Any]]:
    """Return what the limit does to each split and file, counted pair by pair with the package's tokenizer."""
    tokenizer = load_package(run).translator.source_tokenizer
    store = PairStore.from_tables(files)
    split = hold_out(store)
    held = set(split.held.tolist())
    ledgers = {name: Ledger(name, 9, LIMIT["long"]) for name in ("train", "valid", *files)}
    wheres = [store.where(number) for number in range(len(store))]
    training = [(pair, ("train", where.source.rsplit(":", 1)[0])) for pair, where in zip(store, wheres, strict=True)]
    kept = [each for number, each in enumerate(training) if number not in held]
    for pair, names in [*kept, *((pair, ("valid",)) for pair in split.validation)]:
        for name in names:
            limit_pair(tokenizer.encode(pair.source), tokenizer.encode(pair.target), ledgers[name], "", "")
    return {name: {**ledger.counts()} for name, ledger in ledgers.items()}


def test_log_and_package_have_the_exact_counts_of_every_split(pairs, tmp_path, small_windows):
    train(recipe(pairs), tmp_path / "run")
    found, expected = truncation(tmp_path / "run"), counted(tmp_path / "run", pairs)
    for split in ("train", "valid"):
        row = {"split": split, "max_length": 9, "policy": "drop", "pairs": expected[split]["lines"], **expected[split]}
        assert bare(found[split]) == row
    assert expected["train"]["affected"] > 0
    assert (found["valid"]["update"], log_rows(tmp_path / "run")[0]["split"]) == (0, "valid")
    assert 1 < found["train"]["update"] < MANY
    best = load_progress(Run(tmp_path / "run").saved()[-1]).best_update
    record = load_package(tmp_path / "run").record["truncation"]
    assert record["valid"] == bare(found["valid"])
    assert (record["train"] == bare(found["train"])) == (best >= found["train"]["update"])


@pytest.mark.parametrize("stop", [3, *(pytest.param(stop, marks=pytest.mark.slow) for stop in (1, 6, 12))])
def test_a_run_that_was_stopped_and_resumed_counts_each_pair_once(pairs, tmp_path, small_windows, stop):
    train(recipe(pairs), tmp_path / "whole")
    for number in (stop, stop + 2):
        with pytest.raises(Stopped):
            train(recipe(pairs), tmp_path / "parts", resume=True, listener=Stop(number))
    train(recipe(pairs), tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert truncation(tmp_path / "parts").keys() == {"train", "valid"}


def test_several_files_are_told_apart_and_together_are_the_split(pairs, tmp_path, small_windows):
    more = write_pairs(tmp_path / "more.tsv", number_pairs(30, seed=7, longest=8))
    with pytest.raises(Stopped):
        train(recipe(pairs, more, updates=60), tmp_path / "run", listener=Stop(5))
    train(recipe(pairs, more, updates=60), tmp_path / "run", resume=True)
    found, expected = truncation(tmp_path / "run")["train"], counted(tmp_path / "run", pairs, more)
    assert found["corpora"] == [expected[pairs], expected[more]]
    assert {key: found[key] for key in expected["train"]} == expected["train"]
    assert found["corpora"][0] != found["corpora"][1]


def test_where_some_pairs_are_seen_more_often_each_is_counted_once(pairs, tmp_path, small_windows):
    more = write_pairs(tmp_path / "more.tsv", number_pairs(30, seed=7, longest=8))
    train(recipe(pairs, more, updates=90, weights=[2.5, 0.5]), tmp_path / "run")
    expected = counted(tmp_path / "run", pairs, more)
    assert truncation(tmp_path / "run")["train"]["corpora"] == [expected[pairs], expected[more]]


def test_a_run_that_ends_within_its_first_pass_says_how_many_pairs_it_read(pairs, tmp_path, small_windows):
    heard = Heard()
    train(recipe(pairs, updates=3), tmp_path / "run", listener=heard)
    row = truncation(tmp_path / "run")["train"]
    assert 0 < row["lines"] < row["pairs"]
    assert log_rows(tmp_path / "run")[-1] == row
    assert load_package(tmp_path / "run").record["truncation"]["train"] == bare(row)
    assert any(text.startswith("train: ") and text.endswith(f", of {row['pairs']} in all") for text in heard.told)
    assert "not all of them read" in (tmp_path / "run/model/MODEL_CARD.md").read_text()


def test_where_a_long_pair_is_an_error_all_are_read_and_told_at_once(pairs, tmp_path, small_windows):
    strict = {"max_length": 40, "long": "error"}
    train(recipe(pairs, updates=2, text=strict), tmp_path / "run")
    rows = truncation(tmp_path / "run")
    assert [row["update"] for row in rows.values()] == [0, 0]
    assert (rows["train"]["lines"], rows["train"]["affected"]) == (rows["train"]["pairs"], 0)
    train(recipe(pairs, updates=4, text=strict), tmp_path / "run", resume=True)
    assert truncation(tmp_path / "run") == rows
    assert load_package(tmp_path / "run").record["truncation"]["train"]["lines"] == rows["train"]["lines"]


def test_the_card_tells_what_was_dropped_and_what_the_model_did_not_end(pairs, tmp_path):
    train(recipe(pairs, updates=4), tmp_path / "run")
    card = (tmp_path / "run/model/MODEL_CARD.md").read_text()
    rows = truncation(tmp_path / "run")
    told = [f"{split} {rows[split]['affected']} of {rows[split]['lines']} dropped" for split in ("train", "valid")]
    assert f"- longer lines: {'; '.join(told)}\n" in card
    evaluation = next(row for row in log_rows(tmp_path / "run") if row["kind"] == "evaluation" and row["best"])
    assert f"on {evaluation['sentences']} of them" in card
    assert f"{evaluation['incomplete']} of the translations ended by the maximum length" in card


# ------------------------------------------------------------------------------------------------ hypotheses


def test_an_evaluation_counts_the_translations_that_came_to_no_end(pairs, tmp_path):
    settings = {"max_updates": 1, "evaluate_every": 1}
    counts: list[tuple[int, int]] = []
    for name, longest in (("one", 1), ("none", 300)):
        decode = {"max_length": longest, "min_length": 0}
        train(tiny_recipe(pairs, train=settings, decode=decode), tmp_path / name)
        row = next(row for row in log_rows(tmp_path / name) if row["kind"] == "evaluation")
        counts.append((row["incomplete"], row["sentences"]))
    assert counts[0] == (3, 3)
    assert counts[1][1] == 3


@pytest.mark.parametrize(("incomplete", "told"), [(0, False), (10, False), (11, True)])
def test_people_hear_of_translations_without_an_end_if_they_are_more_than_one_in_twenty(incomplete, told, capsys):
    from onehop.cli.console import TrainingView

    view = TrainingView()
    found = Translated(20.0, 200, incomplete)
    view.evaluated(Evaluation(7, 1.5, found.figures, found.told, 0.1, False))
    assert (f", {incomplete} of 200 ended by the maximum length" in capsys.readouterr().err) == told
