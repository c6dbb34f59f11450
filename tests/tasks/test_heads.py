"""Checkpoints with a head for each token: read as taggers and models that answer, and written again."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import onehop
from onehop.errors import ModelError
from onehop.tasks import Answerer, Tagger
from onehop.tasks.checkpoints import load_checkpoint
from onehop.tasks.foreign import save_checkpoint, task_of
from tests.fixtures.tagged import tagger

CHECKPOINTS = Path(__file__).parents[1] / "fixtures" / "checkpoints"
FAMILIES = ["Bert", "Roberta", "DistilBert", "Electra"]
SENTENCE = ["The", "cat", "sat", "on", "the", "mat"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tagger_keeps_its_labels_and_goes_there_and_back(family: str, tmp_path: Path):
    folder = CHECKPOINTS / f"{family}ForTokenClassification"
    model = onehop.load(folder)
    assert isinstance(model, Tagger)
    named = json.loads((folder / "config.json").read_text())["id2label"]
    assert list(model.labels) == [named[str(number)] for number in range(len(named))]
    expected = load_file(folder / "expected.safetensors")
    lengths = expected["attention_mask"].sum(1)
    source = onehop.nn.Source(expected["input_ids"], lengths, types=expected.get("token_type_ids"))
    rows, places = expected["attention_mask"].nonzero(as_tuple=True)
    assert torch.allclose(model.model(source, rows, places), expected["logits"][rows, places], atol=1e-5)
    assert save_checkpoint(model, tmp_path / "again") == f"{family}ForTokenClassification"
    again = onehop.load(tmp_path / "again")
    assert again.labels == model.labels
    assert again.predict([SENTENCE]) == model.predict([SENTENCE])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_that_answers_goes_there_and_back(family: str, tmp_path: Path):
    model = onehop.load(CHECKPOINTS / f"{family}ForQuestionAnswering")
    assert isinstance(model, Answerer)
    pair = ("the cat?", "The cat sat on the mat.")
    found = model.predict([pair])[0]
    assert pair[1][found.start : found.end] == found.answer != ""
    assert save_checkpoint(model, tmp_path / "again") == f"{family}ForQuestionAnswering"
    assert onehop.load(tmp_path / "again").predict([pair]) == [found]


def test_what_transformers_does_not_have_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="a CRF, which transformers does not have"):
        save_checkpoint(tagger("bert", crf=True), tmp_path / "x")
    for use in ("TokenClassification", "QuestionAnswering"):
        with pytest.raises(ModelError, match="which has no verb yet"):
            task_of(load_checkpoint(CHECKPOINTS / f"ModernBertFor{use}"))
