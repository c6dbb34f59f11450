"""A package holds what is needed to train it again, and `--like` does that."""

import json
import os
import shutil
from pathlib import Path

import pytest

from onehop.errors import ConfigError, ModelError
from onehop.tasks import convert, load_package, save_package
from onehop.train import like, make_recipe, train
from tests.fixtures.tiny import number_pairs, onehop, refused, tables, tiny_recipe, write_pairs
from tests.train.test_resume import Heard, assert_same_run, bits

SHORT = {"schedule": "cosine", "max_updates": 4, "evaluate_every": 2}


@pytest.fixture
def first(pairs, tmp_path, monkeypatch):
    """Return a run whose recipe leaves much to be chosen; the present folder is above it."""
    monkeypatch.chdir(tmp_path)
    small = {key: value for key, value in tables(pairs)["model"].items() if key != "dropout"}
    recipe = {"data": {"pairs": ["pairs.tsv"]}, "train": {**SHORT, "seed": 5}, "model": {**small, "dropout": 0.2}}
    train(make_recipe(recipe), "runs/first")
    return Path("runs/first")


@pytest.mark.parametrize("named", ["runs/first", "runs/first/model"])
def test_a_run_like_a_model_is_the_same_run_bit_for_bit(first, named):
    result = onehop("train", "--like", named, "--out", "runs/second")
    assert result.status == 0, result.err
    assert_same_run(first, Path("runs/second"))
    assert "may differ" not in result.err


def test_a_run_like_a_model_that_continued_another_is_the_same(first, pairs):
    train(make_recipe({"data": {"pairs": ["pairs.tsv"]}, "train": {**SHORT, "init": "runs/first"}}), "runs/child")
    train(like("runs/child"), "runs/again")
    assert_same_run(Path("runs/child"), Path("runs/again"))
    train(like("runs/first", settings=["train.seed=6"]), "runs/other")
    shutil.rmtree("runs/first/model")
    shutil.copytree("runs/other/model", "runs/first/model")
    with pytest.raises(ModelError, match="not the model that it continued: runs/first changed"):
        like("runs/child")


def test_the_record_holds_no_path_of_this_machine_and_lies_in_the_manifest(first):
    text = (first / "model/onehop.json").read_text()
    assert str(Path.cwd()) not in text
    record = json.loads(text)["record"]
    assert record["data"].keys() == {"../../../pairs.tsv"} == set(record["recipe"]["data"]["pairs"])
    assert record["recipe"]["train"]["seed"] == 5
    assert json.loads((first / "run.json").read_text())["data"].keys() == {"../../pairs.tsv"}


def test_the_record_stays_with_a_package_that_is_saved_again_or_converted(first):
    package = load_package(first)
    save_package(package, "copy")
    assert Path("copy/onehop.json").read_bytes() == (first / "model/onehop.json").read_bytes()
    save_package(convert(package, "int8"), "small")
    assert load_package("small").record == package.record


def test_files_that_changed_or_are_missing_are_named_each(first):
    result = onehop("train", "--like", shutil.move(first / "model", "elsewhere"), "--out", "new")
    refused(result, "elsewhere: not the data it was trained on: ", "pairs.tsv is missing", "--pairs F")
    shutil.move("elsewhere", first / "model")
    write_pairs(Path("pairs.tsv"), number_pairs(61))
    refused(onehop("train", "--like", first, "--out", "new"), "runs/first: not the data", "pairs.tsv changed")
    assert not Path("new").exists()


def test_other_files_take_the_place_of_all_that_the_record_names(first):
    write_pairs(Path("other.tsv"), number_pairs(70, seed=9))
    os.remove("pairs.tsv")
    result = onehop("train", "--like", first, "--pairs", "other.tsv", "--out", "runs/other", "--seed", "8")
    assert result.status == 0, result.err
    old, new = (json.loads((folder / "run.json").read_text())["recipe"] for folder in (first, Path("runs/other")))
    assert new["data"]["pairs"] == ["../../other.tsv"]
    assert (old["train"].pop("seed"), new["train"].pop("seed")) == (5, 8)
    assert {**old, "data": 0} == {**new, "data": 0}
    write_pairs(Path("other.tsv"), number_pairs(71, seed=9))  # files that are named may be other files of that name
    assert onehop("train", "--like", "runs/other", "--pairs", "other.tsv", "--out", "runs/third").status == 0


def test_weights_and_tags_of_corpora_are_kept_for_as_many_files(pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pairs(Path("more.tsv"), number_pairs(20, seed=4))
    mixed = {"pairs": ["pairs.tsv", "more.tsv"], "weights": [1.0, 2.0], "valid_pairs": ["more.tsv"]}
    train(tiny_recipe(pairs, data=mixed), "run")
    assert like("run", {"pairs": ["more.tsv", "pairs.tsv"]}).data.weights == [1.0, 2.0]
    one = like("run", {"pairs": ["more.tsv"]}).data
    assert (one.weights, one.valid_pairs) == ([], [])


def test_what_makes_the_repeated_run_another_is_told(first, monkeypatch):
    heard = Heard()
    monkeypatch.setattr("torch.get_num_threads", lambda: 3)
    like(first, tell=heard.tell)
    assert heard.told == ["like: the weights may differ in the last digits: trained with 1 threads, here 3"]


def test_a_package_without_a_record_a_recipe_beside_and_what_is_no_model_are_refused(first):
    package = load_package(first)
    save_package(type(package)(package.translator, package.golden, "", package.versions), "bare")
    refused(onehop("train", "--like", "bare", "--out", "new"), "bare: its package does not say how it was trained")
    refused(onehop("train", "runs/first/recipe.toml", "--like", "bare"), "a recipe and a model to train like")
    refused(onehop("train", "--like", "none", "--out", "new"), "none: no such model")
    refused(onehop("train", "--like", first), "where to?", "--out")
    with pytest.raises(ConfigError, match="sed"):
        like(first, settings=["train.sed=1"])


def test_the_resume_of_a_run_like_a_model_takes_the_same_words(first):
    for expected in (4, 4):
        result = onehop("train", "--like", first, "--out", "runs/second", "--resume")
        assert f"after {expected} updates" in result.err
    assert bits(first) == bits(Path("runs/second"))


def test_a_record_that_cannot_be_used_says_so(first):
    package = load_package(first)
    broken = {**(package.record or {}), "recipe": {"data": {}}}
    save_package(type(package)(package.translator, package.golden, "", package.versions, record=broken), "bad")
    with pytest.raises(ModelError, match="bad: its record cannot be used"):
        like("bad")
