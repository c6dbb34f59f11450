"""Weights as the kernels read them: the structures of `native/`, filled from modules and kept alive."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.nn.mapped import let_go
from onehop.nn.quantise import quantise
from onehop.runtime.library import Kernels
from onehop.runtime.memory import Arena

FLOAT, HALF = 0, 3  # kinds of native/matrix.h
MOST_BEST = 64  # outputs that `best` can find; MOST_BEST of native/transformer.c
AT_ONCE = 256  # rows that are rounded together: what that takes besides stays small
SHAPES = {"": 0, "relu": 1, "gelu": 2, "silu": 3, "sigmoid": 4, "gelu_tanh": 6, "tanh": 7}  # of native/matrix.h
_INTEGER, _POINTER, _NUMBER = ctypes.c_int64, ctypes.c_void_p, ctypes.c_double


class Matrix(ctypes.Structure):
    """`Matrix` of native/matrix.h."""

    _fields_ = [
        *((name, _INTEGER) for name in ("kind", "outputs", "inputs")),
        *((name, _POINTER) for name in ("weights", "scale", "sums", "bias")),
    ]


class Norm(ctypes.Structure):
    """`Norm` of native/stack.h."""

    _fields_ = [("weight", _POINTER), ("bias", _POINTER), ("eps", _NUMBER), ("centred", _INTEGER)]


class Layer(ctypes.Structure):
    """`Layer` of native/stack.h."""

    _fields_ = [
        *((name, Matrix) for name in ("joint", "out", "ask", "source", "tell", "up", "gate", "down")),
        ("norms", Norm * 3),
        ("window", _INTEGER),
        *((name, _POINTER) for name in ("cosines", "sines")),
    ]


class Stack(ctypes.Structure):
    """`Stack` of native/stack.h."""

    _fields_ = [
        *((name, _INTEGER) for name in ("dim", "width", "heads", "groups", "cross_groups", "layers", "before")),
        *((name, _INTEGER) for name in ("shape", "vocabulary")),
        *((name, _NUMBER) for name in ("self_scale", "cross_scale", "embedding_scale")),
        *((name, _POINTER) for name in ("embedding", "codes", "layer")),
        ("last", Norm),
        ("output", Matrix),
    ]


class Packer:
    """Fills structures; the memory they point to lives as long as the packer.

    Args:
        kernels: Whose form the weights get.
        precision: `float32`, `bfloat16` or `int8`.

    Raises:
        ValueError: The kernels multiply no bfloat16.
    """

    def __init__(self, kernels: Kernels, precision: str) -> None:
        if precision == "bfloat16" and not kernels.bfloat16:
            raise ValueError("these kernels multiply no bfloat16")
        self.kernels = kernels
        self.kind = {"float32": FLOAT, "bfloat16": HALF, "int8": kernels.int8}[precision]
        self._alive: list[Any] = []
        self._arena = Arena()
        self.packed = 0  # weights in packed matrices

    def address(self, tensor: Tensor) -> int:
        """Return where a tensor's numbers stand, and keep them there."""
        tensor = tensor.detach().contiguous()
        self._alive.append(tensor)
        return tensor.data_ptr()

    def matrix(self, *maps: nn.Linear) -> Matrix:
        """Pack linear maps of the same inputs as one."""
        if len(maps) == 1:
            return self.packed_matrix(maps[0].weight, maps[0].bias)
        weight = torch.cat([each.weight.detach() for each in maps])
        biases = [each.bias for each in maps]
        bias = None
        if any(each is not None for each in biases):  # pyright: ignore[reportUnnecessaryComparison]
            bias = torch.cat([weight.new_zeros(m.out_features) if m.bias is None else m.bias for m in maps])  # pyright: ignore[reportUnnecessaryComparison]
        for each in maps:
            let_go(each.weight)
        return self.packed_matrix(weight, bias)

    def packed_matrix(self, weight: Tensor, bias: Tensor | None = None) -> Matrix:
        """Pack a weight `(N, K)`."""
        outputs, inputs = weight.shape
        library, kind = self.kernels.library, self.kind
        found, given = Matrix(kind, outputs, inputs), weight.detach().float().contiguous()
        self.packed += weight.numel()
        if kind == HALF:
            given = given.to(torch.bfloat16)
        elif kind != FLOAT:
            parts = [_rounded(rows) for rows in given.split(AT_ONCE)]  # a row has a scale of its own
            given, scale, sums = (torch.cat(each) for each in zip(*parts, strict=True))
            found.scale, found.sums = (self.address(self._padded(x)) for x in (scale, sums))
        if bias is not None:
            found.bias = self.address(self._padded(bias.detach().float()))
        found.weights = self.address(self._arena.take(library.packed_bytes(kind, outputs, inputs)))
        library.pack_weights(kind, given.data_ptr(), outputs, inputs, found.weights)
        let_go(weight)
        return found

    def norm(self, module: nn.Module) -> Norm:
        """Return a normalisation; of `nn.Identity`, none."""
        if isinstance(module, nn.LayerNorm):
            bias = dict(module.named_parameters()).get("bias")
            return Norm(self.address(module.weight), None if bias is None else self.address(bias), module.eps, 1)
        if isinstance(module, nn.RMSNorm):
            return Norm(self.address(module.weight), None, module.eps, 0)
        return Norm()

    def layers(self, layers: Sequence[Layer]) -> Any:
        """Return an array of layers, one behind the other."""
        return (Layer * len(layers))(*layers)

    def _padded(self, x: Tensor) -> Tensor:
        return F.pad(x, [0, -len(x) % self.kernels.panel])


def _rounded(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows of a weight in int8, their scales, and what 128 added to every input would add to their products."""
    values, scale = quantise(rows)
    let_go(rows)
    return values, scale, 128 * values.sum(1, dtype=torch.int32)
