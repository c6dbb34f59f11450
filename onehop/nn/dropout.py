"""Dropout (Srivastava 2014), with cheap random numbers on a processor.

torch draws a float for each number on a processor, which takes a tenth of a small model's step. Sixteen bits are
enough: the share is rounded to a multiple of 2^-16. A kernel hashes the place of a number with a seed that the
generator draws, so that it keeps no mask; without kernels one draw of the generator decides four numbers.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from onehop.nn.kernels import LEVELS, TYPES, Dropping, drawn, kernels


def keep_mask(shape: torch.Size, p: float) -> Tensor:
    """Return a bool mask on the processor, True with probability `1 - p`, rounded to a multiple of 2^-16.

    Example:
        >>> round(float(keep_mask(torch.Size([1000, 1000]), 0.25).float().mean()), 2)
        0.75
    """
    count = shape.numel()
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(1 << 63), None).view(torch.int16)
    return (bits[:count] >= round(p * LEVELS) - LEVELS // 2).view(shape)


class _Dropout(torch.autograd.Function):
    """`x * mask / (1 - p)`, keeping a byte for each number for the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:  # type: ignore[override]
        mask = keep_mask(x.shape, p).view(torch.uint8)  # of which torch makes numbers faster than of a bool
        ctx.save_for_backward(mask)
        ctx.scale = 1 / (1 - p)
        return _scaled(x, mask, ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (mask,) = ctx.saved_tensors
        return _scaled(grad, mask, ctx.scale), None


def _scaled(x: Tensor, mask: Tensor, scale: float) -> Tensor:
    """Return `x * mask * scale`."""
    return torch.addcmul(x.new_zeros(()), x, mask, value=scale)


class _Strip(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("type", "to_type", "count")],
        ("dropping", Dropping),
        *[(name, ctypes.c_void_p) for name in ("source", "base", "to")],
        ("next", ctypes.c_long),
    ]


def _drop(library: Any, x: Tensor, dropping: Dropping, base: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Return `base` and what is left of `x`, or only that."""
    x = x.contiguous()
    to = torch.empty_like(x, dtype=dtype)
    above = None if base is None else base.data_ptr()
    strip = _Strip(TYPES[x.dtype], TYPES[dtype], x.numel(), dropping, x.data_ptr(), above, to.data_ptr())
    library.drop(ctypes.byref(strip), torch.get_num_threads())
    return to


class _Kernel(torch.autograd.Function):
    """`base + x * mask / (1 - p)`, whose mask is worked out again on the way back."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, base: Tensor | None, p: float, library: Any
    ) -> Tensor:
        ctx.dropping, ctx.dtype, ctx.based, ctx.library = drawn(p), x.dtype, base is not None, library
        base = None if base is None else base.contiguous()
        return _drop(library, x, ctx.dropping, base, x.dtype if base is None else base.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return _drop(ctx.library, grad, ctx.dropping, None, ctx.dtype), grad if ctx.based else None, None, None


def _kernels(*tensors: Tensor) -> Any:
    """Return the kernels, if there are any and they read these."""
    return kernels() if all(x.device.type == "cpu" and x.dtype in TYPES for x in tensors) else None


def dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """Set a share `p` of the numbers to zero in training and scale the others by `1 / (1 - p)`.

    Args:
        x: Any shape.
        p: In [0, 1).
        training: False leaves `x` as it is.

    Example:
        >>> sorted(set(dropout(torch.ones(1000), 0.5).tolist()))
        [0.0, 2.0]
    """
    if not training or p < 0.5 / LEVELS:
        return x
    if x.device.type != "cpu" or not x.is_floating_point() or torch.compiler.is_compiling():
        return F.dropout(x, p)
    library = _kernels(x)
    if library is not None:
        return _Kernel.apply(x, None, p, library)  # type: ignore[no-any-return]
    return _Dropout.apply(x, p)  # type: ignore[no-any-return]


class Dropout(nn.Module):
    """`dropout` as a module.

    Args:
        p: Share of the numbers set to zero in training.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop in training, and only there."""
        return dropout(x, self.p, self.training)

    def onto(self, base: Tensor, x: Tensor) -> Tensor:
        """Return `base + self(x)`, where kernels are at hand in one pass."""
        drops = self.training and self.p >= 0.5 / LEVELS and base.shape == x.shape
        wide = torch.promote_types(base.dtype, x.dtype) == base.dtype
        library = _kernels(base, x) if drops and wide else None
        if library is not None:
            return _Kernel.apply(x, base, self.p, library)  # type: ignore[no-any-return]
        return base + self(x)


def word_dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """Set whole words to zero: each `(D,)` of `x (B, T, D)` with probability `p`, the others unscaled.

    A model that must do without some words leans less on any one (Sennrich 2016, "Edinburgh Neural Machine Translation
    Systems for WMT 16", section 2.3).
    """
    if not training or p == 0.0:
        return x
    return x * (torch.rand(x.shape[:-1], device=x.device) >= p).unsqueeze(-1)
