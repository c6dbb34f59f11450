import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehop.errors import ConfigError, FileError
from onehop.train import Recipe, load_recipe, make_recipe
from onehop.train.answer_recipe import AnswerRecipe
from onehop.train.classify_recipe import ClassifyRecipe
from onehop.train.embed_recipe import EmbedRecipe
from onehop.train.pretrain_recipe import PretrainRecipe
from onehop.train.recipe import to_toml
from onehop.train.regress_recipe import RegressRecipe
from onehop.train.tag_recipe import TagRecipe
from tests.fixtures.tiny import tables

DATA = {"pairs": ["pairs.tsv"]}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(
    text=TEXTS,
    files=st.lists(TEXTS.filter(bool), min_size=1, max_size=3),
    rate=st.floats(min_value=1e-12, max_value=1e6),
    minutes=st.none() | st.floats(min_value=1e-3, max_value=1e4),
    seed=st.integers(0, 2**63 - 1),
    norm=st.sampled_from(["pre", "post"]),
)
def test_a_recipe_that_was_written_reads_as_the_same_recipe(text, files, rate, minutes, seed, norm):
    recipe = make_recipe(
        {
            "data": {"source": files, "target": files, "license": text, "attribution": text[::-1]},
            "model": {"norm": norm, "final_norm": True, "dim": 64},
            "train": {"learning_rate": rate, "max_minutes": minutes, "seed": seed, "betas": [0.5, 0.25]},
            "text": {"joint": False, "coverage": 1.0},
        }
    )
    written = to_toml(recipe)
    assert make_recipe(tomllib.loads(written)) == recipe
    assert to_toml(make_recipe(tomllib.loads(written))) == written


def test_training_pairs_cannot_be_divided_into_windows_and_the_error_says_why():
    with pytest.raises(ConfigError, match=r"text.long: a pair has no windows: .* use error, drop or cut"):
        make_recipe({"data": DATA, "text": {"long": "window"}})


def test_files_of_a_recipe_are_sought_beside_it_wherever_one_stands(tmp_path, monkeypatch):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/r.toml").write_text('[data]\npairs = ["../a.tsv", "/b.tsv"]\nvalid_pairs = ["c.tsv"]\n')
    monkeypatch.chdir(tmp_path)
    data = load_recipe("recipes/r.toml").data
    assert (data.pairs, data.valid_pairs) == (["a.tsv", "/b.tsv"], ["recipes/c.tsv"])


def test_settings_go_over_what_the_file_says_and_what_it_reached_is_no_setting(tmp_path):
    (tmp_path / "r.toml").write_text('[data]\npairs = ["a.tsv"]\n[train]\nseed = 4\n[record]\nbleu = 30.5\n')
    recipe = load_recipe(tmp_path / "r.toml", ["train.seed=5", "model.preset=auto"])
    assert (recipe.train.seed, recipe.model) == (5, {"preset": "auto"})


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "no training text: give source and target, or pairs"),
        ({"source": ["a"]}, "source and target go together"),
        ({**DATA, "valid_target": ["a"]}, "valid_source and valid_target go together"),
        ({**DATA, "source": ["a"], "target": ["b"]}, "give source and target, or pairs, not both"),
        ({"pairs": "a.tsv"}, "data.pairs: input should be a valid list"),
    ],
)
def test_data_that_does_not_fit_together_is_told(data, told):
    with pytest.raises(ConfigError, match=told):
        make_recipe({"data": data})


def test_a_model_whose_settings_depend_on_the_data_is_checked_when_they_are_known():
    assert make_recipe({"data": DATA, "model": {"preset": "auto", "dim": 100}}).model["dim"] == 100
    with pytest.raises(ConfigError, match="num_heads=8 must divide dim=100"):
        make_recipe({"data": DATA, "model": {"dim": 100}})


@pytest.mark.parametrize("model", [3, [], "transformer-tiny"])
def test_a_model_that_is_no_table_is_told(model):
    with pytest.raises(ConfigError, match="model: input should be a valid dictionary"):
        make_recipe({"data": DATA, "model": model})


def test_every_bundled_recipe_reads(monkeypatch):
    monkeypatch.setenv("ONEHOP_DATA", "data")
    root = Path(__file__).parents[2]
    found = [*root.glob("recipes/**/*.toml"), *root.glob("onehop/bundled/**/*.toml")]
    kinds = {
        "translation": Recipe, "classify": ClassifyRecipe, "regress": RegressRecipe, "tag": TagRecipe,
        "answer": AnswerRecipe, "mlm": PretrainRecipe, "embed": EmbedRecipe,
    }  # fmt: skip
    assert all(type(recipe) is kinds[recipe.task] for recipe in map(load_recipe, found))
    assert make_recipe(tables("p.tsv")).train.max_updates == 2


def test_paths_may_name_variables_of_the_environment(tmp_path, monkeypatch):
    (tmp_path / "r.toml").write_text('[data]\npairs = ["$SOME_TEXTS/pairs.tsv"]\n')
    monkeypatch.setenv("SOME_TEXTS", str(tmp_path / "texts"))
    assert load_recipe(tmp_path / "r.toml").data.pairs == [str(tmp_path / "texts/pairs.tsv")]
    monkeypatch.delenv("SOME_TEXTS")
    with pytest.raises(ConfigError, match="SOME_TEXTS is not set"):
        load_recipe(tmp_path / "r.toml")


def test_dropping_merges_needs_merges():
    with pytest.raises(ConfigError, match="bpe_dropout leaves out merges"):
        make_recipe({"data": {"pairs": ["p.tsv"]}, "text": {"algorithm": "unigram", "bpe_dropout": 0.1}})


def test_a_path_with_a_nul_is_an_error_that_names_the_path(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text('[data]\nsource = ["a\\u0000b"]\ntarget = ["c"]\n', "utf-8")
    with pytest.raises(FileError, match="its name holds a NUL"):
        load_recipe(file)
