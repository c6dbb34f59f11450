"""Linear maps in kernels are torch's, forward and back."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from onehop.nn.attention import attend, scaled_dot
from onehop.nn.dropout import dropout
from onehop.nn.linear import FEWEST, linear, mapped, products
from onehop.nn.loss import linear_cross_entropy
from onehop.nn.masks import Mask


@pytest.mark.parametrize("rows", [(FEWEST,), (3, 67), (1, 1_000)])
@pytest.mark.parametrize(("inputs", "outputs"), [(16, 16), (128, 384), (384, 128), (1_040, 48), (48, 1_040)])
@pytest.mark.parametrize("bias", [True, False])
def test_outputs_and_gradients_are_those_of_float64(
    form: tuple[str, ...], rows: tuple[int, ...], inputs: int, outputs: int, bias: bool
):
    x, weight = torch.randn(*rows, inputs, requires_grad=True), torch.randn(outputs, inputs, requires_grad=True)
    leaves = [x, weight, *([torch.randn(outputs, requires_grad=True)] if bias else [])]
    assert products(x, weight)
    found = linear(*leaves)
    grad = torch.randn_like(found)
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    expected = F.linear(*exact)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5 * inputs**0.5)
    pairs = zip(
        torch.autograd.grad(found, leaves, grad), torch.autograd.grad(expected, exact, grad.double()), strict=True
    )
    for one, other in pairs:
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_threads_change_no_bit():
    x, weight = torch.randn(777, 64, requires_grad=True), torch.randn(96, 64, requires_grad=True)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            out = linear(x, weight)
            found.append([out, *torch.autograd.grad(out.square().sum(), (x, weight))])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_only_what_learns_is_given_a_gradient():
    module, x = nn.Linear(32, 16).requires_grad_(False), torch.randn(FEWEST, 32, requires_grad=True)
    mapped(module, x).sum().backward()
    assert x.grad is not None
    assert module.weight.grad is None
    module, x = nn.Linear(32, 16), torch.randn(FEWEST, 32)
    mapped(module, x).sum().backward()
    assert module.weight.grad is not None
    assert module.bias.grad is not None


def test_what_lies_with_gaps_is_read_as_it_is():
    x = torch.randn(32, 100, requires_grad=True).T  # (100, 32)
    weight = torch.randn(32, 16, requires_grad=True).T
    found = linear(x, weight)
    torch.testing.assert_close(found, F.linear(x, weight))
    grad = torch.ones(1, 1).expand_as(found)
    for one, other in zip(
        torch.autograd.grad(found, (x, weight), grad),
        torch.autograd.grad(F.linear(x, weight), (x, weight), grad),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_a_module_that_is_more_than_its_weight_is_asked_itself():
    class Doubled(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    module, x = Doubled(16, 16), torch.randn(FEWEST, 16)
    torch.testing.assert_close(mapped(module, x), 2 * F.linear(x, module.weight, module.bias))
    seen: list[torch.Tensor] = []
    hooked = nn.Linear(16, 16)
    hooked.register_forward_hook(lambda module, inputs, output: seen.append(output))
    mapped(hooked, x)
    assert len(seen) == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_and_autocast_are_left_to_torch(dtype: torch.dtype):
    x, weight = torch.randn(FEWEST, 16, dtype=dtype), torch.randn(16, 16, dtype=dtype, requires_grad=True)
    assert linear(x, weight).dtype == dtype
    assert not products(x, weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(x.float(), weight.float()).dtype == torch.bfloat16


def test_what_does_not_fit_together_is_torchs_error():
    x, weight = torch.randn(FEWEST, 32, requires_grad=True), torch.randn(16, 48)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        linear(x, weight)
    with pytest.raises(RuntimeError):
        linear(x, torch.randn(16, 32), torch.randn(16, dtype=torch.float64))
    assert not products(x, torch.randn(16, 32, device="meta"))
    torch.testing.assert_close(linear(x, x[:16], torch.ones(1)), F.linear(x, x[:16], torch.ones(1)))


def test_a_gradient_has_a_gradient():
    x, weight = torch.randn(FEWEST, 32, requires_grad=True), torch.randn(16, 32, requires_grad=True)

    def penalty(out: torch.Tensor) -> tuple[torch.Tensor, ...]:
        [slope] = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), (x, weight))

    for one, other in zip(penalty(linear(x, weight)), penalty(F.linear(x, weight)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


def test_whoever_watches_or_replaces_a_module_is_asked():
    seen: list[str] = []
    module, x = nn.Linear(16, 16), torch.randn(FEWEST, 16, requires_grad=True)
    module.register_full_backward_pre_hook(lambda module, grad: seen.append("back"))
    mapped(module, x).sum().backward()
    module = nn.Linear(16, 16)
    module.forward = lambda input: (seen.append("replaced"), input)[1]  # type: ignore[method-assign]
    mapped(module, x).sum().backward()
    assert seen == ["back", "replaced"]


def test_whoever_counts_operations_sees_all_of_them():
    x, weight = torch.randn(FEWEST, 32, requires_grad=True), torch.randn(16, 32, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        linear(x, weight).sum().backward()
    assert counter.get_total_flops() == 3 * 2 * FEWEST * 32 * 16


def test_whoever_begins_to_count_on_the_way_back_breaks_nothing():
    q, x = torch.randn(1, 2, 20, 16, requires_grad=True), torch.randn(FEWEST, 32, requires_grad=True)
    outputs = [
        linear(x, torch.randn(16, 32)),
        dropout(x, 0.5),
        attend(q, q, q, scaled_dot(16), Mask()),
        linear_cross_entropy(x, torch.randn(48, 32), None, torch.zeros(FEWEST, dtype=torch.int64)),
    ]
    with FlopCounterMode(display=False):
        for out in outputs:
            out.sum().backward()
    assert x.grad is not None
    assert q.grad is not None
