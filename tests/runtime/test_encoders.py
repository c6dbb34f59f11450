"""A fast encoder computes what its reference computes, alone, in batches and in packed rows; so do tasks over it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import onehop
from onehop.models.encoders import ENCODERS, build_encoder, encoder_family
from onehop.nn import Source
from onehop.runtime import accelerate, precisions
from onehop.runtime.encoder import FastEncoder
from tests.fixtures.labelled import classifier
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused

CHECKPOINTS = Path(__file__).parents[1] / "fixtures" / "checkpoints"
TEXTS = ["the cat sat on the mat.", "a dog ran", "", "big red mat, small rug!"]
VOCAB, CLOSE = 57, 1e-5
SIZES: dict[str, dict[str, Any]] = {
    "bert": {"dim": 24, "ffn_dim": 40, "num_heads": 3, "num_layers": 2},
    "roberta": {"dim": 24, "ffn_dim": 40, "num_heads": 3, "num_layers": 2, "activation": "gelu_tanh"},
    "distilbert": {"dim": 24, "ffn_dim": 40, "num_heads": 3, "num_layers": 2, "activation": "relu"},
    "electra": {"dim": 24, "ffn_dim": 40, "num_heads": 3, "num_layers": 2, "embedding_dim": 10},
    "modernbert": {"dim": 48, "ffn_dim": 37, "num_heads": 2, "num_layers": 4, "window": 3},
    "transformer": {"dim": 24, "ffn_dim": 40, "num_heads": 4, "num_layers": 2, "positions": "rotary"},
}
UNKNOWN: dict[str, dict[str, Any]] = {
    "recurrent": {"dim": 12, "hidden_dim": 12},
    "hierarchical": {"dim": 12, "hidden_dim": 12, "attention_dim": 8},
    "convolutional": {"dim": 12, "hidden_dim": 12, "attention": "before"},
}


def encoder(name: str, settings: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    made = build_encoder(name, settings, VOCAB).eval()
    for parameter in made.parameters():
        if parameter.dim() == 1:  # biases and norms begin at zeros and ones, which would hide that they are left out
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    return made


def sources(name: str = "") -> list[Source]:
    """Return padded rows, packed rows with several texts in each, and one text whose rows are more than a block."""
    types = torch.randint(0, 2, (1, 130)) if name == "bert" else None
    torch.manual_seed(1)
    packed = torch.tensor([[0] * 9 + [1] * 4 + [-1] * 7, [0, 1, 2] + [3] * 17])
    return [
        Source(torch.randint(3, VOCAB, (4, 70)), torch.tensor([70, 1, 33, 5])),
        Source(torch.randint(3, VOCAB, (2, 20)), None, packed),
        Source(torch.randint(3, VOCAB, (1, 130)), types=types),
    ]


def real(source: Source, states: Tensor) -> Tensor:
    if source.segments is not None:
        return states[source.segments >= 0]
    return states[torch.arange(source.tokens.size(1)) < source.known_lengths().unsqueeze(1)]


def test_every_family_is_either_fast_or_told_to_be_otherwise():
    assert {*SIZES, *UNKNOWN} == {*ENCODERS}


@pytest.mark.parametrize("name", SIZES)
@torch.inference_mode()
def test_fast_encoders_give_the_numbers_of_the_reference(name: str):
    plain = encoder(name, SIZES[name])
    fast, speed = accelerate(plain)
    rounded, _ = accelerate(plain, "int8")
    assert isinstance(fast, FastEncoder)
    assert (speed.share, speed.reason) == (1.0, "")
    for source in sources(name):
        expected, found, near = (real(source, each.encode(source).states) for each in (plain, fast, rounded))
        assert float((found - expected).abs().max()) < CLOSE
        assert 0 < float((near - expected).norm() / expected.norm()) < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
@torch.inference_mode()
def test_every_setting_of_every_family_gives_the_numbers_of_the_reference(name: str):
    for key, values in encoder_family(name).axes.items():
        for value in values:
            plain = encoder(name, {**SIZES[name], key: value})
            fast, _ = accelerate(plain)
            for source in sources():
                one, other = (real(source, each.encode(source).states) for each in (plain, fast))
                assert float((one - other).abs().max()) < CLOSE, (key, value)


@pytest.mark.parametrize("name", UNKNOWN)
@torch.inference_mode()
def test_other_encoders_run_as_they_are(name: str):
    plain = encoder(name, UNKNOWN[name])
    fast, speed = accelerate(plain)
    assert speed.reason
    for source in sources()[:2]:
        one, other = (each.encode(source).states for each in (plain, fast))
        assert float((one - other).abs().max()) < CLOSE


@pytest.mark.parametrize("precision", precisions())
@torch.inference_mode()
def test_neither_the_batch_nor_the_threads_change_a_bit(precision: str):
    fast, _ = accelerate(encoder("modernbert", SIZES["modernbert"]), precision)
    torch.manual_seed(2)
    tokens, lengths = torch.randint(3, VOCAB, (9, 60)), torch.tensor([60, 3, 18, 1, 44, 59, 7, 31, 60])
    try:
        alone = [fast.encode(Source(tokens[i : i + 1, : lengths[i]])).states[0] for i in range(9)]
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            together = fast.encode(Source(tokens, lengths)).states
            assert all(torch.equal(one, row[: len(one)]) for one, row in zip(alone, together, strict=True))
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", CLOSE), ("int8", 0.05)])
def test_an_embedder_gives_the_vectors_it_gave(precision: str, tolerance: float):
    plain = onehop.load(CHECKPOINTS / "BertModel")
    fast = plain.fast(precision)
    assert fast.speed.precision == precision
    assert (fast.reference, plain.reference) == (plain, plain)
    one, other = (torch.stack([found.vector for found in each.predict(TEXTS)]) for each in (plain, fast))
    assert float((one - other).abs().max()) < tolerance


@pytest.mark.parametrize("precision", precisions())
@pytest.mark.parametrize("name", ["pretrained", "hierarchical", "recurrent", "transformer"])
def test_a_classifier_gives_the_probabilities_it_gave(name: str, precision: str):
    pretrained = CHECKPOINTS / "BertForSequenceClassification"
    plain = onehop.load_classifier(pretrained) if name == "pretrained" else classifier(name)
    found = [each.predict(TEXTS) for each in (plain, plain.fast(precision))]
    for one, other in zip(*found, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=CLOSE if precision == "float32" else 0.02)


def test_predict_takes_a_precision_and_says_what_ran(tmp_path: Path):
    texts = tmp_path / "texts"
    texts.write_text("a cat sat\nthe mat\n")
    found = [command("predict", CHECKPOINTS / "BertModel", texts, "--precision", name) for name in ("float32", "int8")]
    for result, name in zip(found, ("float32", "int8"), strict=True):
        assert f"{name} on Onehop's kernels" in result.err
    one, other = ([json.loads(line)["embedding"] for line in each.out.splitlines()] for each in found)
    assert one != other
    assert one[0] == pytest.approx(other[0], abs=0.05)
    refused(command("predict", CHECKPOINTS / "BertModel", texts, "--precision", "int4"), "float32, bfloat16 or int8")
