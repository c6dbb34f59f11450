"""The laws of training, of models that choose."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from onehop.data import Batch, evaluation_batches
from onehop.data.labelled import SEPARATOR
from onehop.train.choosing import loss_sum
from onehop.train.texts import counted
from tests.laws.close import assert_same, gradients
from tests.laws.packages import CHECKPOINTS, chooser

ASKED = [
    ("the cat", ("sat", "ran", "the mat"), 2),
    ("a dog ran", ("big red mat", "small rug!"), 0),
    ("a", ("b", "c"), 1),
]


@pytest.fixture(params=["BertModel", "ModernBertModel"])
def task(request: pytest.FixtureRequest) -> Any:
    made = chooser(Path(CHECKPOINTS / request.param)).task
    made.model.double().eval()
    return made


def batch(task: Any, asked: list[tuple[str, tuple[str, ...], int]]) -> Batch:
    rows = task.documents.encode_batch([SEPARATOR.join((context, *options)) for context, options, _ in asked])
    return counted(next(evaluation_batches(rows, [[right] for *_, right in asked], 1 << 40)))


def test_the_loss_is_that_of_each_choice_alone_over_its_own_options(task: Any):
    whole = loss_sum(task, task.model, batch(task, ASKED))
    apart = torch.stack([loss_sum(task, task.model, batch(task, [one])) for one in ASKED]).sum()
    assert_same(whole, apart)
    assert_same(gradients(task.model, whole), gradients(task.model, apart))
    context, options, right = ASKED[0]
    frame = task.documents.frame
    rows = frame.encode_batch([SEPARATOR.join((context, option)) for option in options])
    alone = [task.model(frame.source(torch.tensor([[*row, 2]]), torch.tensor([len(row) + 1]))) for row in rows]
    expected = F.cross_entropy(torch.cat(alone).T, torch.tensor([right]))
    assert_same(loss_sum(task, task.model, batch(task, ASKED[:1])), expected)


def test_options_in_another_order_have_the_same_loss(task: Any):
    context, options, right = ASKED[0]
    turned = (context, options[::-1], len(options) - 1 - right)
    one, other = (loss_sum(task, task.model, batch(task, [each])) for each in (ASKED[0], turned))
    assert_same(one, other)
