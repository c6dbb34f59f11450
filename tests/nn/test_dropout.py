import pytest
import torch

from onehop.nn.dropout import Dropout, dropout, keep_mask, word_dropout


@pytest.mark.parametrize("p", [0.001, 0.1, 0.3, 0.5, 0.9])
def test_the_share_of_zeros_is_p_and_the_rest_is_scaled_to_keep_the_mean(p: float):
    torch.manual_seed(0)
    x = torch.full((1_000, 1_001), 2.0)
    out = dropout(x, p)
    dropped = float((out == 0).float().mean())
    assert dropped == pytest.approx(p, abs=5 * (p * (1 - p) / x.numel()) ** 0.5 + 2**-16)
    torch.testing.assert_close(out[out != 0].unique(), torch.tensor([2 / (1 - p)]))
    assert float(out.mean()) == pytest.approx(2.0, abs=0.1)


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    mask = keep_mask(torch.Size([400_000]), 0.5).float()
    for step in (1, 2, 3, 4, 8):  # one draw of the generator decides four numbers
        both = float((mask[:-step] * mask[step:]).mean())
        assert both == pytest.approx(0.25, abs=0.005)


def test_the_gradient_passes_where_the_number_did():
    x = torch.randn(50, 7, requires_grad=True)
    out = dropout(x, 0.4)
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.where(out == 0, 0.0, 1 / 0.6))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3, 5), (0, 4)])
def test_every_shape_and_precision_comes_back_as_it_was(shape: tuple[int, ...], dtype: torch.dtype):
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


def test_the_seed_decides_what_is_dropped():
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


def test_whole_numbers_are_an_error():
    with pytest.raises(RuntimeError, match="can't be cast"):
        dropout(torch.full((8,), 10), 0.3)
