"""The kernels of the fast path, bound: what `onehop.native` compiles of them, and for what."""

from __future__ import annotations

import ctypes
import platform
from dataclasses import dataclass
from functools import cache
from typing import Any

from onehop.native import Tell, load

SOURCES = ("vector.h", "pool.h", "tiles.h", "matrix.h", "attention.h", "stack.h", "additive.h", "transformer.c")


@dataclass(frozen=True)
class Kernels:
    """What was loaded.

    Args:
        library: Its functions, by ctypes.
        instructions: What it was compiled for, in words.
        lanes: Floats of a vector.
        panel: Outputs that a product computes together.
        int8: How it reads int8 weights: 1 in pairs, with inputs of 13 to 15 bits; 2 in fours, with inputs of 8.
        bfloat16: Whether it multiplies bfloat16.
        times: Steps of a block of the cache.
    """

    library: Any
    instructions: str
    lanes: int
    panel: int
    int8: int
    bfloat16: bool
    times: int


def kernels(tell: Tell = lambda text: None, options: tuple[str, ...] = ()) -> Kernels | str:
    """Return the kernels, compiled if they have not been yet, or why there are none.

    Args:
        tell: Is told when something is compiled, which takes seconds.
        options: More for the compiler, such as `-DLANES=4`, by which a test sees forms of other processors.

    Example:
        >>> isinstance(kernels(), Kernels | str)
        True
    """
    found = load(SOURCES, tell, options)
    try:
        return found if isinstance(found, str) else _bound(found)
    except AttributeError as error:
        return f"the kernels are not whole: {error}"


@cache
def _bound(library: Any) -> Kernels:
    """Declare what is called: whole numbers are 64 bits wide, the number of threads an int."""
    integer, pointer = ctypes.c_int64, ctypes.c_void_p
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "kernel_lanes": (integer, []),
        "kernel_panel": (integer, []),
        "kernel_int8": (integer, []),
        "kernel_bfloat16": (integer, []),
        "kernel_tiles": (integer, []),
        "kernel_times": (integer, []),
        "packed_bytes": (integer, [integer] * 3),
        "pack_weights": (None, [integer, pointer, integer, integer, pointer]),
        "linear": (None, [pointer, ctypes.c_int, pointer, integer, pointer]),
        "tanh_sum": (None, [ctypes.c_int, *[integer] * 5, *[pointer] * 4]),
        "encode": (None, [pointer, ctypes.c_int, integer, *[pointer] * 4]),
        "kept_floats": (integer, [pointer, integer]),
        "keep": (None, [pointer, ctypes.c_int, integer, pointer, pointer, pointer]),
        "step": (None, [pointer, ctypes.c_int, *[integer] * 4, *[pointer] * 8]),
        "best": (None, [pointer, ctypes.c_int, pointer, integer, integer, pointer, pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    lanes, int8 = library.kernel_lanes(), library.kernel_int8()
    names = {16: "AVX-512", 8: "AVX2"}
    vectors = (
        names.get(lanes, f"vectors of {lanes}") if platform.machine() in ("x86_64", "AMD64") else platform.machine()
    )
    instructions = vectors + (" AMX" if library.kernel_tiles() else " VNNI" if int8 == 2 else "")
    return Kernels(
        library, instructions, lanes, library.kernel_panel(), int8, bool(library.kernel_bfloat16()),
        library.kernel_times(),
    )  # fmt: skip
