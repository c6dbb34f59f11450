"""A run that continues a model: what it keeps, what it refuses, and what it remembers."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

import onehop as package
from onehop.errors import ConfigError, FileError, ModelError, Stopped
from onehop.files import Run
from onehop.tasks import convert, load_package, save_package
from onehop.tasks.package import weights
from onehop.train import make_recipe, train
from onehop.train.recipe import load_recipe
from tests.fixtures.tiny import log_rows, number_pairs, onehop, refused, tables, tiny_recipe, write_pairs
from tests.train.test_resume import Heard, Stop, assert_same_run


def child(pairs: str, parent: Path, **train_keys: object):
    """Return a recipe that says no more than it must."""
    keys = {"init": str(parent), "max_updates": 2, "batch_tokens": 100, "evaluate_every": 1, "warmup": 2, **train_keys}
    return make_recipe({"data": {"pairs": [pairs]}, "train": keys, "evaluate": {"sentences": 3}})


def test_a_run_begins_with_the_weights_tokenizers_and_settings_of_its_parent(trained, pairs, tmp_path):
    heard = Heard()
    train(child(pairs, trained, learning_rate=1e-12), tmp_path / "run", listener=heard)
    parent, found = package.load(trained), package.load(tmp_path / "run")
    assert found.source_tokenizer.to_json() == parent.source_tokenizer.to_json()
    assert found.settings == parent.settings
    first, second = weights(parent.model), weights(found.model)
    assert all(torch.allclose(first[name], second[name], atol=1e-9) for name in first)
    assert any("vocabulary of 320 pieces is kept" in text for text in heard.told)
    assert not any("warning" in text for text in heard.told)


def test_the_parent_is_evaluated_first_and_kept_where_nothing_is_better(trained, pairs, tmp_path):
    train(child(pairs, trained, learning_rate=5.0, best="loss"), tmp_path / "run")
    rows = [row for row in log_rows(tmp_path / "run") if row["kind"] == "evaluation"]
    assert [(row["update"], row["best"]) for row in rows] == [(0, True), (1, False), (2, False)]
    weights_file = "model/model.safetensors"
    assert (tmp_path / "run" / weights_file).read_bytes() == (trained / weights_file).read_bytes()


def test_an_int8_parent_can_be_continued(trained, pairs, tmp_path):
    save_package(convert(load_package(trained), "int8"), tmp_path / "int8")
    train(child(pairs, tmp_path / "int8"), tmp_path / "run")
    assert load_package(tmp_path / "run").precision == "float32"


def test_record_and_card_tell_the_parent_by_its_hash(trained, pairs, tmp_path):
    train(child(pairs, trained), tmp_path / "run")
    expected = hashlib.sha256((trained / "model/onehop.json").read_bytes()).hexdigest()
    assert json.loads((tmp_path / "run/run.json").read_text())["init"] == expected
    assert expected in (tmp_path / "run/model/MODEL_CARD.md").read_text()


def test_the_notices_of_both_texts_stand_in_the_package_once(pairs, tmp_path):
    train(tiny_recipe(pairs, data={"license": "CC0", "attribution": "Ann."}), tmp_path / "one")
    tables_of = child(pairs, tmp_path / "one").model_dump()
    for name, mine in (("two", "MIT"), ("three", "CC0")):
        tables_of["data"]["license"] = mine
        tables_of["text"], tables_of["decode"] = {}, {}
        train(make_recipe(tables_of), tmp_path / name)
    assert package.load(tmp_path / "two").settings.license == "MIT; of the model it continues: CC0"
    assert package.load(tmp_path / "three").settings.license == "CC0"
    assert package.load(tmp_path / "two").settings.attribution == "Ann."


def test_the_chosen_learning_rate_is_a_third_of_that_from_scratch(trained, pairs, tmp_path):
    shape = {key: value for key, value in package.load(trained).settings.model.items() if value is not None}
    data = {"data": {"pairs": [pairs]}, "text": {"vocab_size": 320}, "model": shape}
    keys = {"max_updates": 1, "batch_tokens": 100}
    rates = []
    for name, more in (("scratch", {}), ("continued", {"init": str(trained)})):
        train(make_recipe({**data, "train": {**keys, **more}}), tmp_path / name)
        rates.append(load_recipe(tmp_path / name / "recipe.toml").train.learning_rate)
    assert rates[1] == pytest.approx(rates[0] / 3)


@pytest.mark.parametrize(
    ("table", "key", "value", "theirs"),
    [
        ("model", "dim", 32, "64"),
        ("model", "norm", "post", "'pre'"),
        ("model", "preset", "transformer-tiny", "64"),
        ("text", "vocab_size", 400, "320"),
        ("text", "joint", False, "True"),
        ("text", "normalization", "nfkc", "'nfc'"),
        ("text", "max_length", 500, ""),
    ],
)
def test_a_key_that_contradicts_the_parent_is_an_error_with_the_parents_value(
    trained, pairs, tmp_path, table, key, value, theirs
):
    data = {"data": {"pairs": [pairs]}, "train": {"init": str(trained)}, table: {key: value}}
    with pytest.raises(ConfigError) as caught:
        train(make_recipe(data), tmp_path / "run")
    assert f"{table}.{'dim' if key == 'preset' else key} = " in caught.value.problem
    assert f"has {theirs}" in caught.value.problem
    assert not (tmp_path / "run").exists()


def test_the_parents_own_values_and_another_dropout_are_no_contradiction(trained, pairs, tmp_path):
    recipe = child(pairs, trained).model_dump()
    recipe["text"], recipe["decode"] = {"vocab_size": 320, "joint": True}, {"beam_size": 3}
    recipe["model"] = {"preset": "auto", "dim": 64, "num_heads": 4, "dropout": 0.25, "attention_dropout": 0.1}
    train(make_recipe(recipe), tmp_path / "run")
    found, parent = package.load(tmp_path / "run").settings, package.load(trained).settings
    assert found.model == {**parent.model, "dropout": 0.25, "attention_dropout": 0.1}
    assert found.decode == parent.decode.model_copy(update={"beam_size": 3})


def test_text_that_the_vocabulary_hardly_knows_is_told(trained, tmp_path):
    rows = [(source, "Один два." + target) for source, target in number_pairs(60)]
    heard = Heard()
    train(child(write_pairs(tmp_path / "pairs.tsv", rows), trained), tmp_path / "run", listener=heard)
    warnings = [text for text in heard.told if text.startswith("warning")]
    assert len(warnings) == 1
    assert "% of the target tokens are single bytes" in warnings[0]


def test_a_run_resumes_to_the_same_bits_though_its_parent_is_gone(trained, pairs, tmp_path):
    parent = Path(shutil.copytree(trained, tmp_path / "parent"))
    recipe = child(pairs, parent, max_updates=4, learning_rate=1e-3, schedule="constant")
    train(recipe, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "parts", listener=Stop(2))
    shutil.rmtree(parent)
    train(recipe, tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    records = [json.loads((tmp_path / run / "run.json").read_text())["init"] for run in ("whole", "parts")]
    assert records[0] == records[1]


def test_a_separate_pair_of_vocabularies_is_kept(pairs, tmp_path):
    train(tiny_recipe(pairs, text={"joint": False}), tmp_path / "one")
    train(child(pairs, tmp_path / "one"), tmp_path / "two")
    train(load_recipe(tmp_path / "two/recipe.toml"), tmp_path / "three")
    one, three = package.load(tmp_path / "one"), package.load(tmp_path / "three")
    assert not three.joint
    assert three.target_tokenizer.to_json() == one.target_tokenizer.to_json()


def test_the_command_finds_the_parent_from_the_present_folder_and_a_recipe_from_its_own(
    trained, pairs, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "parents/first")
    (tmp_path / "recipes").mkdir()
    Path("recipes/small.toml").write_text(
        '[data]\npairs = ["../pairs.tsv"]\n[train]\ninit = "../parents/first"\nmax_updates = 1\nbatch_tokens = 100\n'
    )
    assert onehop("train", "recipes/small.toml", "--out", "a").status == 0
    short = ["--set", "train.max_updates=1", "--set", "train.batch_tokens=100"]
    assert onehop("train", "--pairs", "pairs.tsv", "--init", "parents/first", "--out", "b", *short).status == 0
    assert [load_recipe(f"{run}/recipe.toml").train.init for run in "ab"] == ["parents/first"] * 2
    assert 'init = "../parents/first"' in Path("a/recipe.toml").read_text()
    refused(onehop("train", "--pairs", "pairs.tsv", "--init", "parents/none", "--out", "c"), "no such model")


def test_a_bundled_name_stays_a_name_in_the_record(trained, pairs, tmp_path, monkeypatch):
    shutil.copytree(trained / "model", tmp_path / "models/en-de")
    monkeypatch.setattr("onehop.tasks.folders.FOLDER", tmp_path / "models")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    train(child(pairs, Path("en-de")), tmp_path / "run")
    assert 'init = "en-de"' in (tmp_path / "run/recipe.toml").read_text()
    assert load_recipe(tmp_path / "run/recipe.toml").train.init == "en-de"


def test_a_parent_that_would_be_moved_aside_is_refused(pairs, tmp_path):
    train(tiny_recipe(pairs), tmp_path / "run")
    for place in ("run", "run/model"):
        with pytest.raises(FileError, match="that --overwrite moves aside"):
            train(child(pairs, tmp_path / place), tmp_path / "run", overwrite=True)
    assert Run(tmp_path / "run").saved()


def test_a_parent_of_another_kind_is_refused_before_anything_is_read(pairs, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ModelError, match="not a model"):
        train(child("none.tsv", tmp_path / "folder"), tmp_path / "run")
    assert tables(pairs)
