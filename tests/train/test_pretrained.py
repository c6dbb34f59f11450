"""A classifier that begins with a pretrained encoder."""

import json
from pathlib import Path

import pytest
import torch

import onehop
from onehop.tasks import load_package
from onehop.tasks.foreign import save_checkpoint
from tests.fixtures.labelled import reviews, write_reviews
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "checkpoints" / "BertModel"
SHORT = ["--set", "train.max_updates=3", "--set", "train.evaluate_every=3"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun")
    table = write_reviews(folder / "rooms.csv", reviews(60, sentences=1))
    done = command(
        "train", "--task", "classify", "--data", table, "--init", CHECKPOINT, "--out", folder / "run", *SHORT
    )
    assert done.status == 0, done.err
    return folder / "run"


def test_a_run_begins_with_the_encoder_and_learns_a_head_of_its_family(run: Path):
    model, begun = onehop.load_classifier(run), load_package(CHECKPOINT).task
    assert model.labels == ("bad", "good")
    head = model.settings.head
    assert (head.pooling, head.transform, head.dropout) == ("cls", "tanh", 0.1)
    ours, theirs = dict(model.model.named_parameters()), dict(begun.model.named_parameters())
    for name, parameter in theirs.items():
        name = name.replace("heads.pooler.", "pooling.transform.")
        assert (ours[name] - parameter).abs().max() < 1e-3, name  # three small steps away
    recipe = (run / "recipe.toml").read_text()
    assert "learning_rate = 0.0001" in recipe
    assert "layer_decay = 0.9" in recipe
    assert 'schedule = "linear"' in recipe
    assert "packing = true" in recipe  # so that texts are learnt from in any order
    assert len(model.predict(["The room was lovely."])[0].scores) > 0


def test_what_was_trained_goes_to_transformers_and_back(run: Path, tmp_path: Path):
    model = onehop.load_classifier(run)
    assert save_checkpoint(model, tmp_path / "hf") == "BertForSequenceClassification"
    texts = [text for text, _ in reviews(5, seed=3, sentences=1)]
    again = onehop.load_classifier(tmp_path / "hf").predict(texts)
    for one, other in zip(again, model.predict(texts), strict=True):  # whose temperature is in the last map now
        assert one.scores == pytest.approx(other.scores, abs=1e-6)
    config = json.loads((tmp_path / "hf/config.json").read_text())
    assert config["id2label"] == {"0": "bad", "1": "good"}


def test_the_same_seed_gives_the_same_weights_however_often_it_is_saved(run: Path, tmp_path: Path):
    table = run.parent / "rooms.csv"
    start = ("train", "--task", "classify", "--data", table, "--init", CHECKPOINT, "--out", tmp_path / "two")
    settings = ["--set", "train.evaluate_every=3", "--set", "train.save_every=2"]
    done = command(*start, *settings, "--set", "train.max_updates=3")
    assert done.status == 0, done.err
    one, two = (load_package(path).task.model.state_dict() for path in (run, tmp_path / "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_what_a_pretrained_encoder_cannot_do_is_refused(run: Path, tmp_path: Path):
    table = run.parent / "rooms.csv"
    start = ("train", "--task", "classify", "--data", table, "--init", CHECKPOINT, "--out", tmp_path / "x", *SHORT)
    refused(command(*start, "--set", "model.dim=16"), "train.init names has 8")
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("one\teins\n" * 30)
    wrong = command("train", "--pairs", pairs, "--init", CHECKPOINT, "--out", tmp_path / "y")
    refused(wrong, "a model of the task 'embed', not 'translation'")
    assert not (tmp_path / "y" / "model").exists()
