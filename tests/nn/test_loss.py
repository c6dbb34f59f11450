import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from onehop.nn import cross_entropy, linear_cross_entropy
from onehop.nn.loss import ROWS


def test_the_loss_is_the_sum_of_negative_log_probabilities_in_nats():
    logits, targets = torch.randn(5, 7, dtype=torch.float64), torch.tensor([0, 6, 3, 3, 1])
    expected = -sum(math.log(float(row.exp()[t] / row.exp().sum())) for row, t in zip(logits, targets, strict=True))
    assert float(cross_entropy(logits, targets)) == pytest.approx(expected)
    assert float(cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]))) == pytest.approx(2 * math.log(4))


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_the_smoothed_loss_is_the_divergence_from_the_smoothed_target_and_its_entropy(smoothing: float):
    logits, targets = torch.randn(5, 7, dtype=torch.float64), torch.tensor([0, 6, 3, 3, 1])
    smoothed = torch.full((5, 7), smoothing / 7, dtype=torch.float64)
    smoothed[torch.arange(5), targets] += 1 - smoothing
    divergence = F.kl_div(logits.log_softmax(1), smoothed, reduction="sum")
    entropy = -(smoothed * smoothed.log()).sum()
    torch.testing.assert_close(cross_entropy(logits, targets, smoothing), divergence + entropy)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradients_are_those_of_finite_differences(smoothing: float):
    logits, targets = torch.randn(4, 6, dtype=torch.float64, requires_grad=True), torch.tensor([0, 5, 2, 2])
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, targets, smoothing), (logits,))


def test_no_targets_cost_nothing():
    none = torch.zeros(0, dtype=torch.int64)
    assert float(cross_entropy(torch.zeros(0, 4), none)) == 0
    assert float(linear_cross_entropy(torch.zeros(0, 3), torch.ones(4, 3), None, none)) == 0


def both(rows: int, smoothing: float, bias: bool, factor: float = 1.0) -> Any:
    """Return loss and gradients of the fused and of the plain way."""
    hidden = torch.randn(rows, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    offset = torch.randn(7, dtype=torch.float64, requires_grad=True) if bias else None
    targets, inputs = torch.randint(0, 7, (rows,)), [x for x in (hidden, weight, offset) if x is not None]
    fused = linear_cross_entropy(hidden, weight, offset, targets, smoothing) * factor
    plain = cross_entropy(F.linear(hidden, weight, offset), targets, smoothing) * factor
    return (fused, torch.autograd.grad(fused, inputs)), (plain, torch.autograd.grad(plain, inputs))


@pytest.mark.parametrize("rows", [1, ROWS - 1, ROWS, 2 * ROWS + 3])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("bias", [False, True])
def test_the_fused_loss_is_the_plain_one_forward_and_backward(rows: int, smoothing: float, bias: bool):
    torch.testing.assert_close(*both(rows, smoothing, bias))


def test_the_fused_loss_scales_its_gradient_with_what_follows():
    torch.testing.assert_close(*both(9, 0.1, True, factor=-0.25))


def test_the_fused_loss_needs_no_gradient():
    hidden, weight, targets = torch.randn(9, 5), torch.randn(7, 5), torch.randint(0, 7, (9,))
    with torch.no_grad():
        found: Tensor = linear_cross_entropy(hidden, weight, None, targets)
    torch.testing.assert_close(found, cross_entropy(hidden @ weight.T, targets))
    assert not found.requires_grad
