import pytest
import torch

from onehop.decode import PENALTIES, penalty
from onehop.errors import ConfigError


def test_penalties_have_their_papers_values():
    assert penalty("none", 1.0)(-6.0, 3) == -6
    assert penalty("average", 1.0)(-6.0, 3) == -2
    assert penalty("wu", 0.6)(-6.0, 1) == -6
    assert penalty("wu", 0.6)(-6.0, 7) == pytest.approx(-6 / 2**0.6)
    assert penalty("wu", 0.0)(-6.0, 7) == -6
    assert penalty("wu", 1.0)(-6.0, 13) == -2


@pytest.mark.parametrize("name", PENALTIES)
def test_a_longer_target_of_the_same_probability_never_scores_worse(name: str):
    scores = [penalty(name, 0.6)(-6.0, length) for length in range(1, 20)]
    assert scores == sorted(scores)


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_take_tensors(name: str):
    score = penalty(name, 0.6)
    found = score(torch.tensor([-6.0, -2.0]), torch.tensor([3, 1]))
    torch.testing.assert_close(found, torch.tensor([score(-6.0, 3), score(-2.0, 1)]))


def test_an_unknown_penalty_is_an_error_with_those_there_are():
    with pytest.raises(ConfigError, match="'length'") as caught:
        penalty("length", 1.0)
    assert all(name in caught.value.remedy for name in PENALTIES)
