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


def with_linears(model: nn.Module, replace: Callable[[nn.Linear], nn.Module]) -> nn.Module:
    """Return the model with every plain linear map replaced; it shares its weights with the one given.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
        >>> with_linears(model, lambda linear: nn.Identity())
        Sequential(
          (0): Identity()
          (1): Tanh()
        )
    """
    shared = {id(parameter): parameter for parameter in model.parameters()}
    twin = copy.deepcopy(model, shared)
    for module in list(twin.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                setattr(module, name, replace(child))
    return twin
