"""What runs in kernels while a model learns on a processor: attention, dropout, products in float32, losses.

They are compiled once (`onehop.native`). Where there is no compiler, and for what they do not know, torch does the
work.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch

from onehop.native import Tell, load

SOURCES = (
    "vector.h", "pool.h", "learning.h", "learn_product.h", "learn_attention.h", "learn_dropout.h", "learn_linear.h",
    "learn_loss.h", "training.c",
)  # fmt: skip
TYPES = {torch.float32: 0, torch.bfloat16: 1}  # as the kernels number them
LEVELS = 1 << 16  # of a random number


class Dropping(ctypes.Structure):
    """Which numbers are set to zero, as the kernels read it."""

    _fields_ = [("seed", ctypes.c_uint64), ("least", ctypes.c_uint32), ("scale", ctypes.c_float)]


def kernels(tell: Tell = lambda text: None) -> Any:
    """Return the kernels, or None where there are none, and where torch compiles, traces or counts what runs.

    Args:
        tell: Is told when they are compiled, which takes seconds, and why there are none.

    Example:
        >>> kernels() is kernels()
        True
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch._C._len_torch_dispatch_stack():  # pyright: ignore
        return None  # whoever watches torch's operations, as a count of them does, sees all of them
    found = load(SOURCES, tell)
    if isinstance(found, str):
        tell(f"{found}: torch trains alone, which is slower")
        return None
    return _bound(found)


@cache
def _bound(library: ctypes.CDLL) -> Any:
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    library.attend_plan.restype = integer
    library.attend_plan.argtypes = [pointer, integer, integer, pointer, pointer]
    for function in (library.attend_forward, library.attend_backward, library.drop, library.losses):
        function.restype, function.argtypes = None, [pointer, ctypes.c_int]
    library.learn_lanes.restype, library.learn_lanes.argtypes = integer, []
    library.turn.restype, library.turn.argtypes = None, [pointer, integer, integer, pointer]
    library.map_rows.restype, library.map_rows.argtypes = None, [*[integer] * 3, *[pointer] * 4, ctypes.c_int]
    library.weigh_rows.restype, library.weigh_rows.argtypes = None, [*[integer] * 3, *[pointer] * 3, ctypes.c_int]
    return library


def drawn(p: float) -> Dropping:
    """Return what drops a share `p`, rounded to a multiple of 2^-16, by a draw of torch's generator; nothing for 0.

    Example:
        >>> drawn(0.5).least / LEVELS
        0.5
    """
    if p == 0.0:
        return Dropping(0, 0, 1.0)
    seed = int(torch.empty((), dtype=torch.int64).random_())
    return Dropping(seed, round(p * LEVELS), 1 / (1 - p))
