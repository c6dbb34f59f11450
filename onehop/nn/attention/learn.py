"""Attention while a model learns on a processor: forward and back in kernels of our own, for sentences.

Torch has products of many small matrices, which copy queries, keys and values into an order of their own first, and
their gradients back; and a fused kernel that shares its work out by blocks of queries, of which a sentence has but one.
Here a thread takes whole heads: it reads them where the joint projection wrote them, keeps their weights for the way
back, and writes gradients beside each other, as that projection reads them.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from onehop.nn.kernels import TYPES, Dropping, drawn, kernels
from onehop.nn.masks import Mask

KEYS = {torch.float32: 256, torch.bfloat16: 128}  # read by a query, up to which torch's products are slower


class _Tensor(ctypes.Structure):
    _fields_ = [("at", ctypes.c_void_p), *[(name, ctypes.c_int64) for name in ("batch", "head", "row")]]


class _Job(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("type", "batch", "heads", "groups", "queries", "keys", "width")],
        *[(name, ctypes.c_int64) for name in ("value_width", "plans", "size")],
        ("scale", ctypes.c_float),
        ("dropping", Dropping),
        *[(name, ctypes.c_void_p) for name in ("plan", "ends", "ranges", "weights")],
        *[(name, _Tensor) for name in ("query", "key", "value", "bias", "out", "out_gradient")],
        *[(name, _Tensor) for name in ("query_gradient", "key_gradient", "value_gradient")],
        ("next", ctypes.c_long),
    ]


class Plan(NamedTuple):
    """Which queries are looked at together, by which keys they read; of every row, or one for all.

    Args:
        ranges: `(B or 1, T, 2)` int32: the first key that a query may read, and the first that it may not.
        blocks: As the kernels read them.
        ends: `(B or 1,)` int64: where the blocks of each row end.
        size: Weights of one head.
    """

    ranges: Tensor
    blocks: Tensor
    ends: Tensor
    size: int


def attend_learning(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Mask, dropout: float = 0.0) -> Tensor | None:
    """Return what `onehop.nn.attention.attend` does of a softmax of products, or None if it is nothing for the kernels.

    Args:
        q: `(B, H, T, K)`, float32 or bfloat16 on a processor.
        k: `(B, G, S, K)`, of the same type.
        v: `(B, G, S, V)`, of the same type.
        scale: Of the products.
        mask: What may be read.
        dropout: Share of the weights set to zero.

    Example:
        >>> q = torch.randn(1, 2, 3, 4, requires_grad=True)
        >>> context = attend_learning(q, q, q, 0.5, Mask())
        >>> context is None or context.shape == q.shape
        True
    """
    library = kernels() if _is_plain(q, k, v) and (mask.bias is None or not mask.bias.requires_grad) else None
    if library is None:
        return None
    T, S = q.size(2), k.size(2)
    plan = mask.once(("plan", T, S), lambda: _plan(library, mask, T, S))
    if plan is None or plan.size > KEYS[q.dtype] * T or len(plan.ends) not in (1, len(q)):
        return None
    bias = None if mask.bias is None else _close(mask.bias.float().expand(len(q), q.size(1), T, S))
    return _Attend.apply(_close(q), _close(k), _close(v), bias, scale, plan, drawn(dropout), library)  # type: ignore[no-any-return]


def _is_plain(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether the kernels read these; of what does not fit together, torch says what is wrong."""
    kind = q.device.type == "cpu" and q.dtype in KEYS
    alike = all(x.device == q.device and x.dtype == q.dtype and x.dim() == 4 for x in (q, k, v))
    if not kind or not alike or not q.numel() or not k.numel():
        return False
    fits = k.shape[:3] == v.shape[:3] and k.size(0) == q.size(0) and k.size(3) == q.size(3)
    return fits and q.size(1) % k.size(1) == 0


def _plan(library: Any, mask: Mask, T: int, S: int) -> Plan | None:
    ranges = mask.ranges(T, S)
    if ranges is None:
        return None
    rows = ranges.size(0)
    blocks, ends = torch.empty(rows * T, 6, dtype=torch.int64), torch.empty(rows, dtype=torch.int64)
    size = library.attend_plan(ranges.data_ptr(), rows, T, blocks.data_ptr(), ends.data_ptr())
    return Plan(ranges, blocks, ends, size)


