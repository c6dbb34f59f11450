"""Weights that are the bytes of a file: read when they are used, and let go where they are not needed for a while.

A page takes memory once something in it was read. Writing to such a weight changes the copy in memory, never the file;
a file that is cut short in place while it is mapped ends the process, so packages are replaced whole, never written to.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterable
from contextlib import suppress
from math import prod
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

AT_ONCE = 1 << 20  # bytes that are compared together


class MappedFile:
    """The float32 tensors of a file, without reading it.

    Args:
        path: The file; not empty.

    Raises:
        OSError: It cannot be opened.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "weights"
        >>> _ = path.write_bytes(torch.tensor([1.0, 2.0]).numpy().tobytes())
        >>> MappedFile(path).tensor(0, (2,))
        tensor([1., 2.])
    """

    def __init__(self, path: Path) -> None:
        with open(path, "rb") as stream:
            self._memory = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
            original = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        whole = torch.frombuffer(self._memory, dtype=torch.uint8)
        _MAPPED[self._memory] = (whole.data_ptr(), original)

    def tensor(self, begin: int, shape: tuple[int, ...]) -> Tensor:
        """Return the tensor whose first byte is `begin`, a multiple of 4; it keeps the file open."""
        if not prod(shape):
            return torch.empty(shape)
        return torch.frombuffer(self._memory, dtype=torch.float32, count=prod(shape), offset=begin).view(shape)


_MAPPED: WeakKeyDictionary[mmap.mmap, tuple[int, mmap.mmap]] = WeakKeyDictionary()


def let_go(tensor: Tensor) -> int:
    """Give back the memory of a tensor of a mapped file; who reads it again reads the file.

    A tensor that was written to stays as it is, and so does one of no file.

    Returns:
        Bytes that were let go.

    Example:
        >>> let_go(torch.zeros(3))
        0
    """
    if not hasattr(mmap, "MADV_DONTNEED") or tensor.device.type != "cpu" or not tensor.is_contiguous():
        return 0
    for memory, (address, original) in list(_MAPPED.items()):
        begin = tensor.data_ptr() - address
        if 0 <= begin < len(memory):
            return _let_go(memory, original, begin, begin + tensor.numel() * tensor.element_size())
    return 0


def _let_go(memory: mmap.mmap, original: mmap.mmap, begin: int, end: int) -> int:
    """Give back the whole pages between two bytes, where both mappings of the file hold the same there."""
    begin, end = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
    if begin >= end:
        return 0
    for at in range(begin, end, AT_ONCE):
        size = min(AT_ONCE, end - at)
        same = memory[at : at + size] == original[at : at + size]
        original.madvise(mmap.MADV_DONTNEED, at, size)  # at once: what is compared never stands in memory whole
        if not same:
            return 0
    memory.madvise(mmap.MADV_DONTNEED, begin, end - begin)
    return end - begin


def tidy(tensors: Iterable[Tensor] = ()) -> None:
    """Let go of tensors that are the bytes of a file, and have the C library give back what it holds and does not need.

    Args:
        tensors: Which will not be read for a while.

    Example:
        >>> tidy(torch.nn.Linear(2, 3).parameters())
    """
    for tensor in tensors:
        let_go(tensor.detach())
    with suppress(AttributeError, OSError, TypeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)
