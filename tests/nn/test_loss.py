import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from onehop.nn import cross_entropy, linear_cross_entropy, linear_r_drop
from onehop.nn.loss import ROWS, STEP


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


@pytest.mark.parametrize("rows", [1, ROWS // 2, ROWS + 3])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("alpha", [0.0, 5.0])
def test_r_drop_is_half_of_equation_4_forward_and_backward(rows: int, smoothing: float, alpha: float):
    hidden = torch.randn(rows, 2, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(7, dtype=torch.float64, requires_grad=True)
    targets, inputs = torch.randint(0, 7, (rows,)), (hidden, weight, bias)
    fused = linear_r_drop(hidden, weight, bias, targets, smoothing, alpha)
    first, second = (F.linear(hidden[:, i], weight, bias) for i in (0, 1))
    likely = cross_entropy(first, targets, smoothing) + cross_entropy(second, targets, smoothing)
    p, q = first.log_softmax(1), second.log_softmax(1)
    apart = F.kl_div(q, p, reduction="sum", log_target=True) + F.kl_div(p, q, reduction="sum", log_target=True)
    plain = (likely + alpha * apart / 2) / 2
    torch.testing.assert_close(fused, plain)
    torch.testing.assert_close(torch.autograd.grad(fused, inputs), torch.autograd.grad(plain, inputs))


def test_the_fused_loss_is_finite_where_the_target_has_no_probability_left():
    hidden = torch.tensor([[300.0]], requires_grad=True)
    found = linear_cross_entropy(hidden, torch.tensor([[1.0], [-1.0]]), None, torch.tensor([1]))
    assert float(found.detach()) == pytest.approx(600)
    assert float(torch.autograd.grad(found, hidden)[0]) == pytest.approx(2)


@pytest.mark.parametrize("rows", [1, 2 * ROWS + 6])
@pytest.mark.parametrize("vocabulary", [7, 160, 1_000])
@pytest.mark.parametrize("alpha", [None, 0.0, 5.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_in_kernels_are_those_of_float64(
    form: tuple[str, ...], rows: int, vocabulary: int, alpha: float | None, smoothing: float
):
    exact = [torch.randn(rows, 2, 32, dtype=torch.float64), torch.randn(vocabulary, 32, dtype=torch.float64)]
    exact.append(torch.randn(vocabulary, dtype=torch.float64))
    targets = torch.randint(0, vocabulary, (rows,))
    targets[0], targets[-1] = 0, vocabulary - 1

    def loss(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if alpha is None:
            return linear_cross_entropy(hidden[:, 0], weight, bias, targets, smoothing)
        return linear_r_drop(hidden, weight, bias, targets, smoothing, alpha)

    narrow = [x.float().requires_grad_() for x in exact]
    exact = [x.requires_grad_() for x in exact]
    found, expected = loss(*narrow), loss(*exact)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    for one, other in zip(torch.autograd.grad(found, narrow), torch.autograd.grad(expected, exact), strict=True):
        assert float((one.double() - other).abs().max()) <= 2e-5 * float(other.abs().max())


def test_a_row_of_no_numbers_has_a_loss_of_none(either: str):
    hidden = torch.full((3, 32), float("nan"), requires_grad=True)
    assert linear_cross_entropy(hidden, torch.randn(160, 32), None, torch.tensor([1, 2, 3])).isnan()


@pytest.mark.parametrize("alpha", [None, 5.0])
def test_under_autocast_the_fused_loss_is_that_of_float32_to_a_hundredth(either: str, alpha: float | None):
    torch.manual_seed(1)
    hidden, weight = torch.randn(300, 2, 32, requires_grad=True), (torch.randn(50, 32) / 6).requires_grad_()
    targets = torch.randint(0, 50, (300,))

    def loss() -> tuple[Tensor, tuple[Tensor, ...]]:
        if alpha is None:
            found = linear_cross_entropy(hidden[:, 0], weight, None, targets, 0.1)
        else:
            found = linear_r_drop(hidden, weight, None, targets, 0.1, alpha)
        return found.detach(), torch.autograd.grad(found, (hidden, weight))

    exact, wanted = loss()
    with torch.autocast("cpu", torch.bfloat16):
        near, found = loss()
    assert near.dtype == torch.float32
    torch.testing.assert_close(near, exact, rtol=1e-2, atol=0)
    for one, other in zip(found, wanted, strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-2


@pytest.mark.parametrize("rows", [1, STEP, STEP + 1, 2 * ROWS + 3])
@pytest.mark.parametrize("offset", [0.0, -40.0])  # the second makes every logit negative
def test_under_autocast_every_number_of_rows_has_its_gradients(either: str, rows: int, offset: float):
    torch.manual_seed(rows)
    hidden, weight = torch.randn(rows, 32, requires_grad=True), (torch.randn(50, 32) / 6).requires_grad_()
    bias, targets = torch.full((50,), offset, requires_grad=True), torch.randint(0, 50, (rows,))
    exact = cross_entropy(F.linear(hidden, weight, bias), targets, 0.1)
    wanted = torch.autograd.grad(exact, (hidden, weight, bias))
    with torch.autocast("cpu", torch.bfloat16):
        near = linear_cross_entropy(hidden, weight, bias, targets, 0.1)
    torch.testing.assert_close(near, exact, rtol=3e-2, atol=0)
    for one, other in zip(torch.autograd.grad(near, (hidden, weight, bias)), wanted, strict=True):
        assert float((one - other).norm() / other.norm()) < (1e-2 if not offset else 0.1)


@pytest.mark.parametrize("rows", [STEP, STEP + 6, 600])
@pytest.mark.parametrize("turned", [False, True])
def test_weights_of_bfloat16_have_their_gradients_wherever_the_states_stand_in_memory(
    either: str, rows: int, turned: bool
):
    torch.manual_seed(0)
    base = torch.randn(32, rows) if turned else torch.randn(rows, 32)
    weight, targets = torch.randn(50, 32) / 6, torch.randint(0, 50, (rows,))
    found: list[Tensor] = []
    for dtype in (torch.float64, torch.bfloat16):
        x = base.bfloat16().to(dtype).requires_grad_()
        loss = linear_cross_entropy(x.T if turned else x, weight.bfloat16().to(dtype), None, targets, 0.1)
        found.append(torch.autograd.grad(loss, x)[0].double())
    assert float((found[1] - found[0]).norm() / found[0].norm()) < 1e-2


@pytest.mark.parametrize("target", [-1, -100, 7])
def test_a_target_outside_of_the_vocabulary_is_an_error(either: str, target: int):
    with pytest.raises(RuntimeError, match="out of bounds"):
        linear_cross_entropy(torch.ones(2, 3), torch.ones(7, 3), None, torch.tensor([1, target]))


def test_states_that_lie_the_other_way_round_have_their_gradients(either: str):
    hidden, weight, targets = torch.randn(32, 70, requires_grad=True), torch.randn(48, 32), torch.randint(0, 48, (70,))
    fused = torch.autograd.grad(linear_cross_entropy(hidden.T, weight, None, targets, 0.1), hidden)
    plain = torch.autograd.grad(cross_entropy(hidden.T @ weight.T, targets, 0.1), hidden)
    torch.testing.assert_close(fused, plain)
