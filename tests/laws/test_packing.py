import random
from typing import Any

import torch
from torch import Tensor

from onehop.data import Pair, PairStore, TrainingBatches, evaluation_batches
from onehop.nn import Source
from onehop.tasks.translation_loss import loss_sum
from tests.laws.cases import Case, alone, sources
from tests.laws.close import assert_same, gradients

SHAPES = True
SOURCES, TARGETS = (5, 3, 4, 1), (2, 4, 3, 6)
ROWS = ((0, 1), (2, 3))  # which pairs stand in one row


def packed(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Put the pairs of each row behind each other: tokens and segments."""
    width = max(sum(len(parts[i]) for i in row) for row in ROWS) + 1
    tokens = torch.zeros(len(ROWS), width, dtype=torch.int64)
    segments = torch.full((len(ROWS), width), -1)
    for r, row in enumerate(ROWS):
        at = 0
        for number, i in enumerate(row):
            tokens[r, at : at + len(parts[i])] = parts[i]
            segments[r, at : at + len(parts[i])] = number
            at += len(parts[i])
    return tokens, segments


def real(states: Tensor, segments: Tensor) -> list[Tensor]:
    """Take the pairs apart again."""
    return [states[r][segments[r] == number] for r, row in enumerate(ROWS) for number in range(len(row))]


def pairs(case: Case) -> tuple[Source, list[Tensor], list[Tensor]]:
    source = sources(*SOURCES)
    targets = case.targets(4, max(TARGETS))
    return source, [alone(source, i).tokens[0] for i in range(4)], [targets[i, :n] for i, n in enumerate(TARGETS)]


def decode_packed(model: Any, parts: list[Tensor], targets: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    tokens, segments = packed(parts)
    memory = model.encode(Source(tokens, segments=segments))
    target, target_segments = packed(targets)
    hidden, _ = model.decode(target, model.start(memory), segments=target_segments)
    return real(memory.states, segments), real(hidden, target_segments)


def decode_padded(model: Any, source: Source, targets: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    memory = model.encode(source)
    padded = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True)
    hidden, _ = model.decode(padded, model.start(memory))
    return [memory.states[i, :n] for i, n in enumerate(SOURCES)], [hidden[i, :n] for i, n in enumerate(TARGETS)]


def test_packed_is_padded_forward_and_backward(case: Case):
    model = case.model()
    source, parts, targets = pairs(case)
    found, expected = decode_packed(model, parts, targets), decode_padded(model, source, targets)
    assert_same(found, expected)
    weights = [torch.randn_like(x) for x in expected[1]]
    losses = [
        torch.stack([(w * x).sum() for w, x in zip(weights, hidden, strict=True)]).sum()
        for hidden in (found[1], expected[1])
    ]
    assert_same(gradients(model, losses[0]), gradients(model, losses[1]))


def test_other_sentences_of_a_packed_row_change_nothing(case: Case):
    model = case.model()
    _, parts, targets = pairs(case)
    before = decode_packed(model, parts, targets)
    parts[1], targets[1] = parts[1].flip(0) * 0 + 5, targets[1] * 0 + 6
    after = decode_packed(model, parts, targets)
    for i in (0, 2, 3):
        assert torch.equal(before[0][i], after[0][i])
        assert torch.equal(before[1][i], after[1][i])
    assert not torch.equal(before[1][1], after[1][1])


def test_padding_of_a_packed_row_gives_finite_gradients(case: Case):
    model = case.model()
    _, parts, targets = pairs(case)
    tokens, segments = packed(parts)
    memory = model.encode(Source(tokens, segments=segments))
    target, target_segments = packed(targets)
    hidden, _ = model.decode(target, model.start(memory), segments=target_segments)
    assert hidden.isfinite().all()
    assert all(grad.isfinite().all() for grad in gradients(model, hidden.square().sum()).values())


class Numbers:
    def encode_batch(self, texts):
        return [[int(number) for number in text.split()] for text in texts]


def test_the_loss_of_a_packed_batch_is_that_of_its_pairs_padded(case: Case):
    """From the text on: the layout of rows, the begin mark of each segment, and what counts as padding."""
    draw, store = random.Random(1), PairStore()
    store.add([Pair(numbers(draw), numbers(draw)) for _ in range(30)], "numbers")
    settings = {"max_length": 20, "long_policy": "error", "seed": 1, "packing": True}
    batch = next(TrainingBatches(store, Numbers(), Numbers(), batch_tokens=130, **settings))
    rows = batch.source_segments
    assert rows is not None
    assert int(rows.max()) > 1 < len(rows) < len(batch.pairs), "several rows of several pairs"
    chosen = [list(store)[number] for number in batch.pairs]
    sides = (Numbers().encode_batch([pair[side] for pair in chosen]) for side in (0, 1))
    model = case.model()
    padded = next(evaluation_batches(*sides, batch_tokens=1_000))
    for smoothing, r_drop in ((0.0, 0.0), (0.1, 0.0), (0.1, 0.7)):
        one, other = (loss_sum(model, pairs, smoothing, r_drop) for pairs in (batch, padded))
        assert_same(one, other)
        assert_same(gradients(model, one), gradients(model, other))


def numbers(draw: random.Random) -> str:
    return " ".join(str(draw.randrange(3, 11)) for _ in range(draw.randint(1, 6)))
