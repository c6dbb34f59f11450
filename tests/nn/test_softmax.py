import pytest
import torch
from torch import Tensor

from onehop.nn.softmax import LANES, softmax

SIZES = [1, 2, LANES - 1, LANES, LANES + 1, 2 * LANES - 1, 2 * LANES, 5 * LANES + 3]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_it_is_torchs_in_every_precision_forward_and_backward(size: int, dtype: torch.dtype):
    torch.manual_seed(size)
    x, grad = (4 * torch.randn(3, 5, size).to(dtype)).requires_grad_(), torch.randn(3, 5, size).to(dtype)
    exact = x.detach().double().requires_grad_()
    found, wanted = softmax(x), exact.softmax(-1)
    assert found.dtype == dtype
    near = torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), wanted, rtol=3 * near, atol=3 * near)
    (one,), (other,) = torch.autograd.grad(found, x, grad), torch.autograd.grad(wanted, exact, grad.double())
    torch.testing.assert_close(one.double(), other, rtol=0, atol=8 * near)


@pytest.mark.parametrize("size", [3, LANES + 1])
def test_its_gradient_can_be_differentiated(size: int):
    x = torch.randn(2, size, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(softmax, x)
    assert torch.autograd.gradgradcheck(softmax, x)


@pytest.mark.parametrize("size", [3, LANES + 1, 2 * LANES])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_may_not_be_read_has_no_weight_and_large_scores_stay_finite(size: int, dtype: torch.dtype):
    x: Tensor = torch.full((2, size), 3e4, dtype=dtype)
    x[0, 0], x[1] = torch.finfo(dtype).min, torch.finfo(dtype).min
    x.requires_grad_()
    found = softmax(x)
    assert found[0, 0] == 0
    torch.testing.assert_close(found[1].float(), torch.full((size,), 1 / size), rtol=1e-2, atol=0)
    assert torch.autograd.grad(found[:, 1].sum(), x)[0].isfinite().all()


def test_rows_of_nothing_and_rows_in_any_order_of_memory():
    assert softmax(torch.zeros(2, 0)).shape == (2, 0)
    assert softmax(torch.zeros(0, 3)).shape == (0, 3)
    x = torch.randn(3, 4, 5).transpose(1, 2)
    torch.testing.assert_close(softmax(x), x.softmax(-1))
    torch.testing.assert_close(softmax(torch.ones(2, 1).expand(2, 3)), torch.full((2, 3), 1 / 3))


def test_what_has_no_fractions_or_no_axis_is_as_torch_has_it():
    assert softmax(torch.tensor(3.0)) == 1
    for dtype in (torch.bool, torch.int8):
        with pytest.raises(RuntimeError, match="not implemented"):
            softmax(torch.ones(1, 2, dtype=dtype))
