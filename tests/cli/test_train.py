import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from onehop.files import Run
from onehop.train.recipe import load_recipe, to_toml
from tests.fixtures.tiny import log_rows, onehop, tables, tiny_recipe

SMALL = [
    part
    for table, keys in tables("").items()
    if table != "data"
    for key, value in keys.items()
    for part in ("--set", f"{table}.{key}={value}")
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_two_files_give_a_run_with_all_that_it_should_hold(here, pairs):
    rows = [line.split("\t") for line in Path(pairs).read_text("utf-8").splitlines()]
    Path("my.en").write_text("".join(f"{row[0]}\n" for row in rows))
    Path("my.de").write_text("".join(f"{row[1]}\n" for row in rows), "utf-8")
    result = onehop("train", "--source", "my.en", "--target", "my.de", "--out", "runs/mine", *SMALL)
    assert (result.status, result.raw) == (0, b"")
    assert sorted(os.listdir("runs/mine")) == ["checkpoints", "log.jsonl", "model", "recipe.toml", "run.json"]
    assert sorted(os.listdir("runs/mine/model")) == [
        "MODEL_CARD.md", "golden.jsonl", "model.safetensors", "onehop.json", "tokenizer.json",
    ]  # fmt: skip
    assert "finished (max_updates) after 2 updates" in result.err
    assert "next: onehop translate runs/mine FILE" in result.err
    record = json.loads(Path("runs/mine/run.json").read_text())
    assert record["recipe"]["data"]["source"] == ["../../my.en"]
    assert set(record["data"]) == {"../../my.en", "../../my.de"}
    assert record["recipe"]["text"]["max_length"] > 0


def test_the_recipe_of_a_run_makes_the_same_run_again_from_any_folder(here, pairs, monkeypatch):
    assert onehop("train", "--pairs", "pairs.tsv", "--out", "runs/one", *SMALL).status == 0
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert onehop("train", "../runs/one/recipe.toml", "--out", "two").status == 0
    for name in ("model.safetensors", "golden.jsonl", "tokenizer.json"):
        assert Path("two/model", name).read_bytes() == Path("../runs/one/model", name).read_bytes()
    recipes = [tomllib.loads((folder / "recipe.toml").read_text()) for folder in (Path("two"), Path("../runs/one"))]
    assert [recipe["data"].pop("pairs") for recipe in recipes] == [["../../pairs.tsv"], ["../../pairs.tsv"]]
    assert recipes[0] == recipes[1]


def test_without_out_a_recipe_goes_to_the_folder_of_its_name(here, pairs):
    Path("small.toml").write_text(to_toml(tiny_recipe(pairs)))
    assert onehop("train", "small.toml").status == 0
    assert Path("runs/small/model/onehop.json").is_file()


def test_seed_and_long_are_short_for_their_settings(here, pairs):
    Path("small.toml").write_text(to_toml(tiny_recipe(pairs)))
    assert onehop("train", "small.toml", "--seed", "7", "--long", "cut", "--out", "run").status == 0
    recipe = load_recipe("run/recipe.toml")
    assert (recipe.train.seed, recipe.text.long) == (7, "cut")


def test_what_was_chosen_dropped_and_held_out_is_told(here, pairs):
    Path("pairs.tsv").write_text(Path("pairs.tsv").read_text("utf-8") + "One.\t\n" + "Two " * 40 + "\tZwei\n", "utf-8")
    settings = ["--set", "text.max_length=20", "--long", "drop"]
    told = onehop("train", "--pairs", "pairs.tsv", "--out", "run", *SMALL, *settings).err
    assert "training pairs, " in told
    assert "held out by hash of the source" in told
    assert "1 pairs with an empty side were left out" in told
    assert "joint vocabulary of 300 pieces" in told
    assert "train: 1 of " in told
    assert "longer than 20 tokens dropped" in told
    assert "validation loss " in told


def test_resume_of_a_finished_run_says_so_and_changes_nothing(here, pairs):
    assert onehop("train", "--pairs", "pairs.tsv", "--out", "run", *SMALL).status == 0
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    Path("pairs.tsv").unlink()  # nothing is read again
    result = onehop("train", "--out", "run", "--resume")
    assert (result.status, "finished (max_updates) after 2 updates" in result.err) == (0, True)
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("nothing", ["missing", "empty"])
def test_resume_where_there_is_nothing_begins(here, pairs, nothing):
    if nothing == "empty":
        Path("run").mkdir()
    assert onehop("train", "--pairs", "pairs.tsv", "--out", "run", "--resume", *SMALL).status == 0
    assert Path("run/model/onehop.json").is_file()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_process_after_a_checkpoint_and_the_run_goes_on_from_there(here, pairs, number, status):
    settings = [*SMALL, "--set", "train.max_updates=100000"]
    command = [sys.executable, "-c", "from onehop.cli.main import main; main()", "train", "--pairs", "pairs.tsv"]
    with subprocess.Popen([*command, "--out", "run", *settings], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = [next(line for line in process.stderr if line.startswith("update 1 "))]
        process.send_signal(number)
        told += list(process.stderr)
        assert process.wait() == status
    assert "error: interrupted; a checkpoint was written\n" in told
    assert told[-1] == "  Go on with: onehop train --out run --resume\n"
    update = int(Run("run").saved()[-1].name)
    assert update == log_rows(Path("run"))[-1]["update"]
    result = onehop("train", "--out", "run", "--resume", "--set", f"train.max_updates={update + 1}")
    assert f"resumed after update {update:,}" in result.err
    assert f"finished (max_updates) after {update + 1:,} updates" in result.err
