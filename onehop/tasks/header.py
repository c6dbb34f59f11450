"""The header of a safetensors file, checked against the size of the file before a tensor is made.

The file begins with the length of its header (8 bytes, little-endian), then comes the header: JSON that gives each
tensor's `dtype`, `shape` and `data_offsets` into the rest. A header that claims more than the file holds, or the same
bytes twice, is an error here, and nothing of the claimed size is allocated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

from onehop.errors import ModelError
from onehop.files import os_errors

LENGTH = 8  # bytes that hold the length of the header
LONGEST = 1 << 22  # bytes of a header; a tensor takes about a hundred
DIMENSIONS = 8
BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
REMEDY = "Copy the package again; do not use it if it comes from somebody you do not trust."


@dataclass(frozen=True)
class Stored:
    """A tensor as a header tells it.

    Args:
        dtype: As safetensors names it: `F32`.
        shape: Of the tensor.
        begin: Its first byte in the file.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int = field(default=0, compare=False)


def read_header(path: Path) -> dict[str, Stored]:
    """Return the tensors of a file, by name, after checking that together they fill it exactly.

    Raises:
        ModelError: They do not, or the file is none of safetensors.
        FileError: The file cannot be read.
    """
    with os_errors(path, "read"), open(path, "rb") as stream:
        size = path.stat().st_size
        length = int.from_bytes(stream.read(LENGTH), "little")
        if size < LENGTH or not 0 < length <= min(LONGEST, size - LENGTH):
            raise _damaged(path, f"a header of {length:,} bytes in a file of {size:,}")
        text = stream.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"a header that is no JSON: {str(error)[:200]}") from error
    if not isinstance(header, dict):
        raise _damaged(path, "a header that is no JSON object")
    header.pop("__metadata__", None)
    return _tensors(header, LENGTH + length, size, path)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name stands in it twice")
    return dict(pairs)


def _tensors(header: Mapping[str, Any], start: int, size: int, path: Path) -> dict[str, Stored]:
    """Return the tensors, whose bytes must follow each other without gap or overlap from `start` to the file's end."""
    found: dict[str, Stored] = {}
    places: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        stored, begin, end = _entry(name, entry, path)
        if prod(stored.shape) * BYTES[stored.dtype] != end - begin:
            raise _damaged(path, f"{name!r} has the shape {stored.shape}, but {end - begin:,} bytes")
        places.append((begin, end, name))
        found[name] = replace(stored, begin=start + begin)
    at = 0
    for begin, end, name in sorted(places):
        if begin != at:
            raise _damaged(path, f"{name!r} begins at byte {begin:,}, where {at:,} are taken")
        at = end
    if at != size - start:
        raise _damaged(path, f"tensors of {at:,} bytes in {size - start:,}")
    return found


def _entry(name: str, entry: Any, path: Path) -> tuple[Stored, int, int]:
    """Return what one entry of a header says: tensor, first byte, and the byte after its last."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _damaged(path, f"{name!r} has not dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BYTES:
        raise _damaged(path, f"{name!r} is of the unknown type {str(dtype)[:40]!r}")
    if not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _damaged(path, f"{name!r} has a shape or offsets that are none")
    return Stored(dtype, tuple(shape)), offsets[0], offsets[1]


def _sizes(value: Any) -> bool:
    """Return whether this is a short list of whole numbers from 0 to 2**62."""
    return (
        isinstance(value, list)
        and len(value) <= DIMENSIONS
        and all(type(size) is int and 0 <= size < 1 << 62 for size in value)
    )


def _damaged(path: Path, problem: str) -> ModelError:
    return ModelError(f"not a safetensors file, or damaged: {problem}", REMEDY, str(path))
