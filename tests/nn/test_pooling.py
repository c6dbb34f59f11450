import pytest
import torch

from onehop.errors import ConfigError
from onehop.nn.pooling import POOLINGS, build_pooling

STATES = torch.tensor([[[1.0, -4.0], [3.0, -2.0], [9.0, 9.0]], [[5.0, 6.0], [0.0, 7.0], [2.0, 8.0]]])
LENGTHS = torch.tensor([2, 3])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mean", [[2.0, -3.0], [7 / 3, 7.0]]),
        ("max", [[3.0, -2.0], [5.0, 8.0]]),
        ("last", [[3.0, -2.0], [2.0, 8.0]]),
        ("cls", [[1.0, -4.0], [5.0, 6.0]]),
    ],
)
def test_each_pooling_by_hand(name: str, expected: list[list[float]]):
    torch.testing.assert_close(build_pooling(name, 2, 4)(STATES, LENGTHS), torch.tensor(expected))


def test_the_last_state_of_two_directions_is_the_last_of_one_and_the_first_of_the_other():
    found = build_pooling("last", 2, 4, two_ways=True)(STATES, LENGTHS)
    torch.testing.assert_close(found, torch.tensor([[3.0, -4.0], [2.0, 6.0]]))


@pytest.mark.parametrize("name", POOLINGS)
def test_states_behind_the_length_count_for_nothing_and_get_no_gradient(name: str):
    states = STATES.clone().requires_grad_()
    build_pooling(name, 2, 4)(states, LENGTHS).sum().backward()
    assert states.grad is not None
    assert not states.grad[0, 2].any()


@pytest.mark.parametrize("name", POOLINGS)
def test_nothing_gives_zeros(name: str):
    pooling = build_pooling(name, 2, 4)
    assert not pooling(STATES, torch.tensor([0, 0])).any()
    assert not pooling(STATES[:, :0]).any()


def test_an_unknown_pooling_is_told():
    with pytest.raises(ConfigError, match="unknown pooling 'sum'"):
        build_pooling("sum", 2, 4)
