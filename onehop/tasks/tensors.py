"""The weights of a foreign checkpoint: safetensors, whole or in shards, or a pickle where that is allowed.

Names and shapes are known before memory is taken for any tensor. Nothing here is ever written as a pickle.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from onehop.errors import ModelError
from onehop.files import os_errors
from onehop.models.checkpoint import modern
from onehop.tasks.header import read_header

WHOLE, INDEX, PICKLE = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
FLOATS = ("F64", "F32", "F16", "BF16")
AGAIN = "Copy the checkpoint again."
LARGEST = 1 << 26  # bytes of an index
CALLED = re.compile(r"(?:Unsupported global: GLOBAL|Trying to load unsupported GLOBAL) ([\w.]+)")  # torch's words


@dataclass(frozen=True)
class Tensors:
    """The tensors of a checkpoint, by their present names.

    Args:
        path: The file, or the index of its shards, for messages.
        shapes: Of the floating-point tensors.
        others: Names of tensors of whole numbers.
        files: That hold them; none where they were read already.
        values: Where they were read already.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    others: frozenset[str]
    files: tuple[Path, ...] = ()
    values: Mapping[str, Tensor] | None = None

    def load(self) -> dict[str, Tensor]:
        """Return the floating-point tensors as float32.

        Raises:
            ModelError: A file cannot be read.
        """
        values = self.values
        if values is None:
            values = {modern(name): value for file in self.files for name, value in _load(file).items()}
        return {name: values[name].float() for name in self.shapes}


def open_tensors(folder: Path, *, allow_pickle: bool = False) -> Tensors:
    """Look into the weights of a folder.

    Args:
        folder: Of the checkpoint.
        allow_pickle: Read `pytorch_model.bin` where there is no safetensors, through `torch.load(weights_only=True)`.

    Raises:
        ModelError: There are none, or they are damaged, or a pickle that is not allowed.
    """
    if (folder / WHOLE).is_file():
        return _of_files(folder / WHOLE, [folder / WHOLE])
    if (folder / INDEX).is_file():
        return _of_files(folder / INDEX, shards(folder / INDEX))
    if (folder / PICKLE).is_file():
        if not allow_pickle:
            raise ModelError(
                "weights in a pickle, which can run any program when it is read",
                "Use a checkpoint with model.safetensors; or, if you trust its maker, make a package of it: onehop "
                "export CHECKPOINT PACKAGE --allow-pickle (in Python: allow_pickle=True).",
                str(folder / PICKLE),
            )
        return _of_pickle(folder / PICKLE)
    raise ModelError(f"no weights: neither {WHOLE} nor {INDEX}", AGAIN, str(folder))


def _of_files(path: Path, files: list[Path]) -> Tensors:
    shapes: dict[str, tuple[int, ...]] = {}
    others: set[str] = set()
    for file in files:
        for name, stored in read_header(file).items():
            if modern(name) in shapes or modern(name) in others:
                raise ModelError(f"{name} stands there twice", AGAIN, str(path))
            if stored.dtype in FLOATS:
                shapes[modern(name)] = stored.shape
            else:
                others.add(modern(name))
    return Tensors(path, shapes, frozenset(others), tuple(files))


def shards(path: Path, *, there: bool = True) -> list[Path]:
    """Return the files that an index names.

    Args:
        path: Of the index.
        there: Whether they must lie beside it.

    Raises:
        ModelError: It is none, or names what lies elsewhere or is missing.
    """
    with os_errors(path, "read"), open(path, "rb") as stream:
        text = stream.read(LARGEST)
    try:
        names = sorted(set(json.loads(text)["weight_map"].values()))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError("damaged: not an index of weights", AGAIN, str(path)) from error
    for name in names:
        if not isinstance(name, str) or "\0" in name or "\\" in name or Path(name).name != name:
            raise ModelError(f"names a file outside its folder: {name!r}", "Do not use this checkpoint.", str(path))
        if there and not (path.parent / name).is_file():
            raise ModelError("missing from the checkpoint", AGAIN, str(path.parent / name))
    return [path.parent / name for name in names]


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"cannot read the weights: {error}", AGAIN, str(path)) from error


def _of_pickle(path: Path) -> Tensors:
    try:
        with warnings.catch_warnings(action="ignore"):  # of the pickle's version, which the error tells of too
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in any way
        raise ModelError(f"not a file of weights alone: {_why(error)}", "Do not use it.", str(path)) from error
    if not isinstance(found, dict) or not all(isinstance(name, str) and _plain(one) for name, one in found.items()):
        raise ModelError("not a file of weights alone: no table of tensors by name", "Do not use it.", str(path))
    values = {modern(name): value for name, value in found.items()}
    shapes = {name: tuple(value.shape) for name, value in values.items() if value.is_floating_point()}
    return Tensors(path, shapes, frozenset(values.keys() - shapes.keys()), (), values)


def _why(error: Exception) -> str:
    """Return why a pickle was not read, without torch's advice, which is to read it with all that it can run.

    Example:
        >>> _why(RuntimeError("... Unsupported global: GLOBAL posix.system was not an allowed global by default."))
        'it asks for posix.system, which is no tensor and was not run'
    """
    named = CALLED.search(str(error))
    return f"it asks for {named[1]}, which is no tensor and was not run" if named else "damaged, or of another kind"


def _plain(value: Any) -> bool:
    """Whether a value is a tensor that holds its numbers, one by one."""
    return isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
