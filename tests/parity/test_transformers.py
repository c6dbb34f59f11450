"""Hidden states and logits of checkpoints that `transformers` wrote, beside what it computed of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from onehop.models.checkpoint import layout, lines
from onehop.models.encoders import configure_encoder
from onehop.models.keys import to_theirs
from onehop.nn import Source
from onehop.nn.pooling import First, Mean
from onehop.tasks.checkpoints import Checkpoint, load_checkpoint

FOLDER = Path(__file__).parents[1] / "fixtures" / "checkpoints"
NAMES = sorted(path.name for path in FOLDER.iterdir())
LABELS = ("B-ANIMAL", "I-ANIMAL", "O")


def close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-5


@pytest.fixture(params=NAMES)
def folder(request: pytest.FixtureRequest) -> Path:
    return FOLDER / request.param


def given(expected: dict[str, Tensor]) -> Source:
    return Source(expected["input_ids"], expected["attention_mask"].sum(1), types=expected.get("token_type_ids"))


@torch.inference_mode()
def logits(loaded: Checkpoint, states: Tensor, lengths: Tensor) -> dict[str, Tensor]:
    """Compute what each head of a checkpoint says, by the names that transformers has for it."""
    heads: Any = loaded.model.heads
    read = Mean() if loaded.config.get("classifier_pooling") == "mean" else First()
    vector = read(states, lengths)
    found: dict[str, Tensor] = {}
    if "pooler" in heads:
        found["pooler_output"] = heads["pooler"](vector)
    for transform in ("pooler", "sentence"):
        for head in ("classify", "choose"):
            if transform in heads and head in heads and (transform == "sentence" or "sentence" not in heads):
                scores = heads[head](heads[transform](vector))
                found["logits"] = scores.T if head == "choose" else scores
    if "tag" in heads:
        found["logits"] = heads["tag"](states)
    if "answer" in heads:
        found["start_logits"], found["end_logits"] = heads["answer"](states).unbind(-1)
    if "mlm" in heads:
        name = "prediction_logits" if "nsp" in heads else "logits"
        found[name] = heads["mlm"](states)
    if "nsp" in heads:
        found["seq_relationship_logits"] = heads["nsp"](found["pooler_output"])
    if "discriminate" in heads:
        found["logits"] = heads["discriminate"](states).squeeze(-1)
    return found


def test_states_and_logits_are_those_of_transformers(folder: Path):
    loaded, expected = load_checkpoint(folder), load_file(folder / "expected.safetensors")
    source, real = given(expected), expected["attention_mask"] > 0
    with torch.inference_mode():
        states = loaded.model.encoder.encode(source).states
    close(states[real], expected["hidden"][real])
    found = logits(loaded, states, source.lengths)  # type: ignore[arg-type]
    wanted = {name for name in expected if name.endswith("logits")}
    assert wanted <= found.keys()
    for name in wanted:
        each_token = found[name].shape[:2] == real.shape
        close(found[name][real] if each_token else found[name], expected[name][real] if each_token else expected[name])


def test_what_is_read_is_written_again_to_the_bit(folder: Path):
    loaded, stored = load_checkpoint(folder), load_file(folder / "model.safetensors")
    config = configure_encoder(loaded.layout.architecture, loaded.settings)
    prefixed = any(name.startswith(loaded.layout.prefix) for name in stored)
    table = lines(loaded.layout, config, loaded.heads, prefixed)
    ours = {name: parameter.detach() for name, parameter in loaded.model.named_parameters()}
    again = to_theirs(table, ours)
    assert again.keys() == stored.keys()
    assert all(torch.equal(again[name], stored[name]) for name in stored)


def test_a_key_table_names_each_tensor_once_on_both_sides(folder: Path):
    loaded = load_checkpoint(folder)
    config = configure_encoder(loaded.layout.architecture, loaded.settings)
    table = lines(loaded.layout, config, loaded.heads, True)
    theirs, ours = [key.theirs for key in table], [name for key in table for name in key.ours]
    assert len(set(theirs)) == len(theirs)
    assert sorted(ours) == sorted(dict(loaded.model.named_parameters()))


def test_labels_keep_their_names(folder: Path):
    assert load_checkpoint(folder).labels == (LABELS if "Sequence" in folder.name or "Token" in folder.name else ())


def test_settings_are_written_as_they_were_read(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    of = layout(config["model_type"])
    settings: Any = configure_encoder(of.architecture, of.read(config))
    assert of.read({**of.write(settings), "pad_token_id": config.get("pad_token_id")}) == of.read(config)
