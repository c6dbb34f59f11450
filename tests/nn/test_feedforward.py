import pytest
import torch
from torch import nn
from torch.nn import functional as F

from onehop.errors import ConfigError
from onehop.nn import FeedForward
from onehop.nn.feedforward import Activation, GatedFeedForward, build_feedforward


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


GATES = {"glu": torch.sigmoid, "reglu": F.relu, "geglu": F.gelu, "swiglu": F.silu}


@pytest.mark.parametrize("name", GATES)
def test_gated_networks_are_those_of_the_paper(name: str):
    layer, x = build_feedforward(name, 8, 12).double(), torch.randn(2, 8, dtype=torch.float64)
    assert isinstance(layer, GatedFeedForward)
    gate = GATES[name](x @ layer.gate.weight.T + layer.gate.bias)
    inside = gate * (x @ layer.up.weight.T + layer.up.bias)
    torch.testing.assert_close(layer(x), inside @ layer.down.weight.T + layer.down.bias)
    if name == "glu":  # torch knows this one
        both = torch.cat([layer.up(x), layer.gate(x)], -1)
        torch.testing.assert_close(layer(x), layer.down(F.glu(both)))


@pytest.mark.parametrize(("name", "activation"), [("relu", F.relu), ("gelu", F.gelu), ("silu", F.silu)])
def test_plain_networks_have_the_activation_of_their_name(name: str, activation: Activation):
    layer, x = build_feedforward(name, 8, 12), torch.randn(2, 8)
    assert torch.equal(layer(x), layer.down(activation(layer.up(x))))


def test_a_gated_network_of_two_thirds_the_width_has_as_many_weights():
    plain, gated = FeedForward(48, 192, F.relu), build_feedforward("swiglu", 48, 128)
    sizes = [sum(p.numel() for p in layer.parameters() if p.dim() == 2) for layer in (plain, gated)]
    assert sizes[0] == sizes[1]


def test_unknown_activations_name_the_known():
    with pytest.raises(ConfigError, match="unknown activation 'tanhh'") as caught:
        build_feedforward("tanhh", 8, 12)
    assert "swiglu" in caught.value.remedy
