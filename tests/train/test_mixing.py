"""Runs of several corpora, tagged, weighted and packed: told, recorded, resumed, and used."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

import onehop as package
from onehop.errors import ConfigError, DataError, Stopped
from onehop.train import make_recipe, train
from tests.data.test_tables import saved
from tests.fixtures.tiny import ENGLISH, number_pairs, onehop, refused, tiny_recipe, write_pairs
from tests.train.test_resume import FIRST, Heard, Stop, assert_same_run

MIXED = {"weights": [1.5, 0.25], "tags": ["", "old"]}


def mixed(folder: Path):
    files = [write_pairs(folder / f"{seed}.tsv", number_pairs(60, seed)) for seed in (1, 2)]
    return tiny_recipe(
        files[0],
        data={**MIXED, "pairs": files},
        text={"vocab_size": 310},
        train={**FIRST, "max_updates": 7, "packing": True},
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    train(mixed(folder), folder / "run")
    return folder


@pytest.mark.parametrize("stop", [2, 5])
def test_a_mixed_and_packed_run_that_was_stopped_ends_as_one_that_was_not(run, tmp_path, stop):
    with pytest.raises(Stopped):
        train(mixed(run), run / tmp_path.name, listener=Stop(stop))
    train(mixed(run), run / tmp_path.name, resume=True)
    assert_same_run(run / "run", run / tmp_path.name)


def test_other_weights_are_another_run(run, tmp_path):
    changed = mixed(run).model_copy(update={"data": mixed(run).data.model_copy(update={"weights": [1.0, 1.0]})})
    with pytest.raises(ConfigError, match=r"data\.weights differ"):
        train(changed, run / "run", resume=True)


def test_the_package_remembers_its_tags_and_a_tag_changes_what_the_model_reads(run):
    translator = package.load(run / "run")
    assert translator.source_tokenizer.tags == ("old",)
    plain, tagged = (translator.translate(["One Two."], tag=tag)[0] for tag in ("", "old"))
    assert plain.score != tagged.score
    assert plain.source == tagged.source
    lines = [onehop("translate", run / "run", "--json", *tag, stdin=b"One Two.\n") for tag in ([], ["--tag", "old"])]
    assert [json.loads(line.out)["score"] for line in lines] == [round(t.score, 4) for t in (plain, tagged)]


def test_a_tag_that_the_model_does_not_know_is_refused_before_anything_is_written(run, tmp_path):
    write_pairs(tmp_path / "test.tsv", number_pairs(3))
    for verb in (["translate", run / "run"], ["evaluate", run / "run", "--data", tmp_path / "test.tsv"]):
        refused(onehop(*verb, "--tag", "odl", stdin=b"One.\n"), "no tag 'odl'", "did you mean 'old'")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"weights": [1.0]}, "weights has 1 values for 2 files"),
        ({"tags": ["a", "b", "c"]}, "tags has 3 values for 2 files"),
        ({"weights": [1.0, 0.0]}, "data.weights.1: input should be greater than 0"),
        ({"weights": [1.0, 1e9]}, "data.weights.1: input should be less than or equal to 1000"),
        ({"source_column": "en"}, "source_column and target_column go together"),
    ],
)
def test_weights_tags_and_columns_that_do_not_fit_are_told(data, says):
    with pytest.raises(ConfigError) as caught:
        make_recipe({"data": {"pairs": ["a.tsv", "b.tsv"], **data}})
    assert says in str(caught.value)


def test_a_name_that_cannot_be_a_tag_is_told(run, tmp_path):
    recipe = mixed(run)
    data = recipe.data.model_copy(update={"tags": ["", "back translation"]})
    with pytest.raises(ConfigError, match="cannot name a tag"):
        train(recipe.model_copy(update={"data": data}), tmp_path / "run")


# ---------------------------------------------------------------------------------------------- data sets


def test_a_saved_data_set_trains_validates_and_evaluates_in_the_direction_of_the_languages(tmp_path):
    rows = [{"de": target, "en": source} for source, target in number_pairs(60)]
    folder = saved(tmp_path / "set", pa.table({"translation": rows}))
    told = Heard()
    recipe = tiny_recipe(
        str(folder),
        data={"source_language": "en", "target_language": "de", "valid_pairs": [str(folder)]},
        evaluate={"tokenize": "13a"},
    )
    train(recipe, tmp_path / "run", listener=told)
    assert f"data: {folder}: sources from column 'translation.en', targets from 'translation.de'" in told.told
    lines = (tmp_path / "run/model/golden.jsonl").read_text("utf-8").splitlines()
    words = {word for line in lines for word in json.loads(line)["source"].rstrip(".").split()}
    assert words <= set(ENGLISH)
    result = onehop("evaluate", tmp_path / "run", "--data", folder, "--json", "-o", tmp_path / "out")
    assert (result.status, json.loads(result.out)["lines"]) == (0, 60)


def test_a_data_set_that_changed_is_not_resumed(tmp_path):
    rows = [{"de": target, "en": source} for source, target in number_pairs(61)]
    folder = saved(tmp_path / "set", pa.table({"translation": rows[:60]}))
    recipe = tiny_recipe(str(folder), train={**FIRST, "max_updates": 4})
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "run", listener=Stop(2))
    (folder / "data-00000-of-00001.arrow").unlink()
    saved(tmp_path / "other", pa.table({"translation": rows[1:]}))
    (tmp_path / "other/data-00000-of-00001.arrow").rename(folder / "data-00000-of-00001.arrow")
    with pytest.raises(DataError, match="set changed"):
        train(recipe, tmp_path / "run", resume=True)


def test_the_columns_of_a_table_to_evaluate_can_be_named(trained, tmp_path):
    rows = "".join(f"{n},{target},{source}\n" for n, (source, target) in enumerate(number_pairs(5)))
    path = tmp_path / "test.csv"
    path.write_text("key,gut,good\n" + rows, "utf-8")
    refused(onehop("evaluate", trained, "--data", path), f"{path}:1: no two columns", "--source-column")
    refused(onehop("evaluate", trained, "--data", path, "--source-column", "good"), "one column named")
    result = onehop("evaluate", trained, "--data", path, "--source-column", "good", "--target-column", "gut", "--json")
    assert json.loads(result.out)["bleu"] > 50
