"""Files of tensors are those that the library writes, and take no memory to write."""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save

from onehop.errors import FileError
from onehop.files import new_folder
from onehop.tasks.tensor_file import KINDS, write_tensors

GROWTH = """
import resource, sys
from pathlib import Path
import torch
from onehop.tasks.tensor_file import write_tensors
held = {str(n): torch.rand(1 << 22) for n in range(12)}
write_tensors(Path(sys.argv[1]), {"warm": torch.rand(9)})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write_tensors(Path(sys.argv[1]), held)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def some_tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = [(3, 5), (), (0,), (2, 0, 3), (7,), (1, 1)]
    return {
        f'{name}.é"{n}/x': torch.randint(0, 2, shape, generator=generator).to(kind)
        for name, kind in (("b", torch.float32), ("a", torch.float32), *((f"k{i}", k) for i, k in enumerate(KINDS)))
        for n, shape in enumerate(shapes)
    }


def test_bytes_are_those_of_the_library(tmp_path):
    tensors = some_tensors()
    digest = write_tensors(tmp_path / "ours", tensors)
    data = (tmp_path / "ours").read_bytes()
    assert data == save(tensors)
    assert digest == hashlib.sha256(data).hexdigest()


def test_views_and_weights_that_learn_are_written_as_they_read(tmp_path):
    whole = torch.arange(24.0).reshape(4, 6)
    tensors = {"turned": whole.T, "part": whole[1:3, ::2], "learns": torch.nn.Parameter(whole)}
    write_tensors(tmp_path / "file", tensors)
    found = load_file(tmp_path / "file")
    assert all(torch.equal(found[name], value) for name, value in tensors.items())


def test_nothing_writes_an_empty_file(tmp_path):
    write_tensors(tmp_path / "file", {})
    assert (tmp_path / "file").read_bytes() == save({})


def test_writing_holds_no_copy(tmp_path):
    """200 MB are written; the process grows by less than a tenth of that (ru_maxrss is in KiB)."""
    told = subprocess.run([sys.executable, "-c", GROWTH, str(tmp_path / "file")], capture_output=True, check=True)
    assert int(told.stdout) < 20_000


def test_a_file_that_may_not_grow_is_told(tmp_path):
    """The limit of the process stands for a full disk: the same call fails in the same place."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(FileError, match="cannot write"), new_folder(tmp_path / "new") as new:
            write_tensors(new / "file", {"large": torch.zeros(1 << 20)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