def _close(x: Tensor) -> Tensor:
    """Return a tensor whose last axis has no gaps."""
    return x if x.stride(-1) == 1 else x.contiguous()


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        scale: float,
        plan: Plan,
        dropping: Dropping,
        library: Any,
    ) -> Tensor:
        (B, H, T, K), (_, G, S, V) = q.shape, v.shape
        weights, context = torch.empty(B * H * plan.size), _rows(q, H, T, V)
        ctx.job = job = _Job(
            TYPES[q.dtype], B, H, G, T, S, K, V, len(plan.ends), plan.size, scale, dropping,
            plan.blocks.data_ptr(), plan.ends.data_ptr(), plan.ranges.data_ptr(), weights.data_ptr(),
            _of(q), _of(k), _of(v), _Tensor() if bias is None else _of(bias), _of(context),
        )  # fmt: skip
        ctx.plan, ctx.library = plan, library
        ctx.save_for_backward(q, k, v, weights)
        library.attend_forward(ctypes.byref(job), torch.get_num_threads())
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        q, k, v, weights = ctx.saved_tensors
        job, grad = ctx.job, _close(grad)
        gradients = _beside_each_other(q, k, v)
        job.query, job.key, job.value, job.weights = _of(q), _of(k), _of(v), weights.data_ptr()
        job.out_gradient = _of(grad)
        job.query_gradient, job.key_gradient, job.value_gradient = map(_of, gradients)
        ctx.library.attend_backward(ctypes.byref(job), torch.get_num_threads())
        return *gradients, None, None, None, None, None


def _of(x: Tensor) -> _Tensor:
    return _Tensor(x.data_ptr(), *x.stride()[:3])


def _rows(like: Tensor, heads: int, length: int, width: int) -> Tensor:
    """Return room for `(B, heads, length, width)`, where the heads of a position stand together."""
    return like.new_empty(like.size(0), length, heads, width).transpose(1, 2)


def _beside_each_other(*tensors: Tensor) -> list[Tensor]:
    """Return room for tensors `(B, heads, length, width)`; what are parts of one's rows become such parts again."""
    found: list[Tensor] = []
    while len(found) < len(tensors):
        parts = [tensors[len(found)]]
        for x in tensors[len(found) + 1 :]:
            last = parts[-1]
            behind = last.data_ptr() + last.size(1) * last.size(3) * last.element_size()
            if x.data_ptr() != behind or x.size(2) != last.size(2) or x.stride(2) != last.stride(2):
                break
            parts.append(x)
        sizes = [x.size(1) * x.size(3) for x in parts]
        joint = parts[0].new_empty(parts[0].size(0), parts[0].size(2), sum(sizes))
        found += [
            one.unflatten(-1, (x.size(1), x.size(3))).transpose(1, 2)
            for one, x in zip(joint.split(sizes, -1), parts, strict=True)
        ]
    return found


class _Apart(torch.autograd.Function):
    """Parts of the last axis, whose gradients are not copied if they lie beside each other already."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:  # type: ignore[override]
        ctx.sizes = sizes
        ctx.set_materialize_grads(False)
        return x.split(sizes, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, None]:
        there = next((grad for grad in grads if grad is not None), None)
        if there is None:
            return None, None
        each = [
            there.new_zeros(*there.shape[:-1], size) if grad is None else grad
            for grad, size in zip(grads, ctx.sizes, strict=True)
        ]
        return _joined(each), None


def _joined(parts: list[Tensor]) -> Tensor:
    first, at = parts[0], parts[0].data_ptr()
    for part in parts:
        if part.data_ptr() != at or part.stride() != first.stride() or part.stride(-1) != 1 or part.requires_grad:
            return torch.cat(parts, -1)
        at += part.size(-1) * part.element_size()
    width = sum(part.size(-1) for part in parts)
    if first.untyped_storage().nbytes() < first.element_size() * (first.storage_offset() + width):
        return torch.cat(parts, -1)  # that they are neighbours is chance
    return first.as_strided((*first.shape[:-1], width), first.stride())


def apart(x: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """Return parts of the last axis, of these sizes, as `torch.split` does.

    Example:
        >>> [part.shape for part in apart(torch.zeros(2, 5), [2, 3])]
        [torch.Size([2, 2]), torch.Size([2, 3])]
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or not x.requires_grad:
        return x.split(sizes, -1)
    return _Apart.apply(x, sizes)  # type: ignore[no-any-return]
