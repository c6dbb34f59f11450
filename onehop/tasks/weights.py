"""The weights of a package: what precision they are stored in, and how they get into a model.

| precision | matrices | everything else |
|---|---|---|
| `float32` | float32 | float32 |
| `float16` | float16 | float16 |
| `int8` | int8 from -127 to 127, with a float32 scale for each output row under the name `NAME/scale` | float32 |

Weights are float32 again once they are loaded. What was stored once is stored as the same bytes again: a scale keeps
16 bits of its fraction, so that its product with any int8 is exact, and so is dividing the largest of them by 127.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from onehop.errors import ModelError
from onehop.tasks.settings import Precision

SCALE = "/scale"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "int8": torch.float32}  # of what is no int8 matrix
LEAST = torch.finfo(torch.float32).tiny  # a row whose scale would be smaller has lost its precision: it is zeros
LOW_BITS = 0xFF  # of a scale, zero


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Return every parameter once, tied ones under their first name."""
    return {name: parameter.detach().contiguous() for name, parameter in model.named_parameters()}


# ------------------------------------------------------------------------------------------------ precision


def pack(values: Mapping[str, Tensor], precision: Precision) -> dict[str, Tensor]:
    """Return tensors as a package stores them.

    Raises:
        ModelError: A weight is not a finite number in that precision.
    """
    packed: dict[str, Tensor] = {}
    for name, value in values.items():
        value = value.to("cpu", torch.float32)
        if precision == "int8" and value.dim() == 2:
            packed[name], packed[name + SCALE] = quantise(value)
        else:
            packed[name] = value.to(DTYPES[precision])
        if not (value if precision == "int8" else packed[name]).isfinite().all():
            problem = f"{name} holds a weight of {float(value.abs().max()):g}, which {precision} cannot"
            raise ModelError(problem, "Store it as float32, if it is finite; else train again.")
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return stored tensors as float32."""
    values: dict[str, Tensor] = {}
    for name, value in packed.items():
        if value.dtype == torch.int8:
            values[name] = value.float() * packed[name + SCALE].unsqueeze(1)
        elif packed.get(name.removesuffix(SCALE), value).dtype != torch.int8:
            values[name] = value.float()
    return values


def quantise(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 `(N, D)` and float32 scales `(N,)`, symmetric for each row: the largest weight becomes ±127."""
    scale = matrix.abs().amax(1) / 127
    scale = (scale.view(torch.int32) & ~LOW_BITS).view(torch.float32)
    known = scale >= LEAST
    rows = matrix / torch.where(known, scale, 1.0).unsqueeze(1)
    whole = torch.where(known.unsqueeze(1), rows.round().clamp(-127, 127), 0.0)
    return whole.to(torch.int8), torch.where(known, scale, 0.0)


# ------------------------------------------------------------------------------------------------ loading


class Undrawn(TorchFunctionMode):
    """Inside, random draws in place do nothing: for a model whose weights are about to be replaced.

    Tables that are no weights, such as those of positions, are computed as ever.
    """

    DRAWS = frozenset(
        (torch.Tensor.uniform_, torch.Tensor.normal_, nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_)
    )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in self.DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def load_weights(model: nn.Module, path: Path, precision: Precision) -> None:
    """Fill a model from a package's file.

    Raises:
        ModelError: The file cannot be read, or its tensors are not those of the model in that precision.
    """
    try:
        packed = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"cannot read the weights: {error}", "Copy the package again.", str(path)) from error
    wanted = dict(model.named_parameters())
    faults = _faults(packed, wanted, precision)
    if faults:
        raise ModelError(f"weights and settings do not fit: {'; '.join(faults)}", "Copy the package again.", str(path))
    put(model, unpack(packed))


def put(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Set every parameter of a model."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(values[name])


def _faults(packed: Mapping[str, Tensor], wanted: Mapping[str, Tensor], precision: Precision) -> list[str]:
    """Return how a file differs from what the model would be stored as."""
    plain = DTYPES[precision]
    expected: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
    for name, parameter in wanted.items():
        whole = precision == "int8" and parameter.dim() == 2
        expected[name] = tuple(parameter.shape), torch.int8 if whole else plain
        if whole:
            expected[name + SCALE] = (parameter.size(0),), torch.float32
    faults = [f"missing {name}" for name in expected if name not in packed]
    faults += [f"unexpected {name}" for name in packed if name not in expected]
    for name, (shape, dtype) in expected.items():
        found = packed.get(name)
        if found is not None and tuple(found.shape) != shape:
            faults.append(f"{name} is {tuple(found.shape)}, not {shape}")
        elif found is not None and found.dtype != dtype:
            faults.append(f"{name} is {found.dtype}, not {dtype}")
    return faults
