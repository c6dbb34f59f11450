import hashlib
import json
from pathlib import Path

import pytest
import torch

import onehop
from onehop.config import SettingsError, validate
from onehop.data.labelled import SEPARATOR
from onehop.errors import DataError, LengthError, ModelError
from onehop.files import to_json
from onehop.models.encoders import ENCODERS
from onehop.nn.pooling import POOLINGS
from onehop.tasks import ClassifySettings, Package, convert, load_package, new_package, save_package
from tests.fixtures.labelled import classifier, reviews
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused

TEXTS = [text for text, _ in reviews(12, seed=5)]
LONG = "The room was lovely. " * 12


@pytest.fixture(params=sorted(ENCODERS))
def made(request: pytest.FixtureRequest) -> Package:
    return new_package(classifier(request.param), TEXTS[:4], "# A classifier")


def stored(package: Package, folder: Path) -> Path:
    save_package(package, folder)
    return folder


def edited(folder: Path, **changes: object) -> Path:
    manifest = json.loads((folder / "onehop.json").read_text("utf-8"))
    manifest.pop("sha256")
    manifest.update(changes)
    manifest["sha256"] = hashlib.sha256(to_json(manifest).encode()).hexdigest()
    (folder / "onehop.json").write_text(to_json(manifest), "utf-8")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_saved_loaded_saved_is_the_same_bytes_in_every_precision(made: Package, tmp_path: Path):
    for precision in ("float32", "float16", "int8"):
        first = stored(convert(made, precision), tmp_path / precision)
        loaded = load_package(first)
        assert contents(stored(loaded, tmp_path / "again")) == contents(first)
        assert loaded.precision == precision
        assert len(loaded.golden) == 4


def test_labels_go_by_name_from_the_package_to_the_prediction(made: Package, tmp_path: Path):
    folder = stored(made, tmp_path / "model")
    found = onehop.load_classifier(folder).predict(TEXTS)
    assert [list(one.scores) for one in found] == [["bad", "good", "neither"]] * len(TEXTS)
    assert all(one.label == max(one.scores, key=lambda name: one.scores[name]) for one in found)
    assert json.loads((folder / "onehop.json").read_text("utf-8"))["labels"] == ["bad", "good", "neither"]


def test_a_package_whose_labels_were_swapped_is_refused(made: Package, tmp_path: Path):
    folder = edited(stored(made, tmp_path / "model"), labels=["good", "bad", "neither"])
    with pytest.raises(ModelError, match="the labels"):
        load_package(folder)


def test_golden_lines_tell_weights_that_changed(made: Package, tmp_path: Path):
    with torch.no_grad():
        made.task.model.output.bias.add_(torch.tensor([0.5, 0.0, 0.0]))
    with pytest.raises(ModelError, match="'bad' has the log-probability"):
        load_package(stored(made, tmp_path / "model"))


def test_a_model_of_another_task_is_refused_with_the_verb_to_use(made: Package, tmp_path: Path, trained: Path):
    folder = stored(made, tmp_path / "model")
    wrong = "a model of the task 'classify', not 'translation'"
    refused(command("translate", folder), wrong, f"onehop predict {folder}")
    with pytest.raises(ModelError, match=wrong):
        _ = load_package(folder).translator
    with pytest.raises(ModelError, match="a model of the task 'translation', not 'classify'") as caught:
        onehop.load_classifier(trained)
    assert f"onehop translate {trained}" in caught.value.remedy
    with pytest.raises(ModelError, match="unknown task 'paint'") as caught:
        load_package(edited(folder, task="paint"))
    assert "Update" in caught.value.remedy


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("architecture", sorted(ENCODERS))
def test_a_text_alone_is_classified_as_beside_others(architecture: str, pooling: str):
    model = classifier(architecture, pooling)
    together = model.predict(TEXTS)
    for text, one in zip(TEXTS, together, strict=True):
        alone = model.predict([text])[0]
        assert alone.label == one.label
        assert list(alone.scores.values()) == pytest.approx(list(one.scores.values()), abs=1e-5)


def test_a_long_text_is_an_error_or_what_was_asked_for():
    model = classifier("recurrent")
    with pytest.raises(LengthError, match="longer than the model's limit of 40") as caught:
        model.predict([TEXTS[0], LONG], where="rooms.txt")
    assert caught.value.where == "rooms.txt:2"
    drop, cut, window = (model.predict([LONG], long=long)[0] for long in ("drop", "cut", "window"))
    tokens = len(model.encode([LONG])[0])
    assert (drop.label, drop.dropped, drop.cut) == (None, True, 0)
    assert (cut.cut, cut.windows) == (tokens - 40, 0)
    assert window.windows == -(-tokens // 40) or window.windows > 1
    assert sum(window.scores.values()) == pytest.approx(1, abs=1e-5)


def test_an_empty_text_has_no_label():
    assert [one.label for one in classifier().predict(["", "  ", "\n"])] == [None, None, None]


def test_a_text_is_never_read_as_a_mark():
    model = classifier()
    plain, marked = (model.encode([text])[0] for text in ("One</s>Two", f"One{SEPARATOR}Two"))
    assert 2 not in plain
    assert marked.count(2) == 0  # one column was asked for: the separator is taken out of it


def test_as_many_columns_are_asked_for_as_the_model_was_trained_on():
    model = classifier("recurrent")
    model.settings = model.settings.model_copy(update={"columns": ["premise", "hypothesis"]})
    assert model.encode([("It rains.", "It is wet.")])[0].count(2) == 1
    with pytest.raises(DataError, match="1 texts where the model reads 2") as caught:
        model.predict(["It rains."])
    assert "premise, hypothesis" in caught.value.remedy


def test_settings_that_fit_no_model_are_refused():
    good = classifier().settings.model_dump()
    for change in ({"labels": ["a", "a"]}, {"labels": ["a"]}, {"text": {"max_length": 9, "sentences": False}}):
        with pytest.raises(SettingsError, match=r"labels|sentences"):
            validate(ClassifySettings, {**good, **change}, "settings")
