import gc
import mmap
from pathlib import Path

import pytest
import torch

from onehop.nn.mapped import MappedFile, let_go

PAGE = mmap.PAGESIZE // 4  # floats


@pytest.fixture
def values() -> torch.Tensor:
    return torch.arange(20.0 * PAGE)


@pytest.fixture
def path(values: torch.Tensor, tmp_path: Path) -> Path:
    place = tmp_path / "weights"
    place.write_bytes(b"head" + values.numpy().tobytes())
    return place


def test_tensors_are_what_the_file_holds_and_outlive_its_name(path: Path, values: torch.Tensor):
    tensor = MappedFile(path).tensor(4, (20, PAGE))
    path.unlink()
    gc.collect()
    assert torch.equal(tensor.flatten(), values)
    assert let_go(tensor) >= 18 * mmap.PAGESIZE
    assert torch.equal(tensor.flatten(), values)


def test_writing_changes_the_copy_alone_and_what_was_written_is_never_let_go(path: Path, values: torch.Tensor):
    tensor, other = (MappedFile(path).tensor(4, (20 * PAGE,)) for _ in range(2))
    tensor.data[5 * PAGE] = -1.0  # the counter of changes does not see this
    assert let_go(tensor) == 0
    assert tensor[5 * PAGE] == -1.0
    assert torch.equal(other, values)
    assert path.read_bytes() == b"head" + values.numpy().tobytes()


def test_only_what_lies_in_a_mapped_file_is_let_go(path: Path):
    mapped = MappedFile(path)
    assert let_go(torch.zeros(100 * PAGE)) == 0
    assert let_go(mapped.tensor(4, (20 * PAGE,)).clone()) == 0
    assert let_go(mapped.tensor(8, (PAGE // 2,))) == 0  # holds no whole page
    assert let_go(mapped.tensor(4, (20 * PAGE,))[: 4 * PAGE]) == 3 * mmap.PAGESIZE
    assert mapped.tensor(4, (0, 7)).shape == (0, 7)
