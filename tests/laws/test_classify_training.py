"""The laws of training, of classifiers of every family of encoders: accumulating, packing, saving time and memory."""

import copy
from functools import partial
from typing import Any

import pytest
import torch

from onehop.data import Batch, Pair, PairStore, TrainingBatches, evaluation_batches
from onehop.models.encoders import ENCODERS, encoder_family
from onehop.nn import cross_entropy
from onehop.train.classify import loss_sum
from onehop.train.labels import LabelIds
from onehop.train.loop import loop
from onehop.train.multilabel import LabelSetIds
from onehop.train.multilabel import loss_sum as sets_loss
from onehop.train.optimizer import adamw
from onehop.train.recompute import recompute
from onehop.train.regress import Numbers
from onehop.train.regress import loss_sum as regress_loss
from onehop.train.texts import counted
from tests.fixtures.labelled import classifier, multilabeller, regressor, reviews
from tests.laws.cases import entries
from tests.laws.close import assert_same, gradients
from tests.laws.packages import WORDWISE

TRAINED = {
    "translation": entries,
    "classify": lambda: list(ENCODERS),
    "tag": lambda: WORDWISE,
    "answer": lambda: ["bert"],
    "choose": lambda: ["bert"],
    "mlm": lambda: ["bert"],
    "multilabel": lambda: ["recurrent", "bert"],
    "regress": lambda: ["recurrent", "bert"],
    "embed": lambda: ["bert", "modernbert", "roberta"],
}  # the families that training is tested over
FAMILIES = TRAINED["classify"]()
ROWS = reviews(12, seed=4)


@pytest.fixture(params=FAMILIES)
def task(request: pytest.FixtureRequest) -> Any:
    """Return a classifier in float64."""
    made = classifier(request.param)
    made.model.double().eval()
    return made


def batch(task: Any, rows: list[tuple[str, str]]) -> Batch:
    """Return one padded batch of labelled texts."""
    labels = LabelIds(task.labels, {}, "").encode_batch([label for _, label in rows])
    texts = task.documents.encode_batch([text for text, _ in rows])
    return counted(next(evaluation_batches(texts, labels, 1 << 40)))


def trained(task: Any, batches: list[Batch], accumulate: int) -> dict[str, torch.Tensor]:
    model = copy.deepcopy(task.model)
    optimizer = adamw(model, weight_decay=0.1, betas=(0.9, 0.98), epsilon=1e-9)

    def loss(model: Any, batch: Batch) -> torch.Tensor:
        return loss_sum(task, model, batch, 0.1)

    updates = list(loop(model, loss, iter(batches), optimizer, lambda: 1e-2, accumulate=accumulate))
    assert [update.num_targets for update in updates] == [6, 6]
    return dict(model.named_parameters())


def test_small_batches_accumulated_are_one_big_batch(task: Any):
    apart = trained(
        task, [batch(task, ROWS[:2]), batch(task, ROWS[2:6]), batch(task, ROWS[6:7]), batch(task, ROWS[7:])], 2
    )
    together = trained(task, [batch(task, ROWS[:6]), batch(task, ROWS[6:])], 1)
    assert_same(apart, together, 1e-6)
    assert any((together[name] - value).abs().max() > 1e-3 for name, value in task.model.named_parameters())


def test_the_loss_is_the_cross_entropy_of_each_text_alone(task: Any):
    whole = loss_sum(task, task.model, batch(task, ROWS), 0.1)
    apart = torch.stack([loss_sum(task, task.model, batch(task, [row]), 0.1) for row in ROWS]).sum()
    assert_same(whole, apart)
    assert_same(gradients(task.model, whole), gradients(task.model, apart))
    texts = task.documents.encode_batch([ROWS[0][0]])[0]
    logits = task.model(task.source(torch.tensor([[*texts, 2]]), torch.tensor([len(texts) + 1])))
    target = torch.tensor([task.labels.index(ROWS[0][1])])
    assert_same(loss_sum(task, task.model, batch(task, ROWS[:1]), 0.1), cross_entropy(logits, target, 0.1).sum())


