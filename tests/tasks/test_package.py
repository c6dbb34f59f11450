import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import onehop
from onehop.errors import ModelError
from onehop.files import to_json
from onehop.tasks import Translator, load_package, new_package, save_package
from onehop.tasks.golden import KIND
from onehop.tasks.weights import weights
from onehop.train import train
from tests.fixtures.tiny import number_pairs, tiny_recipe, write_pairs


@pytest.fixture(scope="module", params=["joint", "separate"])
def made(request, tmp_path_factory):
    """Return the package folder of a run with one vocabulary, and of one with two."""
    folder = tmp_path_factory.mktemp(request.param)
    pairs = write_pairs(folder / "pairs.tsv", number_pairs(60))
    recipe = tiny_recipe(pairs, text={"joint": request.param == "joint"}, data={"license": "CC0", "attribution": "Me."})
    return train(recipe, folder / "run").model


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_package_holds_its_files_and_their_hashes_and_no_time(made):
    joint = "tokenizer.json" in os.listdir(made)
    tokenizers = ["tokenizer.json"] if joint else ["source.tokenizer.json", "target.tokenizer.json"]
    hashed = {"model.safetensors", "golden.jsonl", *tokenizers}
    assert set(os.listdir(made)) == {*hashed, "onehop.json", "MODEL_CARD.md"}
    manifest = json.loads((made / "onehop.json").read_text())
    assert manifest["files"] == {name: hashlib.sha256((made / name).read_bytes()).hexdigest() for name in hashed}
    assert set(manifest) == {
        "format", "task", "precision", "settings", "versions", "files", "labels", "lengths", "fingerprints", "drift",
        "record", "sha256",
    }  # fmt: skip
    longest = manifest["settings"]["text"]["max_length"]
    assert manifest["lengths"] == {"source": longest, "target": 3}
    assert (manifest["labels"], manifest["drift"]) == (None, None)
    assert list(manifest["fingerprints"]) == sorted(tokenizers)
    assert (manifest["settings"]["license"], manifest["settings"]["attribution"]) == ("CC0", "Me.")


def test_saving_what_was_loaded_gives_the_same_bytes(made, tmp_path):
    save_package(load_package(made), tmp_path / "again")
    assert contents(tmp_path / "again") == contents(made)
    save_package(load_package(tmp_path / "again"), tmp_path / "again")  # in its own place
    assert contents(tmp_path / "again") == contents(made)


def test_the_golden_lines_come_out_again_after_loading(made, tmp_path):
    loaded = load_package(made)
    assert len(loaded.golden) == 8
    assert KIND.lines(loaded.translator, [line["source"] for line in loaded.golden]) == loaded.golden


def test_a_loaded_model_is_the_one_that_was_saved_and_ready_to_use(made):
    one, other = onehop.load(made), onehop.load(made.parent)
    assert isinstance(one, Translator)
    assert (one.task, one.model.training) == ("translation", False)
    assert one.joint == ("tokenizer.json" in os.listdir(made))
    first, second = weights(one.model), weights(other.model)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_any_text_can_stand_in_golden_lines_and_in_the_card(made, tmp_path):
    translator = load_package(made).translator
    hostile = ["a\u2028b\x0b\x85c", "lone \ud800 surrogate", "\0", "مرحبا", "👩‍👩‍👧", 'quote " back \\', "line\nend\r"]
    package = new_package(translator, hostile, "# Karte\u2028\r\n")
    for folder in ("one", "two"):
        save_package(package, tmp_path / folder)
        package = load_package(tmp_path / folder)
    assert [line["source"] for line in package.golden] == hostile
    assert package.card == "# Karte\u2028\r\n"
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_card_that_was_edited_is_kept_byte_for_byte(made, tmp_path):
    shutil.copytree(made, tmp_path / "model")
    (tmp_path / "model/MODEL_CARD.md").write_bytes(b"# \xff mine")
    save_package(load_package(tmp_path / "model"), tmp_path / "again")
    assert (tmp_path / "again/MODEL_CARD.md").read_bytes() == b"# \xff mine"


def edited(folder: Path, **changes: object) -> Path:
    """Change a manifest and give it a hash that fits, as a foreign program would."""
    manifest = json.loads((folder / "onehop.json").read_text())
    manifest.update(changes)
    manifest.pop("sha256")
    (folder / "onehop.json").write_text(
        to_json({**manifest, "sha256": hashlib.sha256(to_json(manifest).encode()).hexdigest()})
    )
    return folder


@pytest.fixture
def copied(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "model"))


def test_a_package_of_a_newer_format_says_to_update_and_one_of_a_newer_minor_loads(copied):
    assert load_package(edited(copied, format="1.9")).translator.task == "translation"
    with pytest.raises(ModelError, match=r"(?s)package format 2.0, this Onehop reads 1.1.*Update onehop"):
        load_package(edited(copied, format="2.0"))


def test_a_manifest_that_names_files_elsewhere_is_refused(copied):
    (copied.parent / "secret").write_text("x")
    with pytest.raises(ModelError, match="names a file outside its folder"):
        load_package(edited(copied, files={"../secret": "0" * 64}))


@pytest.mark.parametrize("text", ["", "{", "[]", "[1]", "3", '"x"', "null", "{}", "[" * 100_000, "\xff"])
def test_what_is_no_manifest_is_told_as_damage(copied, text):
    (copied / "onehop.json").write_text(text, "latin-1")
    with pytest.raises(ModelError, match=r"onehop.json: damaged: not a manifest"):
        load_package(copied)


def test_the_form_of_the_manifest_counts_and_not_only_what_it_says(copied):
    text = (copied / "onehop.json").read_text()
    (copied / "onehop.json").write_text(text.replace("\n ", "\n\t", 1))
    with pytest.raises(ModelError, match=r"onehop.json: changed since it was written"):
        load_package(copied)


def test_weights_that_do_not_fit_the_settings_are_all_listed(copied, tmp_path):
    other = replace(load_package(copied), path=None, manifest=None)
    wrong = other.translator.settings.model_copy(update={"model": {**other.translator.settings.model, "ffn_dim": 32}})
    other.translator.settings = wrong
    save_package(other, tmp_path / "wrong")
    with pytest.raises(ModelError, match=r"(?s)do not fit: .*encoder\.0.* is \(24, 16\), not \(32, 16\).*decoder\.0"):
        load_package(tmp_path / "wrong")
