"""How the C library hands memory out: tuned for tensors that come and go by the thousand."""

from __future__ import annotations

import ctypes
import sys

# Parameters of glibc's malloc.h, and values: keep a gigabyte of what is freed, grow by 256 MiB of addresses at a time,
# and take from the heap what is smaller than 32 MiB, the most that glibc allows there.
SETTINGS = {-1: 1 << 30, -2: 256 << 20, -3: 32 << 20}


def keep_freed_memory() -> bool:
    """Let glibc keep what tensors free rather than give it back to the system page by page; tell whether it does.

    A training step frees and asks for the same sizes again; without this, a tenth of a small model's step goes into
    pages that are cleared anew. Does nothing where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    return min(mallopt(parameter, value) for parameter, value in SETTINGS.items()) == 1