@pytest.mark.parametrize("family", [name for name in FAMILIES if encoder_family(name).unit == "words"])
def test_the_loss_of_a_packed_batch_is_that_of_its_texts_padded(family: str):
    task = classifier(family)
    task.model.double().eval()
    store = PairStore()
    store.add([Pair(text, label) for text, label in ROWS], "reviews")
    settings = {"batch_tokens": 1_000, "max_length": 40, "long_policy": "error", "seed": 1}
    batches = TrainingBatches(
        store, task.documents, LabelIds(task.labels, {}, ""), packing=True, finish=counted, **settings
    )  # fmt: skip
    packed = next(batches)
    batches.close()
    assert packed.source_segments is not None
    assert packed.source_segments.max() > 0
    one, other = (loss_sum(task, task.model, each, 0.1) for each in (packed, batch(task, ROWS)))
    assert packed.num_targets == len(ROWS)
    assert_same(one, other)
    assert_same(gradients(task.model, one), gradients(task.model, other))


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_computed_again_give_the_same_bits(family: str):
    made = classifier(family, dropout=0.3)
    models = [made.model.train(), copy.deepcopy(made.model).train()]
    blocks = recompute(models[1])
    found: list[Any] = []
    for model in models:
        torch.manual_seed(7)
        loss = loss_sum(made, model, batch(made, ROWS), 0.1)
        found.append((loss.detach(), gradients(model, loss)))
    assert blocks or family != "transformer"  # the one that a recipe may ask it of
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(found[0][1][name], found[1][1][name]) for name in found[0][1])


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_gives_the_loss_to_a_fiftieth_and_the_gradient_to_a_quarter(family: str):
    made = classifier(family)
    rows = batch(made, ROWS)
    loss = partial(loss_sum, made, made.model, rows, 0.1)
    exact = loss()
    wanted = torch.cat([g.flatten() for g in gradients(made.model, exact).values()])
    with torch.autocast("cpu", torch.bfloat16):
        near = loss()
    found = torch.cat([g.flatten() for g in gradients(made.model, near).values()])
    assert near.dtype == found.dtype == torch.float32
    assert abs(float((near / exact).detach()) - 1) < 2e-2
    assert float((found - wanted).norm() / wanted.norm()) < 0.25


@pytest.mark.parametrize("family", TRAINED["regress"]())
def test_numbers_are_learnt_alike_from_small_batches_and_big_ones(family: str):
    made = regressor(family)
    made.model.double().eval()
    made.settings = made.settings.model_copy(update={"mean": 1.0, "deviation": 0.5})
    texts = made.documents.encode_batch([text for text, _ in ROWS])
    targets = Numbers().encode_batch([str(number % 5) for number in range(len(ROWS))])

    def grad(parts: list[slice]) -> dict[str, torch.Tensor]:
        batches = [counted(next(evaluation_batches(texts[part], targets[part], 1 << 40))) for part in parts]
        return gradients(made.model, torch.stack([regress_loss(made, made.model, one) for one in batches]).sum())

    assert_same(grad([slice(0, 3), slice(3, 12)]), grad([slice(0, 12)]), 1e-5)


@pytest.mark.parametrize("family", TRAINED["multilabel"]())
def test_sets_of_labels_are_learnt_alike_alone_in_batches_and_packed(family: str):
    made = multilabeller(family)
    made.model.double().eval()
    sets = ['["bad"]', "[]", '["bad", "neither"]', '["bad", "good", "neither"]']
    rows = [Pair(text, sets[number % 4]) for number, (text, _) in enumerate(ROWS)]
    ids = LabelSetIds(made.labels, {})
    texts = made.documents.encode_batch([row.source for row in rows])
    targets = ids.encode_batch([row.target for row in rows])

    def grad(batches: list[Batch]) -> dict[str, torch.Tensor]:
        return gradients(made.model, torch.stack([sets_loss(made, made.model, one, 0.1) for one in batches]).sum())

    alone = [counted(next(evaluation_batches([one], [two], 1 << 40))) for one, two in zip(texts, targets, strict=True)]
    together = grad([counted(next(evaluation_batches(texts, targets, 1 << 40)))])
    assert_same(grad(alone), together, 1e-5)
    store = PairStore()
    store.add(rows, "sets")
    packing: Any = {"packing": True, "finish": counted}
    batches = TrainingBatches(
        store, made.documents, ids, batch_tokens=1_000, max_length=40, long_policy="error", seed=1, **packing
    )
    packed = next(batches)
    batches.close()
    assert packed.source_segments is not None
    assert packed.num_targets == len(rows)
    assert_same(grad([packed]), together, 1e-5)
