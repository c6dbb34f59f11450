"""Writing a safetensors file tensor by tensor, so that nothing is held in memory beside what is written.

The library's own `save` holds all bytes twice, which at the end of a training is more than the training took; and a
full disk is no `OSError` in its `save_file`. The bytes are those that it writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

KINDS = {  # of safetensors, in the order in which a file holds them
    torch.int64: "I64", torch.float64: "F64", torch.float32: "F32", torch.int32: "I32", torch.bfloat16: "BF16",
    torch.float16: "F16", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
ALIGNED = 8  # bytes that the header is filled up to a multiple of


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write a safetensors file.

    Args:
        path: Of the file.
        tensors: By name, on any device.

    Returns:
        The SHA-256 of the file, in hexadecimal.

    Raises:
        OSError: It cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> write_tensors(path, {"weight": torch.ones(2, 3)})[:8], path.stat().st_size
        ('45b4625a', 96)
    """
    digest = hashlib.sha256()
    with open(path, "wb") as stream:
        for part in _parts(tensors):
            digest.update(part)
            stream.write(part)
    return digest.hexdigest()


def _parts(tensors: Mapping[str, Tensor]) -> Iterator[Any]:
    """Yield what the file is made of, as buffers: its header, then each tensor."""
    kinds = list(KINDS)
    ordered = sorted(tensors.items(), key=lambda one: (kinds.index(one[1].dtype), one[0]))
    header: dict[str, object] = {}
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": KINDS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNED)
    yield len(text).to_bytes(8, "little") + text
    for _, tensor in ordered:
        yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
