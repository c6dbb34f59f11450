"""Linear maps with packed weights, for models that are not run as a whole."""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Callable

import torch
from torch import Tensor, nn

from onehop.runtime.library import Kernels
from onehop.runtime.packing import Packer


class PackedLinear(nn.Module):
    """`nn.Linear` by the kernels, float32 or int8.

    Args:
        linear: What it replaces; its weight stays, for those who ask for its type.
        kernels: What runs it.
        precision: `float32` or `int8`.
    """

    def __init__(self, linear: nn.Linear, kernels: Kernels, precision: str) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._library, self._packer = kernels.library, Packer(kernels, precision)
        self._matrix = self._packer.matrix(linear)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x (..., K)` to `(..., N)`."""
        flat = x.reshape(-1, self.in_features).contiguous()
        out = torch.empty(len(flat), self.out_features)
        threads, matrix = torch.get_num_threads(), ctypes.byref(self._matrix)
        self._library.linear(matrix, threads, flat.data_ptr(), len(flat), out.data_ptr())
        return out.view(*x.shape[:-1], self.out_features)


def with_parts(model: nn.Module, replace: Callable[[nn.Module], nn.Module | None]) -> nn.Module:
    """Return the model with parts replaced, the largest first; it shares its weights with the one given.

    Args:
        model: Stays as it is.
        replace: From a part to what comes in its place, or None where its own parts are to be asked for.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
        >>> with_parts(model, lambda part: nn.Identity() if type(part) is nn.Linear else None)
        Sequential(
          (0): Identity()
          (1): Tanh()
        )
    """
    found = replace(model)
    if found is not None:
        return found
    shared = {id(parameter): parameter for parameter in model.parameters()}
    twin = copy.deepcopy(model, shared)
    _replace_in(twin, replace)
    return twin


def _replace_in(module: nn.Module, replace: Callable[[nn.Module], nn.Module | None]) -> None:
    for name, child in list(module.named_children()):
        found = replace(child)
        if found is None:
            _replace_in(child, replace)
        else:
            setattr(module, name, found)
