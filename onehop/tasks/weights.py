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

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from onehop.errors import ModelError, OnehopError
from onehop.nn.mapped import MappedFile
from onehop.nn.quantise import quantise
from onehop.tasks.header import Stored, read_header
from onehop.tasks.settings import Precision

SCALE = "/scale"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "int8": torch.float32}  # of what is no int8 matrix
NAMES = {torch.float32: "F32", torch.float16: "F16", torch.int8: "I8"}  # of safetensors
TYPES = {name: dtype for dtype, name in NAMES.items()}
MAPPED = 1 << 18  # bytes of a tensor from which on it is mapped
SHOWN = 20  # faults that a message lists


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


def check_shapes(
    build: Callable[[], nn.Module],
    path: Path,
    precision: Precision,
    held: Callable[[str], bool] = lambda name: True,
    others: int = 0,
) -> None:
    """Check that a file holds the weights of the model that `build` makes, before any memory is taken for either.

    Args:
        build: Makes the model; here on torch's device without memory.
        path: The file, of which the header alone is read.
        precision: In which its weights are stored.
        held: Whether the file holds a parameter, by its name.
        others: Parameters that it does not hold.

    Raises:
        ModelError: The file is damaged, or its tensors are not those of the model.
    """
    stored = read_header(path)
    try:
        with few_parameters(2 * (len(stored) + others) + 16), Undrawn(), torch.device("meta"):
            wanted = {name: value for name, value in build().named_parameters() if held(name)}
    except (OnehopError, RuntimeError, TypeError, ValueError, OverflowError, MemoryError) as error:
        reason = error.problem if isinstance(error, OnehopError) else str(error).split("\n")[0][:200]
        raise ModelError(
            f"weights and settings do not fit: no such model can be made: {reason}",
            "Copy the package again.",
            str(path),
        ) from error
    if faults := _faults(stored, wanted, precision):
        told = "; ".join(faults[:SHOWN]) + (f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else "")
        raise ModelError(f"weights and settings do not fit: {told}", "Copy the package again.", str(path))


@contextmanager
def few_parameters(most: int) -> Generator[None]:
    """Raise an error when this thread registers more parameters inside: settings may ask for a billion layers."""
    thread, left = get_ident(), [most]

    def count(module: nn.Module, name: str, parameter: Any) -> None:
        left[0] -= get_ident() == thread
        if left[0] < 0:
            raise ModelError("more layers than the file has tensors")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def load_weights(model: nn.Module, path: Path, held: Callable[[str], bool] = lambda name: True) -> None:
    """Fill a model from a package's file, which `check_shapes` found to be that of the model.

    Large float32 weights are mapped: their pages are read when they are used. Others are read one by one: the file is
    never held beside the model.

    Args:
        model: Filled in place.
        path: The file.
        held: Whether the file holds a parameter, by its name; the others stay as they are.

    Raises:
        ModelError: The file cannot be read.
    """
    stored = read_header(path)
    try:
        with open(path, "rb", buffering=0) as stream, torch.no_grad():
            mapped = MappedFile(path) if stored else None
            for name, parameter in ((n, p) for n, p in model.named_parameters() if held(n)):
                if mapped and _fits(stored[name], parameter):
                    parameter.data = mapped.tensor(stored[name].begin, stored[name].shape)
                    continue
                whole = stored[name].dtype == NAMES[torch.int8]
                scale = _read(stream, stored[name + SCALE]) if whole else None
                _read(stream, stored[name], parameter, scale)
    except (OSError, EOFError) as error:
        raise ModelError(f"cannot read the weights: {error}", "Copy the package again.", str(path)) from error


def _fits(stored: Stored, parameter: Tensor) -> bool:
    """Whether a parameter can be the bytes of the file themselves; a small one would hold the pages around it, too."""
    plain = stored.dtype == NAMES[torch.float32] and parameter.dtype == torch.float32
    large = parameter.numel() * parameter.element_size() >= MAPPED
    return plain and large and parameter.device.type == "cpu" and stored.begin % parameter.element_size() == 0


def _read(stream: Any, stored: Stored, into: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
    """Return a stored tensor, as float32; written to `into` where there is one, times the scales of its rows."""
    direct = into is not None and stored.dtype == NAMES[into.dtype] and into.is_contiguous()
    found = into if direct else torch.empty(stored.shape, dtype=TYPES[stored.dtype])
    assert found is not None
    bytes_of: Any = found.detach().flatten().view(torch.uint8).numpy()
    room = memoryview(bytes_of)
    stream.seek(stored.begin)
    while len(room):
        count = stream.readinto(room)
        if not count:
            raise EOFError("the file ends before its last tensor")
        room = room[count:]
    if direct:
        return found
    values = found.float() if scale is None else found.float().mul_(scale.unsqueeze(1))
    return values if into is None else into.copy_(values)


def put(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Set every parameter of a model."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(values[name])


def _faults(stored: Mapping[str, Stored], wanted: Mapping[str, Tensor], precision: Precision) -> list[str]:
    """Return how a file differs from what the model would be stored as."""
    plain = NAMES[DTYPES[precision]]
    expected: dict[str, Stored] = {}
    for name, parameter in wanted.items():
        whole = precision == "int8" and parameter.dim() == 2
        expected[name] = Stored(NAMES[torch.int8] if whole else plain, tuple(parameter.shape))
        if whole:
            expected[name + SCALE] = Stored(NAMES[torch.float32], (parameter.size(0),))
    faults = [f"missing {name}" for name in expected if name not in stored]
    faults += [f"unexpected {name}" for name in stored if name not in expected]
    for name, there in expected.items():
        found = stored.get(name, there)
        if found.shape != there.shape:
            faults.append(f"{name} is {found.shape}, not {there.shape}")
        elif found.dtype != there.dtype:
            faults.append(f"{name} is {found.dtype}, not {there.dtype}")
    return faults
