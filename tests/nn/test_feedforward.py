import pytest
import torch
from torch import nn
from torch.nn import functional as F

from onehop.nn import FeedForward


def test_it_is_two_convolutions_of_width_one_with_a_relu_between():
    layer = FeedForward(8, 12, F.relu).double()
    up, down = nn.Conv1d(8, 12, 1).double(), nn.Conv1d(12, 8, 1).double()
    for conv, linear in ((up, layer.up), (down, layer.down)):
        conv.load_state_dict({"weight": linear.weight.unsqueeze(2), "bias": linear.bias})
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(x), down(up(x.mT).relu()).mT)


def test_without_the_relu_it_is_one_linear_map():
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    layer = FeedForward(8, 12, nn.Identity()).double()
    weight, bias = layer.down.weight @ layer.up.weight, layer.down.weight @ layer.up.bias + layer.down.bias
    torch.testing.assert_close(layer(x), F.linear(x, weight, bias))
    bent = FeedForward(8, 12, F.relu).double()
    bent.load_state_dict(layer.state_dict())
    assert not torch.allclose(bent(x), F.linear(x, weight, bias))


def test_each_position_is_transformed_by_itself():
    layer, x, order = FeedForward(8, 12, F.relu), torch.randn(2, 5, 8), torch.randperm(5)
    torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order])


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4)])
def test_any_leading_axes_are_kept(shape: tuple[int, ...]):
    layer, x = FeedForward(8, 12, F.relu), torch.randn(*shape, 8)
    assert layer(x).shape == (*shape, 8)
    torch.testing.assert_close(layer(x).flatten(0, -2), layer(x.flatten(0, -2)))
