"""Memory in large pages, where the system has them to give: what is read here and there costs fewer look-ups."""

from __future__ import annotations

import mmap
from contextlib import suppress

import torch
from torch import Tensor

PAGE = 1 << 21  # bytes of a large page on most processors
ALIGNED = 64  # bytes that what is taken of an arena begins at a multiple of


def roomy(size: int) -> Tensor:
    """Return `size` bytes, not set to anything.

    Example:
        >>> roomy(3).dtype, len(roomy(5 << 20))
        (torch.uint8, 5242880)
    """
    if size < PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(size, dtype=torch.uint8)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8)


class Arena:
    """Memory that is taken piece by piece and lives as long as any piece.

    Example:
        >>> arena = Arena()
        >>> one, two = arena.take(100), arena.take(100)
        >>> (two.data_ptr() - one.data_ptr()) % ALIGNED
        0
    """

    def __init__(self) -> None:
        self._left = torch.empty(0, dtype=torch.uint8)

    def take(self, size: int) -> Tensor:
        """Return `size` bytes that begin at a multiple of `ALIGNED`."""
        skip = -self._left.data_ptr() % ALIGNED
        if skip + size > len(self._left):
            self._left = roomy(max(2 * PAGE, size + ALIGNED))
            skip = -self._left.data_ptr() % ALIGNED
        taken, self._left = self._left[skip : skip + size], self._left[skip + size :]
        return taken
