"""The laws of training, of models that embed: texts are read apart, rows packed or not, and losses are as defined."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from onehop.data import Batch, Pair, PairStore, TrainingBatches, evaluation_batches
from onehop.data.alike import Alike
from onehop.tasks import load_package
from onehop.train.answer import Numbers as Tokens
from onehop.train.embed_loss import AlikeRows, contrastive, cosine, ranking, vectors
from onehop.train.regress import Numbers
from onehop.train.texts import counted
from tests.laws.close import assert_same, gradients
from tests.laws.packages import CHECKPOINTS

ROWS = [
    Alike(("the cat sat", "a cat"), 4.0), Alike(("the dog", "big red rug"), 1.0), Alike(("a", "the cat sat"), 2.5),
    Alike(("the dog", "a dog ran"), 5.0), Alike(("mat", "a dog ran"), 0.0), Alike(("red", "red"), 3.0),
]  # fmt: skip
TRIPLETS = [
    Alike((*row.texts, other))
    for row, other in zip(ROWS, ("a cat", "mat", "big red rug", "big", "the", "a dog ran"), strict=True)
]


@pytest.fixture(params=["BertModel", "ModernBertModel", "RobertaModel"])
def task(request: pytest.FixtureRequest) -> Any:
    made = load_package(Path(CHECKPOINTS / request.param)).task
    made.model.double().eval()
    return made


def batch(task: Any, rows: list[Alike]) -> Batch:
    encoded = AlikeRows(task.tokenizer).encode_batch(rows)
    return counted(next(evaluation_batches(encoded, [[0]] * len(rows), 1 << 40)))


def ordered(task: Any, rows: list[Alike]) -> list[Alike]:
    """Return rows in the order in which a batch has them."""
    return [rows[n] for n in batch(task, rows).pairs]


def found(task: Any, one: Batch) -> Any:
    return vectors(task, task.model, one)


@pytest.mark.parametrize("rows", [ROWS, TRIPLETS], ids=["pairs", "triplets"])
def test_every_text_has_the_vector_that_it_has_alone(task: Any, rows: list[Alike]):
    values = found(task, batch(task, rows)).values
    assert values.shape[:2] == (6, len(rows[0].texts))
    for row, own in zip(ordered(task, rows), values, strict=True):
        assert_same(own, F.normalize(task.vectors(task.encode(row.texts)).double(), dim=-1), 1e-6)  # in float32 there


@pytest.mark.parametrize("rows", [ROWS, TRIPLETS], ids=["pairs", "triplets"])
def test_packed_rows_have_the_losses_and_gradients_of_padded_ones(task: Any, rows: list[Alike]):
    store = PairStore()
    encoded = AlikeRows(task.tokenizer).encode_batch(rows)
    store.add((Pair(" ".join(map(str, row)), str(n)) for n, row in enumerate(encoded)), "rows")
    settings: dict[str, Any] = {"batch_tokens": 1_000, "max_length": 1 << 20, "long_policy": "error", "seed": 1}
    batches = TrainingBatches(store, Tokens(), Numbers(), packing=True, finish=counted, **settings)
    packed = next(batches)
    batches.close()
    assert packed.source_segments is not None
    assert packed.source_segments.max() > 1
    plain = batch(task, rows)
    one, other = found(task, packed), found(task, plain)
    places = [packed.pairs.index(number) for number in plain.pairs]
    assert_same(one.values[places], other.values)
    assert torch.equal(one.names[places], other.names)
    for loss in (lambda each: contrastive(each, 0.1), lambda each: (each.cosines**3).sum()):
        mine, theirs = loss(found(task, packed)), loss(found(task, plain))
        assert_same(mine, theirs)
        assert_same(gradients(task.model, mine), gradients(task.model, theirs), 1e-9)


def test_the_cosine_loss_of_a_batch_is_that_of_its_rows_alone(task: Any):
    rows = ordered(task, ROWS)
    wanted = torch.tensor([(row.score or 0) / 5 for row in rows], dtype=torch.float64)
    whole = cosine(found(task, batch(task, ROWS)), wanted)
    each = [cosine(found(task, batch(task, [row])), own[None]) for row, own in zip(rows, wanted, strict=True)]
    assert_same(whole, torch.stack(each).sum())
    assert_same(gradients(task.model, whole), gradients(task.model, torch.stack(each).sum()), 1e-9)


@pytest.mark.parametrize("rows", [ROWS, TRIPLETS], ids=["pairs", "triplets"])
def test_the_contrastive_loss_is_its_definition_with_what_is_right_left_out(task: Any, rows: list[Alike]):
    own = ordered(task, rows)
    values = found(task, batch(task, rows))
    total = 0.0
    for number, row in enumerate(own):
        right = {one.texts[1] for one in own if one.texts[0] == row.texts[0]}
        scores: list[float] = []
        for column in range(1, len(row.texts)):
            for place, other in enumerate(own):
                text = other.texts[column]
                if column == 1 and place == number:
                    wanted = len(scores)
                elif text == row.texts[0] or text in right:
                    continue
                scores.append(float((values.values[number, 0] @ values.values[place, column]).detach()) / 0.1)
        total += math.log(sum(map(math.exp, scores))) - scores[wanted]
    assert float(contrastive(values, 0.1).detach()) == pytest.approx(total, rel=1e-9)


def test_the_ranking_loss_is_its_definition(task: Any):
    rows = ordered(task, ROWS)
    values = found(task, batch(task, ROWS))
    scores = torch.tensor([row.score for row in rows], dtype=torch.float64)
    cosines = values.cosines.tolist()
    over = [
        math.exp((cosines[j] - cosines[i]) / 0.2) for i in range(6) for j in range(6) if scores[i] > scores[j]
    ]  # fmt: skip
    assert len(over) == 15
    assert float(ranking(values, scores, 0.2).detach()) == pytest.approx(6 * math.log1p(sum(over)), rel=1e-9)
    assert float(ranking(values, torch.ones(6), 0.2).detach()) == 0.0


def test_bfloat16_gives_nearly_the_same(task: Any):
    task.model.float()
    one = batch(task, ROWS)
    exact = contrastive(found(task, one), 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        near = contrastive(found(task, one), 0.1)
    assert near.dtype == torch.float32
    assert float(near.detach()) == pytest.approx(float(exact.detach()), rel=0.05)
