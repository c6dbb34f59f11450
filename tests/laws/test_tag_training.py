"""The laws of training, of taggers of every family of encoders with a state for each word."""

import copy
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from onehop.data import Batch, Pair, PairStore, TrainingBatches, evaluation_batches
from onehop.tasks.wordwise import joined_words
from onehop.train.loop import loop
from onehop.train.optimizer import adamw
from onehop.train.tag import counted, loss_sum
from onehop.train.tag_data import TagIds
from tests.fixtures.tagged import LABELS, meetings, tagger
from tests.laws.close import assert_same, gradients
from tests.laws.packages import WORDWISE

ROWS = [(joined_words(words), joined_words(labels)) for words, labels in meetings(8, seed=4)]


@pytest.fixture(params=[(family, crf) for family in WORDWISE for crf in (False, True)], ids=str)
def task(request: pytest.FixtureRequest) -> Any:
    """Return a tagger in float64, with a CRF and without."""
    made = tagger(request.param[0], crf=request.param[1])
    made.model.double().eval()
    return made


def batch(task: Any, rows: list[tuple[str, str]]) -> Batch:
    """Return one padded batch of sentences."""
    labels = TagIds(LABELS).encode_batch([label for _, label in rows])
    return counted(next(evaluation_batches(task.documents.encode_batch([text for text, _ in rows]), labels, 1 << 40)))


def test_the_loss_is_the_negative_log_likelihood_of_each_sentence_alone(task: Any):
    whole = loss_sum(task, task.model, batch(task, ROWS))
    apart = torch.stack([loss_sum(task, task.model, batch(task, [row])) for row in ROWS]).sum()
    assert_same(whole, apart)
    assert_same(gradients(task.model, whole), gradients(task.model, apart))
    row = torch.tensor([[*task.documents.encode_batch([ROWS[0][0]])[0], 2]])
    logits = task.model(*task.documents.source(row, torch.tensor([row.size(1)])))
    target = torch.tensor(TagIds(LABELS).encode_batch([ROWS[0][1]])[0])
    one = loss_sum(task, task.model, batch(task, ROWS[:1]))
    if task.model.crf:
        assert_same(one, -task.model.crf.log_likelihood(logits[None], target[None], torch.tensor([len(target)]))[0])
    else:
        assert_same(one, F.cross_entropy(logits, target, reduction="sum"))


def test_the_loss_of_a_packed_batch_is_that_of_its_sentences_padded(task: Any):
    store = PairStore()
    store.add([Pair(*row) for row in ROWS], "meetings")
    settings = {"batch_tokens": 1_000, "max_length": 40, "long_policy": "error", "seed": 1}
    batches = TrainingBatches(
        store, task.documents, TagIds(LABELS), packing=True, finish=counted, **settings
    )  # fmt: skip
    packed = next(batches)
    batches.close()
    assert packed.source_segments is not None
    assert packed.source_segments.max() > 0
    one, other = (loss_sum(task, task.model, each) for each in (packed, batch(task, ROWS)))
    assert packed.num_targets == sum(len(labels) for _, labels in meetings(8, seed=4))
    assert_same(one, other)
    assert_same(gradients(task.model, one), gradients(task.model, other))


def test_small_batches_accumulated_are_one_big_batch(task: Any):
    def trained(batches: list[Batch], accumulate: int) -> dict[str, torch.Tensor]:
        model = copy.deepcopy(task.model)
        optimizer = adamw(model, weight_decay=0.1, betas=(0.9, 0.98), epsilon=1e-9)
        steps = loop(
            model, lambda model, each: loss_sum(task, model, each), iter(batches), optimizer, lambda: 1e-2,
            accumulate=accumulate,
        )  # fmt: skip
        list(steps)
        return dict(model.named_parameters())

    assert_same(trained([batch(task, ROWS[:2]), batch(task, ROWS[2:])], 2), trained([batch(task, ROWS)], 1), 1e-6)
