"""The kernels of attention while learning are the definition, forward and back, whatever is masked, in any batch."""

import pytest
import torch
from torch import Tensor

from onehop.nn.attention import attend, scaled_dot
from onehop.nn.attention.attend import explicit
from onehop.nn.attention.learn import KEYS, apart, attend_learning
from onehop.nn.masks import Mask

SEGMENTS = torch.tensor([[0] * 5 + [1] * 9 + [2] + [3] * 22 + [-1] * 3, [0] * 20 + [1] * 20])
MASKS = {  # made anew for each test: a mask remembers its plan, which is of the kernels' vectors
    "none": lambda: Mask(),
    "causal": lambda: Mask(causal=True),
    "lengths": lambda: Mask(lengths=torch.tensor([0, 31])),
    "causal lengths": lambda: Mask(lengths=torch.tensor([40, 3]), causal=True),
    "segments": lambda: Mask(segments=(SEGMENTS, SEGMENTS)),
    "causal segments": lambda: Mask(segments=(SEGMENTS, SEGMENTS), causal=True),
    "window": lambda: Mask(window=2),
    "bias": lambda: Mask(bias=torch.randn(1, 1, 40, 40), causal=True),
    "bias of heads": lambda: Mask(bias=torch.randn(12, 1, 40)),
    "bias of queries": lambda: Mask(bias=torch.randn(2, 1, 40, 1)),
    "one bias": lambda: Mask(bias=torch.tensor(1.5)),
}


def parts(heads: int, groups: int, widths: tuple[int, int], dtype: torch.dtype, length: int = 40) -> list[Tensor]:
    """Return queries, keys and values as one product writes them."""
    wide, value = widths
    sizes = [heads * wide, groups * wide, groups * value]
    x = torch.randn(2, length, sum(sizes), dtype=dtype)
    counts = heads, groups, groups
    return [y.unflatten(-1, (n, -1)).transpose(1, 2) for n, y in zip(counts, x.split(sizes, -1), strict=True)]


def gradients(context: Tensor, inputs: list[Tensor], grad: Tensor) -> list[Tensor]:
    return [context.detach().double(), *(x.double() for x in torch.autograd.grad(context, inputs, grad))]


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize(("heads", "groups"), [(12, 12), (12, 4), (12, 1)])
@pytest.mark.parametrize("widths", [(32, 32), (5, 7)])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 5e-6), (torch.bfloat16, 2e-2)])
def test_context_and_gradients_are_those_of_the_definition(
    form: tuple[str, ...], name: str, heads: int, groups: int, widths: tuple[int, int], dtype: torch.dtype, bound: float
):
    inputs, mask = [x.requires_grad_() for x in parts(heads, groups, widths, dtype)], MASKS[name]()
    scale = widths[0] ** -0.5
    found = attend_learning(inputs[0], inputs[1], inputs[2], scale, mask)
    assert found is not None
    assert (found.dtype, found.shape) == (dtype, (2, heads, 40, widths[1]))
    grad = torch.randn_like(found)
    exact = [x.detach().double().requires_grad_() for x in inputs]
    wide = mask if mask.bias is None else Mask(bias=mask.bias.double(), causal=mask.causal)
    expected = explicit(exact[0], exact[1], exact[2], scaled_dot(widths[0]), wide)
    for one, other in zip(gradients(found, inputs, grad), gradients(expected, exact, grad.double()), strict=True):
        assert float((one - other).abs().max()) <= bound * max(1.0, float(other.abs().max()))


