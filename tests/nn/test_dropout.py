import pytest
import torch

from onehop.nn.dropout import Dropout, _drop, dropout, word_dropout
from onehop.nn.kernels import LEVELS, Dropping, kernels


@pytest.mark.parametrize("p", [0.001, 0.1, 0.3, 0.5, 0.9])
def test_the_share_of_zeros_is_p_and_the_rest_is_scaled_to_keep_the_mean(either: str, p: float):
    torch.manual_seed(0)
    x = torch.full((1_000, 1_001), 2.0)
    out = dropout(x, p)
    dropped = float((out == 0).float().mean())
    assert dropped == pytest.approx(p, abs=5 * (p * (1 - p) / x.numel()) ** 0.5 + 2**-16)
    torch.testing.assert_close(out[out != 0].unique(), torch.tensor([2 / (1 - p)]))
    assert float(out.mean()) == pytest.approx(2.0, abs=0.1)


def test_neighbours_are_dropped_independently(either: str):
    torch.manual_seed(0)
    x = torch.ones(400_000)
    mask, other = (dropout(x, 0.5).sign() for _ in range(2))
    for step in (1, 2, 3, 4, 8, 16, 32, 64, 512, 1024):  # one draw decides four numbers, one hash two vectors
        both = float((mask[:-step] * mask[step:]).mean())
        assert both == pytest.approx(0.25, abs=0.005)
        assert float((mask[:-step] * other[step:]).mean()) == pytest.approx(0.25, abs=0.005)
    assert float((mask * other).mean()) == pytest.approx(0.25, abs=0.005)


def test_every_bit_of_the_seed_counts():
    """Masks of two seeds that differ in one bit agree in half of the numbers."""
    x = torch.ones(50_000)
    masks = [
        _drop(kernels(), x, Dropping(seed, LEVELS // 2, 2.0), None, x.dtype).sign()
        for seed in (0, *(1 << i for i in range(64)))
    ]
    for mask in masks[1:]:
        assert float((mask == masks[0]).float().mean()) == pytest.approx(0.5, abs=0.015)


@pytest.mark.parametrize("base_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(5, 7), (3, 40, 33)])
def test_what_is_dropped_onto_a_stream_is_dropped_and_added(
    form: tuple[str, ...], shape: tuple[int, ...], dtype: torch.dtype, base_dtype: torch.dtype
):
    x, base = (
        torch.randn(shape, dtype=dtype, requires_grad=True),
        torch.randn(shape, dtype=base_dtype, requires_grad=True),
    )
    layer = Dropout(0.4)
    torch.manual_seed(4)
    found = layer.onto(base, x)
    torch.manual_seed(4)
    alone = layer(x)
    torch.testing.assert_close(
        found, base + alone, atol=0.02 if torch.bfloat16 in (dtype, base_dtype) else 1e-6, rtol=0.01
    )
    assert found.dtype == torch.promote_types(dtype, base_dtype)
    grad = torch.randn_like(found)
    for_x, for_base = torch.autograd.grad(found, (x, base), grad)
    assert torch.equal(for_x == 0, alone == 0)
    torch.testing.assert_close(for_x, torch.where(alone == 0, 0, grad / 0.6).to(dtype), atol=1e-6, rtol=0.01)
    assert torch.equal(for_base, grad.to(base_dtype))
    assert torch.equal(layer.eval().onto(base, x), base + x)


def test_a_stream_of_another_shape_is_added_as_torch_adds_it(either: str):
    x, base = torch.ones(4, 3), torch.ones(2, 4, 3)
    assert Dropout(0.5).onto(base, x).shape == (2, 4, 3)


def test_the_gradient_passes_where_the_number_did(either: str):
    x = torch.randn(50, 7, requires_grad=True)
    out = dropout(x, 0.4)
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.where(out == 0, 0.0, 1 / 0.6))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3, 5), (0, 4)])
def test_every_shape_and_precision_comes_back_as_it_was(either: str, shape: tuple[int, ...], dtype: torch.dtype):
    x = torch.ones(shape, dtype=dtype).transpose(0, -1) if shape else torch.ones(shape, dtype=dtype)
    out = dropout(x, 0.5)
    assert (out.shape, out.dtype) == (x.shape, dtype)


def test_nothing_is_dropped_in_evaluation_or_at_zero():
    x = torch.randn(5, 5)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0) is x
    assert Dropout(0.5).eval()(x) is x
    assert word_dropout(x.unsqueeze(0), 0.5, training=False) is not None
    assert torch.equal(word_dropout(x.unsqueeze(0), 0.0), x.unsqueeze(0))


def test_the_seed_decides_what_is_dropped(either: str):
    x = torch.ones(100)
    drawn: list[torch.Tensor] = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(dropout(x, 0.5))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_word_is_dropped_whole_and_the_others_stay_as_they_are():
    torch.manual_seed(0)
    x = torch.randn(40, 50, 8)
    out = word_dropout(x, 0.2)
    gone = (out == 0).all(-1)
    assert float(gone.float().mean()) == pytest.approx(0.2, abs=0.04)
    assert torch.equal(out[~gone], x[~gone])


def test_whole_numbers_are_an_error(either: str):
    with pytest.raises(RuntimeError, match="can't be cast"):
        dropout(torch.full((8,), 10), 0.3)
