"""The laws of training, of models that answer."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from onehop.data import Batch, evaluation_batches
from onehop.data.labelled import SEPARATOR
from onehop.train.answer import counted, loss_sum
from tests.laws.close import assert_same, gradients
from tests.laws.packages import every_package

ASKED = [("the cat?", "The cat sat on the mat.", 2, 3), ("a?", "big red mat, small rug!", 0, 0), ("who", "a dog", 1, 2)]


@pytest.fixture(params=[small for small in every_package() if small.task == "answer"], ids=str)
def task(request: pytest.FixtureRequest) -> Any:
    made = request.param.make().task
    made.model.double().eval()
    return made


def batch(task: Any, asked: list[tuple[str, str, int, int]]) -> Batch:
    rows = task.encode([SEPARATOR.join(one[:2]) for one in asked])
    return counted(next(evaluation_batches(rows, [one[2:] for one in asked], 1 << 40)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_each_question_alone_over_the_begin_mark_and_the_context(task: Any, smoothing: float):
    whole = loss_sum(task, task.model, batch(task, ASKED), smoothing)
    apart = torch.stack([loss_sum(task, task.model, batch(task, [one]), smoothing) for one in ASKED]).sum()
    assert_same(whole, apart)
    assert_same(gradients(task.model, whole), gradients(task.model, apart))
    question, context, first, last = ASKED[0]
    row = task.encode([SEPARATOR.join((question, context))])[0]
    [scores] = task.scores([row])
    assert len(scores) == 1 + len(task.tokenizer.encode(context))
    ends = torch.tensor([first, last])
    expected = F.cross_entropy(scores.double().T, ends, label_smoothing=smoothing)
    assert_same(loss_sum(task, task.model, batch(task, ASKED[:1]), smoothing), expected, 1e-5)