def test_other_lengths_of_source_and_target_are_read_wherever_they_lie():
    q = torch.randn(3, 4, 7, 16).transpose(2, 3).contiguous().transpose(2, 3).requires_grad_()  # with gaps
    k, v = (torch.randn(3, 4, 19, 16, requires_grad=True) for _ in range(2))
    mask = Mask(lengths=torch.tensor([19, 1, 8]))
    found = attend_learning(q, k, v, 0.25, mask)
    expected = explicit(q, k, v, scaled_dot(16), mask)
    assert found is not None
    torch.testing.assert_close(found, expected)
    grad = torch.randn(1, 1, 1, 16).expand_as(found)
    for one, other in zip(
        torch.autograd.grad(found, (q, k, v), grad), torch.autograd.grad(expected, (q, k, v), grad), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_of_several_sentences_is_each_by_itself_to_the_bit(dtype: torch.dtype):
    q, k, v = (x.requires_grad_() for x in parts(2, 2, (32, 32), dtype))
    together = attend_learning(q, k, v, 0.2, Mask(segments=(SEGMENTS, SEGMENTS)))
    alone = attend_learning(*(x[:1, :, 15:37] for x in (q, k, v)), scale=0.2, mask=Mask())
    assert together is not None
    assert alone is not None
    assert torch.equal(together[:1, :, 15:37], alone)


def test_threads_change_no_bit():
    inputs = [x.requires_grad_() for x in parts(12, 4, (32, 32), torch.float32)]
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            torch.manual_seed(1)
            context = attend_learning(inputs[0], inputs[1], inputs[2], 0.2, Mask(causal=True), dropout=0.3)
            assert context is not None
            found.append([context, *torch.autograd.grad(context.sum(), inputs)])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_dropped_weights_are_dropped_on_the_way_back_too(form: tuple[str, ...]):
    """Weights are read off from values that name their key; by them the definition gives context and gradients."""
    length = 24
    q, k = (torch.randn(2, 3, length, 8, requires_grad=True) for _ in range(2))
    names = torch.eye(length).expand(2, 3, length, length).clone().requires_grad_()
    torch.manual_seed(3)
    dropped = attend_learning(q, k, names, 0.3, Mask(), dropout=0.4)
    assert dropped is not None
    weights = torch.softmax(0.3 * q @ k.mT, -1)
    kept = dropped.detach() != 0
    assert float(kept.float().mean()) == pytest.approx(0.6, abs=0.04)
    expected = weights * kept / 0.6
    torch.testing.assert_close(dropped, expected)
    grad = torch.randn_like(dropped)
    found = torch.autograd.grad(dropped, (q, k, names), grad)
    wanted = torch.autograd.grad(expected @ names, (q, k, names), grad)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_what_the_kernels_do_not_know_is_left_to_others():
    q = torch.randn(1, 2, 6, 8, requires_grad=True)
    learnt = torch.zeros(1, 2, 6, 6, requires_grad=True)
    apart_keys = torch.tensor([[0, 1, 0, 1, 0, 1]])
    for x, mask in (
        (q.double(), Mask()),
        (q, Mask(bias=learnt)),
        (q, Mask(segments=(apart_keys, apart_keys))),
        (q[:, :, :0], Mask()),
    ):
        assert attend_learning(x, x, x, 0.3, mask) is None
        torch.testing.assert_close(attend(x, x, x, scaled_dot(8), mask), explicit(x, x, x, scaled_dot(8), mask))
    assert attend_learning(q.half(), q.half(), q.half(), 0.3, Mask()) is None
    long = torch.randn(1, 1, KEYS[torch.float32] + 1, 8, requires_grad=True)
    assert attend_learning(long, long, long, 0.3, Mask()) is None
    assert attend_learning(long, long, long, 0.3, Mask(window=3)) is not None


def test_parts_of_a_row_hand_their_gradients_back_whether_they_lie_together_or_not():
    sizes = [3, 2, 4]
    for indices in ([0, 1, 2], [1], [2, 0], []):
        x = torch.randn(2, 5, 9, requires_grad=True)
        found, plain = apart(x * 1, sizes), (x * 1).split(sizes, -1)
        if not indices:
            assert not any(part.grad_fn is None for part in found)
            continue
        weights = [torch.randn(2, 5, size) for size in sizes]
        one = sum((found[i] * weights[i]).sum() for i in indices)
        other = sum((plain[i] * weights[i]).sum() for i in indices)
        assert isinstance(one, Tensor)
        assert isinstance(other, Tensor)
        torch.testing.assert_close(torch.autograd.grad(one, x), torch.autograd.grad(other, x))


def test_gradients_beside_each_other_are_not_copied():
    x = torch.randn(2, 6, 96, requires_grad=True)
    middle = x * 1
    q, k, v = (y.unflatten(-1, (2, 16)).transpose(1, 2) for y in apart(middle, [32, 32, 32]))
    context = attend_learning(q, k, v, 0.25, Mask())
    assert context is not None
    held: list[Tensor] = []
    middle.register_hook(held.append)
    gradients: list[Tensor] = []
    v.register_hook(gradients.append)
    context.sum().backward()
    assert held[0].untyped_storage().data_ptr() == gradients[0].untyped_storage().data_ptr()


def test_what_does_not_fit_together_is_left_to_torch():
    q = torch.randn(2, 4, 20, 16, requires_grad=True)
    two = Mask(lengths=torch.tensor([20, 3]))
    for k, v, mask in (
        (q[:1], q[:1], Mask()),
        (q[..., :8], q, Mask()),
        (q[:, :3], q[:, :3], Mask()),
        (q, q[:, :, :19], Mask()),
    ):
        assert attend_learning(q, k, v, 0.25, mask) is None
    assert attend_learning(q[:1], q[:1], q[:1], 0.25, two) is None
