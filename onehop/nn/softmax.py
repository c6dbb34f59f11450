"""The softmax of a few numbers, as a sentence's attention needs it: torch's is written for rows longer than a vector.

On a processor torch takes the softmax of a row that is shorter than its vectors number by number: of twelve keys seven
times as slow, forward and backward, as of sixteen (measured with AVX-512). In bfloat16 a vector holds twice as many.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LANES = {"AVX512": 16, "AVX2": 8}.get(torch.backends.cpu.get_cpu_capability(), 4)  # floats of one of torch's vectors


def softmax(x: Tensor) -> Tensor:
    """Return the softmax over the last axis; half precisions with few numbers are computed in float32 on the way.

    Args:
        x: Any shape.

    Example:
        >>> softmax(torch.tensor([0.0, 0.0]))
        tensor([0.5000, 0.5000])
    """
    size = x.size(-1) if x.dim() and x.is_floating_point() and x.device.type == "cpu" else 0
    if not 0 < size * x.element_size() < 4 * LANES or torch.compiler.is_compiling():
        return x.softmax(-1)
    wide = x if x.element_size() >= 4 else x.float()
    found = wide.softmax(-1) if size >= LANES else _Short.apply(wide)
    return found.to(x.dtype)  # type: ignore[no-any-return]


class _Short(torch.autograd.Function):
    """The definition, by operations that run over all rows at once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        parts = (x - x.amax(-1, keepdim=True)).exp_()
        weights = parts.div_(parts.sum(-1, keepdim=True))
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        (weights,) = ctx.saved_tensors
        inner = grad * weights
        return torch.addcmul(inner, weights, inner.sum(-1, keepdim=True), value=-1)
