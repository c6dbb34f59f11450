"""Whatever is changed in a package of any task but translation is found when it is loaded; see `test_mutations`."""

import json
import shutil
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest
import torch

from onehop.errors import OnehopError
from onehop.tasks import load_package, new_package, save_package
from onehop.tasks.names import GOLDEN, JOINT, MANIFEST, WEIGHTS
from tests.fixtures.packages import edit_golden, edit_manifest, rehash
from tests.laws.packages import PACKAGES, every_package
from tests.tasks.test_mutations import positions, refused

FILES = [MANIFEST, WEIGHTS, GOLDEN, JOINT]
KINDS = [
    "classify-hierarchical-fresh", "classify-bert-BertForSequenceClassification", "embed-bert-BertModel",
    "tag-transformer-fresh", "tag-bert-BertModel", "answer-bert-BertModel", "regress-recurrent-fresh",
    "multilabel-bert-fresh", "choose-bert-BertModel",
]  # fmt: skip


def test_a_package_of_every_task_is_changed():
    assert {kind.split("-")[0] for kind in KINDS} | {"translation"} == set(PACKAGES)


@pytest.fixture(scope="module", params=KINDS)
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two packages of one task and family with other weights and vocabularies."""
    folders: list[Path] = []
    small = next(small for small in every_package() if str(small) == request.param)
    for number in range(2):
        folders.append(tmp_path_factory.mktemp("model") / "model")
        torch.manual_seed(number)
        package = small.make()
        with torch.no_grad():
            for parameter in package.task.model.parameters():
                parameter.mul_(1 + number * torch.rand_like(parameter))
        save_package(new_package(package.task, [line["source"] for line in package.golden], "A card."), folders[-1])
    again = json.loads((folders[1] / JOINT).read_text("utf-8"))
    (folders[1] / JOINT).write_text(json.dumps(_other_vocabulary(again), ensure_ascii=False) + "\n", "utf-8")
    rehash(folders[1])
    return folders


def _other_vocabulary(data: dict) -> dict:
    vocab = data["model"]["vocab"]
    one, two = list(vocab)[-5:-3]
    vocab[one], vocab[two] = vocab[two], vocab[one]
    data["model"]["vocab"] = dict(sorted(vocab.items(), key=lambda item: item[1]))
    return data


@pytest.fixture
def model(models: list[Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(models[0], tmp_path / "model"))


def test_a_package_that_nobody_changed_loads(model: Path):
    assert sorted(path.name for path in model.iterdir()) == sorted(["MODEL_CARD.md", *FILES])
    (model / "MODEL_CARD.md").write_text("for people")
    assert load_package(model).drift == ""


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_of_any_byte_is_found(model: Path, name: str):
    good = (model / name).read_bytes()
    for number, place in enumerate(positions(len(good), 60)):
        changed = bytes([good[place] ^ 1 << number % 8])
        (model / name).write_bytes(good[:place] + changed + good[place + 1 :])
        refused(model, name)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_or_grows_or_goes_or_is_another_models_is_found(model: Path, models: list[Path], name: str):
    good = (model / name).read_bytes()
    for data in (b"", good[:1], good[: len(good) // 2], good[:-1], good + b"\n", good + b"\0"):
        (model / name).write_bytes(data)
        refused(model, name)
    assert (models[1] / name).read_bytes() != good
    shutil.copyfile(models[1] / name, model / name)
    refused(model, name if name != MANIFEST else "its hash does not fit")
    (model / name).unlink()
    refused(model, name, "run" if name == MANIFEST else "Copy the package again")


@pytest.mark.parametrize("name", [WEIGHTS, GOLDEN, JOINT])
def test_the_file_of_another_model_is_found_with_hashes_that_fit(model: Path, models: list[Path], name: str):
    shutil.copyfile(models[1] / name, model / name)
    rehash(model)
    refused(model, JOINT if name == JOINT else GOLDEN)


def test_any_other_order_of_labels_is_found_wherever_it_stands(model: Path):
    labels = json.loads((model / MANIFEST).read_text("utf-8"))["labels"]
    if labels is None:
        edit_manifest(model, lambda manifest: manifest.update(labels=["no", "yes"]))
        refused(model, "the labels ['no', 'yes'], where the model has None")
        return
    good = (model / MANIFEST).read_bytes()
    orders = [list(order) for order in permutations(labels) if list(order) != labels]
    for order in orders[:: -(-len(orders) // 8)]:
        for places in (("labels",), ("settings",), ("labels", "settings")):
            (model / MANIFEST).write_bytes(good)
            edit_manifest(model, lambda manifest, order=order, places=places: _order(manifest, order, places))
            refused(model, GOLDEN if len(places) == 2 else "the labels")


def _order(manifest: dict, order: list[str], places: tuple[str, ...]) -> None:
    if "labels" in places:
        manifest["labels"] = order
    if "settings" in places:
        manifest["settings"]["labels"] = order


def test_another_name_of_a_label_is_found(model: Path):
    labels = json.loads((model / MANIFEST).read_text("utf-8"))["labels"]
    if labels is None:
        bad = {"embedding": [None], "value": "1", "first": "1", "log_probs": ["0.5"]}
        edit_golden(model, lambda lines: lines[0].update(bad))
        refused(model, f"{GOLDEN}:1: damaged: not a golden line")
        return
    other = [label if label == "O" else f"{label}s" for label in labels]
    edit_manifest(model, lambda manifest: _order(manifest, other, ("labels", "settings")))
    by_name = "thresholds" in json.loads((model / MANIFEST).read_text("utf-8"))["settings"]
    told = "thresholds must be of labels that there are" if by_name else f"{GOLDEN}:1: damaged: not a golden line"
    with pytest.raises(OnehopError, match=told):
        load_package(model)


def test_a_golden_line_in_a_list_as_older_packages_have_it_loads(model: Path):
    def in_a_list(lines: list[dict]) -> None:
        for line in lines:
            if "label" in line:
                line["log_probs"] = list(line["log_probs"].values())

    edit_golden(model, in_a_list)
    assert load_package(model).drift == ""


def _drop_normaliser(data: dict) -> None:
    data["normalizer"] = None


def _lowercase(data: dict) -> None:
    data["normalizer"] = {"type": "Lowercase"}


@pytest.mark.parametrize("edit", [_other_vocabulary, _drop_normaliser, _lowercase])
def test_an_edited_tokenizer_is_found_with_hashes_that_fit(model: Path, edit: Callable[[dict], object]):
    data = json.loads((model / JOINT).read_text("utf-8"))
    before = json.dumps(data)
    edit(data)
    assert json.dumps(data) != before
    (model / JOINT).write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
    rehash(model)
    refused(model, JOINT, "")


def test_a_vocabulary_without_the_token_for_what_it_lacks_is_refused(model: Path):
    data = json.loads((model / JOINT).read_text("utf-8"))
    if data["model"].get("unk_token"):
        data["model"]["unk_token"] = "[NONE]"
        (model / JOINT).write_text(json.dumps(data) + "\n", "utf-8")
        rehash(model)
        refused(model, f"{JOINT}: ", "")


def test_a_head_that_the_family_does_not_have_is_refused(model: Path):
    def change(manifest: dict) -> None:
        manifest["settings"]["heads"] = ["model.safetensors"]

    edit_manifest(model, change)
    with pytest.raises(OnehopError, match="heads"):
        load_package(model)


@pytest.mark.parametrize("key", ["pooling", "unit", "max_length"])
def test_a_setting_that_decides_what_comes_out_is_found(model: Path, key: str):
    def change(manifest: dict) -> None:
        settings = manifest["settings"]
        if key == "max_length":
            settings["text"]["max_length"] -= 1
        elif key == "pooling":
            place = settings if "pooling" in settings else settings["head"]
            place["pooling"] = "max"
        elif key in settings:
            settings["unit"] = not settings["unit"]
        elif "sentences" not in settings["text"]:
            settings["model"]["num_heads"] //= 2
        else:
            settings["text"]["sentences"] = not settings["text"]["sentences"]

    edit_manifest(model, change)
    with pytest.raises(OnehopError):
        load_package(model)
