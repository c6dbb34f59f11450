"""Images go through the same loop, search, states, packing and records as text, in one body."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor

from onehop.decode import Rules, search, stepper
from onehop.errors import ConfigError
from onehop.lab import modalities
from onehop.lab.modalities import BODY, PATCH, VOCAB, Numbers, batches, in_turn, loss
from onehop.models.multimodal import Multimodal, build_multimodal, patches
from onehop.nn import Decoder, Encoder, Source, record_attention
from onehop.nn.masks import places
from onehop.train.loop import loop

SMALL = {**BODY, "dim": 16, "ffn_dim": 32}


@pytest.fixture
def model() -> Multimodal:
    torch.manual_seed(1)
    return build_multimodal(SMALL, VOCAB, PATCH * PATCH).eval()


@pytest.fixture
def images() -> list[Tensor]:
    return list(torch.rand(10, 3, 8, 8, generator=torch.Generator().manual_seed(2)))


@pytest.fixture
def batch(images: list[Tensor]) -> Numbers:
    return next(batches("image", images, 6, seed=5))


def hypotheses(model: Multimodal, state: Any, rows: int, beam: int) -> list[list[int]]:
    rules = Rules(beam, lambda log_prob, length: log_prob, 1, 2, (0, 1))
    return [best[0].tokens for best in search(stepper(model), state, rules, [5] * rows)]


def test_it_is_an_encoder_and_a_decoder(model: Multimodal):
    assert isinstance(model, Encoder)
    assert isinstance(model, Decoder)


def test_patches_go_down_and_then_right_so_that_padding_comes_last():
    narrow = torch.arange(1.0, 65).view(1, 8, 8)
    wide = torch.cat([narrow, torch.zeros(1, 8, 8)], 2)
    assert torch.equal(patches(wide, 4)[:, :4], patches(narrow, 4))
    assert torch.equal(patches(wide, 4)[:, 4:], torch.zeros(1, 4, 16))
    assert torch.equal(patches(narrow, 4)[0, 1].view(4, 4), narrow[0, 4:, :4])


@pytest.mark.parametrize("size", [0, 3])
def test_patches_that_do_not_cover_an_image_are_told(size: int):
    with pytest.raises(ConfigError, match="do not cover an image of 8 x 16"):
        patches(torch.zeros(1, 8, 16), size)


@pytest.mark.parametrize("shape", [(8, 24), (1, 8, 24, 3)])
def test_images_with_other_axes_are_told(shape: tuple[int, ...]):
    with pytest.raises(ConfigError, match="images of the shape"):
        patches(torch.rand(shape), 4)


def test_patches_of_another_size_than_the_models_are_told(model: Multimodal):
    with pytest.raises(ConfigError, match="patches of 4 numbers for a model that reads 16"):
        model.encode(Source.of_features(torch.zeros(1, 2, 4)))


def test_a_source_is_text_or_features():
    with pytest.raises(ValueError, match="not both"):
        Source(torch.ones(1, 2, dtype=torch.int64), features=torch.zeros(1, 2, 4))


def test_packed_images_are_padded_images(model: Multimodal, batch: Numbers):
    features, lengths = batch.source.features, batch.source.known_lengths()
    assert features is not None
    apart = model.encode(batch.source).states
    row = torch.cat([features[i, :n] for i, n in enumerate(lengths.tolist())])[None]
    segments = torch.arange(len(lengths)).repeat_interleave(lengths)[None]
    packed = model.encode(Source.of_features(row, segments=segments)).states
    torch.testing.assert_close(packed[0], apart[segments[0], places(segments)[0]], atol=1e-5, rtol=1e-5)


def test_images_of_two_batches_may_be_decoded_together(model: Multimodal, images: list[Tensor]):
    wide, narrow = islice(batches("image", images, 4, seed=8), 2)
    states = [model.start(model.encode(each.source)) for each in (wide, narrow)]
    apart = [tokens for state in states for tokens in hypotheses(model, state, 4, 1)]
    memory = model.encode(wide.source).merge(model.encode(narrow.source))
    assert hypotheses(model, model.start(memory), 8, 1) == apart


def test_a_wide_beam_finds_nothing_worse_than_greedy_search(model: Multimodal, batch: Numbers):
    memory = model.encode(batch.source)
    scores: list[list[float]] = []
    for beam in (1, 8):
        rules = Rules(beam, lambda log_prob, length: log_prob, 1, 2, (0, 1))
        scores.append([found[0].log_prob for found in search(stepper(model), model.start(memory), rules, [5] * 6)])
    assert all(wide >= greedy - 1e-5 for greedy, wide in zip(*scores, strict=True))


def test_the_cross_attention_of_an_image_is_recorded_as_that_of_text(model: Multimodal, batch: Numbers):
    with record_attention(layers=["decoder.*.cross", "encoder.*"]) as record:
        loss(model, batch)
    size = batch.source.known_lengths().max()
    assert record["decoder.1.cross"].shape == (6, 4, batch.target.size(1), size)
    assert record["encoder.0.self"].shape == (6, 4, size, size)


def test_both_kinds_of_batches_train_one_body_and_a_blank_image_changes_images_only(images: list[Tensor]):
    torch.manual_seed(1)
    model = build_multimodal(SMALL, VOCAB, PATCH * PATCH)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    stream = in_turn(*(batches(kind, images, 8, seed=1) for kind in ("image", "text")))
    updates = loop(model, loss, stream, torch.optim.AdamW(model.parameters()), lambda: 3e-3)
    losses = [update.loss for update in islice(updates, 40)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    assert not [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    model.eval()
    for kind, same in (("image", False), ("text", True)):
        batch = next(batches(kind, images, 8, seed=9))
        logits = [
            model.logits(model.decode(each.target, model.start(model.encode(each.source)))[0])
            for each in (batch, modalities.blank(batch))
        ]
        assert torch.equal(*logits) == same


def test_saved_weights_read_the_same(model: Multimodal, batch: Numbers, tmp_path: Path):
    save_model(model, str(tmp_path / "weights.safetensors"))
    other = build_multimodal(SMALL, VOCAB, PATCH * PATCH).eval()
    load_model(other, tmp_path / "weights.safetensors")
    assert torch.equal(loss(other, batch), loss(model, batch))


def test_digits_to_train_on_and_to_test_are_disjoint():
    train, test = ({image.numpy().tobytes() for each in part for image in each} for part in modalities.digit_images())
    assert len(train) > 1_400
    assert len(test) > 340
    assert not train & test
