"""Whose turn it is: torch's threads while kernels run, and afterwards."""

import threading
from collections.abc import Iterator

import pytest
import torch

from onehop.runtime import kernels_alone, threads


@pytest.fixture
def three() -> Iterator[None]:
    """Let torch have three threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three")
def test_torch_has_one_thread_inside_and_its_own_again_whatever_happens():
    def fail() -> None:
        with kernels_alone():
            assert (torch.get_num_threads(), threads()) == (1, 3)
            with kernels_alone():
                assert (torch.get_num_threads(), threads()) == (1, 3)
            assert (torch.get_num_threads(), threads()) == (1, 3)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (torch.get_num_threads(), threads()) == (3, 3)


@pytest.mark.usefixtures("three")
def test_what_one_thread_holds_is_not_held_by_another():
    found: list[int] = []

    def other() -> None:
        torch.set_num_threads(2)
        found.append(threads())

    with kernels_alone():
        one = threading.Thread(target=other)
        one.start()
        one.join()
        assert threads() == 3
    assert found == [2]
