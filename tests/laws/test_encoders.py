"""The laws of encoders that are pooled, over every family and pooling: batches, padding, packing."""

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import onehop
from onehop.models.encoders import ENCODERS, TextEncoder, build_encoder, encoder_family
from onehop.models.pooled import Pooled
from onehop.nn import Source
from onehop.nn.pooling import POOLINGS, AttentionPooling, build_pooling
from tests.fixtures.labelled import SMALL
from tests.laws.close import assert_same, gradients
from tests.laws.combinations import Row, pairwise

LENGTHS = (6, 9, 1, 5)


def rows() -> Iterator[tuple[str, Row]]:
    for family in ENCODERS:
        axes = {**encoder_family(family).axes, "pooling": POOLINGS}
        yield from ((family, row) for row in pairwise(axes))


@pytest.fixture(params=list(rows()), ids=lambda item: "-".join([item[0], *map(str, item[1].values())]))
def model(request: pytest.FixtureRequest) -> Any:
    """Return a model in float64 of which no weight is at its neutral value."""
    family, row = request.param
    own = {key: value for key, value in row.items() if key != "pooling"}
    encoder = build_encoder(family, {**SMALL[family], **own}, 40)
    pooling = build_pooling(
        row["pooling"], encoder.dim, 12, two_ways=encoder.two_ways, record=f"encoder.{encoder.unit}"
    )
    made = Pooled(encoder, pooling, nn.Linear(encoder.dim, 3)).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return made


def texts(model: Any, *lengths: int, width: int = 0) -> Source:
    """Return random texts; of two or three sentences each where the encoder reads sentences."""
    tokens = torch.zeros(len(lengths), width or max(lengths), dtype=torch.int64)
    segments = torch.full(tokens.shape, -1)
    draw = random.Random(1)
    for row, length in enumerate(lengths):
        tokens[row, :length] = torch.randint(3, 40, (length,))
        number = 0
        for place in range(length):
            number += place > 0 and draw.random() < 0.4
            segments[row, place] = number
    return Source(tokens, torch.tensor(lengths), segments if model.encoder.unit == "sentences" else None)


def alone(source: Source, row: int) -> Source:
    assert source.lengths is not None
    length = int(source.lengths[row])
    segments = None if source.segments is None else source.segments[row : row + 1, :length]
    return Source(source.tokens[row : row + 1, :length], source.lengths[row : row + 1], segments)


def test_every_encoder_has_a_small_one_and_says_what_it_is():
    assert set(SMALL) == set(ENCODERS)
    for family in ENCODERS:
        made = build_encoder(family, SMALL[family], 40)
        assert isinstance(made, TextEncoder)
        assert made.unit == encoder_family(family).unit


def test_a_text_alone_is_read_as_in_a_padded_batch(model: Any):
    source = texts(model, *LENGTHS)
    together = model(source)
    for row in range(len(LENGTHS)):
        assert_same(together[row : row + 1], model(alone(source, row)))


def test_what_stands_in_the_padding_and_how_much_there_is_changes_nothing(model: Any):
    source = texts(model, *LENGTHS)
    wide = replace(source, tokens=torch.nn.functional.pad(source.tokens, [0, 4], value=7))
    if source.segments is not None:
        wide = replace(wide, segments=torch.nn.functional.pad(source.segments, [0, 4], value=-1))
    assert_same(model(wide), model(source))


def test_padding_weighs_nothing_and_what_is_read_weighs_one(model: Any):
    source = texts(model, *LENGTHS)
    together = recorded(model, source)
    expected = {"encoder.words"} if isinstance(model.pooling, AttentionPooling) else set[str]()
    if model.encoder.unit == "sentences":
        expected = {"encoder.words", "encoder.sentences"} if expected else {"encoder.words"}
    assert set(together) == expected
    for row in range(len(LENGTHS)):
        for name, single in recorded(model, alone(source, row)).items():
            here, queries, keys = together[name][row, 0], *single.shape[2:]
            assert_same(here[:queries, :keys], single[0, 0])
            assert not here[queries:].any()
            assert not here[:, keys:].any()
            assert_same(single.sum(-1), torch.ones_like(single.sum(-1)))


def recorded(model: Any, source: Source) -> dict[str, Tensor]:
    """Return the weights of words and sentences, if there are any."""
    with suppress(LookupError), onehop.record_attention(layers=["encoder.words", "encoder.sentences"]) as record:
        model(source)
    return {name: record[name] for name in record}


def test_a_padded_batch_has_the_summed_gradients_of_its_texts(model: Any):
    source = texts(model, *LENGTHS)
    apart = [model(alone(source, row)).square().sum() for row in range(len(LENGTHS))]
    together = model(source).square().sum()
    assert_same(gradients(model, together), gradients(model, torch.stack(apart).sum()))


def test_packed_is_padded(model: Any):
    if model.encoder.unit == "sentences":  # its segments are sentences; training refuses to pack, as its test shows
        assert encoder_family("hierarchical").unit == "sentences"
        return
    source = texts(model, *LENGTHS)
    lengths = [*LENGTHS]
    tokens = torch.cat([source.tokens[row, :length] for row, length in enumerate(lengths)])
    segments = torch.repeat_interleave(torch.arange(4), torch.tensor(lengths))
    packed = Source(
        torch.cat(
            [tokens[:15], torch.zeros(1, dtype=torch.int64), tokens[15:], torch.zeros(10, dtype=torch.int64)]
        ).view(2, 16),
        None,
        torch.cat([segments[:15], torch.tensor([-1]), segments[15:] - 2, torch.full((10,), -1)]).view(2, 16),
    )
    assert_same(model(packed), model(source))


def test_nothing_at_all_is_zeros_before_the_head(model: Any):
    source = texts(model, 3, 1)
    assert source.lengths is not None
    segments = None if source.segments is None else source.segments.clone()
    if segments is not None:
        segments[1] = -1
    found = model.pool(Source(source.tokens, torch.tensor([3, 0]), segments))
    assert not found[1].any()
    assert found.isfinite().all()
