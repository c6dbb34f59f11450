"""Losses are sums; whoever accumulates divides once, by the count of the whole step."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from onehop.nn.kernels import TYPES, kernels
from onehop.nn.linear import product, products, turned, weight_gradient

ROWS = 256  # whose logits are computed at once, even: in float32, few enough to stay in the processor's cache
STEP = 64  # rows in bfloat16 are a multiple of
Rows = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


def cross_entropy(
    logits: Float[Tensor, "N V"], targets: Int[Tensor, " N"], smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Return the summed cross-entropy, in nats, against targets smoothed over the vocabulary (Szegedy 2016).

    Args:
        logits: Not normalised.
        targets: Token of each row.
        smoothing: Share of the target's mass that is spread evenly over all V tokens; 0.1 in Vaswani 2017.

    Example:
        >>> cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]))
        tensor(2.7726)
    """
    return F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum")


def linear_cross_entropy(
    hidden: Float[Tensor, "N D"],
    weight: Float[Tensor, "V D"],
    bias: Float[Tensor, " V"] | None,
    targets: Int[Tensor, " N"],
    smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Return `cross_entropy(hidden @ weight.T + bias, ...)` without ever holding all logits.

    The gradient of a few rows is computed beside their loss, while their logits are in the cache, so that neither
    logits nor their gradients of the whole batch are written to memory: half the time of a small model's step. Under
    autocast, the products run in its precision; sums stay in float32.

    Args:
        hidden: What meets the vocabulary.
        weight: Of the last linear map.
        bias: Of the last linear map, if it has one.
        targets: Token of each row.
        smoothing: As in `cross_entropy`.

    Example:
        >>> linear_cross_entropy(torch.ones(2, 3), torch.zeros(4, 3), None, torch.tensor([0, 3]))
        tensor(2.7726)
    """
    return _Fused.apply(hidden, weight, bias, targets, smoothing, _cross_entropy_rows, True)  # type: ignore[no-any-return]


@torch.no_grad()
def token_losses(
    hidden: Float[Tensor, "N D"],
    weight: Float[Tensor, "V D"],
    bias: Float[Tensor, " V"] | None,
    targets: Int[Tensor, " N"],
    smoothing: float = 0.0,
) -> Float[Tensor, " N"]:
    """Return what each row adds to `linear_cross_entropy`, without a gradient, over chunks of rows.

    Args:
        hidden: What meets the vocabulary.
        weight: Of the last linear map.
        bias: Of the last linear map, if it has one.
        targets: Token of each row.
        smoothing: As in `cross_entropy`.

    Example:
        >>> token_losses(torch.ones(2, 3), torch.zeros(4, 3), None, torch.tensor([0, 3]))
        tensor([1.3863, 1.3863])
    """
    found = [weight.new_zeros(0)]
    for start in range(0, len(hidden), ROWS):
        chunk = slice(start, start + ROWS)
        logits = F.linear(hidden[chunk], weight, bias).to(weight.dtype)
        found.append(F.cross_entropy(logits, targets[chunk], label_smoothing=smoothing, reduction="none"))
    return torch.cat(found)


def linear_r_drop(
    hidden: Float[Tensor, "N 2 D"],
    weight: Float[Tensor, "V D"],
    bias: Float[Tensor, " V"] | None,
    targets: Int[Tensor, " N"],
    smoothing: float,
    alpha: float,
) -> Float[Tensor, ""]:
    """Return the loss of R-Drop (Liang 2021), equation 4, halved, over chunks of rows as `linear_cross_entropy`.

    The halves of each pair are the same position under two draws of dropout: the mean of their cross-entropies, and
    `alpha / 4` times the sum of the two Kullback-Leibler divergences between them.

    Args:
        hidden: Both passes of each position.
        weight: Of the last linear map.
        bias: Of the last linear map, if it has one.
        targets: Token of each pair.
        smoothing: As in `cross_entropy`.
        alpha: The paper's; 5 there for translation.

    Example:
        >>> linear_r_drop(torch.ones(1, 2, 3), torch.zeros(4, 3), None, torch.tensor([3]), 0.0, 5.0)
        tensor(1.3863)
    """
    rows = partial(_r_drop_rows, alpha=alpha)
    both = targets.repeat_interleave(2)
    return _Fused.apply(hidden.flatten(0, 1), weight, bias, both, smoothing, rows, False) / 2  # type: ignore[no-any-return]


class _Fused(torch.autograd.Function):
    """Loss and gradients of a linear map and what follows it, in one pass over chunks of rows.

    `rows(logits, targets, share)` returns a loss, and its gradient by the logits, whose memory it may use, both without
    the part of the smoothed targets that is the same for every token: that is a sum over all rows, and needs no pass
    over the logits. `inside`: it computes in the precision of the logits, so that of half of it twice the rows fit.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        smoothing: float,
        rows: Rows,
        inside: bool,
    ) -> Tensor:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        gradients = _Gradients(hidden, weight, bias) if any(ctx.needs_input_grad) else None
        total, spread = weight.new_zeros(()), smoothing / len(weight)
        with torch.autocast(kind, enabled=False):
            narrow, offset = weight.to(dtype), None if bias is None else bias.to(dtype)
            library = products(hidden, weight) if dtype == weight.dtype else None
            across = None if library is None else turned(library, weight)
            size = ROWS * 4 // dtype.itemsize if inside else ROWS
            most = min(size, len(hidden) + _missing(len(hidden), dtype))
            room = weight.new_empty(most, len(weight), dtype=dtype)  # for every chunk's logits
            for start in range(0, len(hidden), size):
                chunk = slice(start, start + size)
                states = _stepped(hidden[chunk].to(dtype))
                here = room[: len(states)]
                here = (
                    torch.mm(states, narrow.T, out=here)
                    if across is None
                    else product(library, states, across, out=here)
                )
                logits = here[: len(hidden[chunk])]
                if offset is not None:
                    logits += offset
                loss, grad = rows(logits, targets[chunk, None], 1 - smoothing)
                total += loss
                if gradients:
                    gradients.add(chunk, states, narrow, _stepped(grad.to(dtype)), library)
            if spread:
                total -= spread * _sum_of_logits(hidden, weight, bias)
            if gradients and spread:
                gradients.spread(hidden, weight, spread)
        ctx.gradients = gradients
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> Any:  # type: ignore[override]
        held: _Gradients = ctx.gradients
        gradients = [None if grad is None else grad * outer[0] for grad in (held.hidden, held.weight, held.bias)]
        return *gradients, None, None, None, None


def _stepped(x: Tensor) -> Tensor:
    """Return rows up to a multiple of `STEP`, zeros at the end: torch compiles a product in bfloat16 for each size."""
    missing = _missing(len(x), x.dtype)
    return F.pad(x, (0, 0, 0, missing)) if missing else x


def _missing(rows: int, dtype: torch.dtype) -> int:
    return -rows % STEP if dtype == torch.bfloat16 else 0


def _sum_of_logits(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the sum of all logits, which needs none of them: a linear map of a sum is the sum of linear maps."""
    total = hidden.sum(0, dtype=weight.dtype) @ weight.sum(0)
    return total if bias is None else total + len(hidden) * bias.sum()


class _Gradients:
    """Gradients for hidden states, weight and bias, gathered chunk by chunk."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        self.hidden = torch.empty_like(hidden, memory_format=torch.contiguous_format)
        self.weight = torch.zeros_like(weight)
        self.bias = None if bias is None else torch.zeros_like(bias)

    def add(self, chunk: slice, states: Tensor, weight: Tensor, grad: Tensor, library: Any) -> None:
        """Add what a chunk's gradient by its logits means; in kernels, if there are any for these products."""
        hidden = self.hidden[chunk]
        if library is not None:
            product(library, grad, weight, out=hidden)
            self.weight += weight_gradient(library, grad, states)
        elif grad.dtype == self.weight.dtype:
            torch.mm(grad[: len(hidden)], weight, out=hidden)
            self.weight.addmm_(grad.T, states)
        else:  # torch multiplies into its own precision only
            hidden.copy_((grad @ weight)[: len(hidden)])
            self.weight += grad.T @ states
        if self.bias is not None:
            self.bias += grad.sum(0, dtype=self.bias.dtype)

    def spread(self, hidden: Tensor, weight: Tensor, share: float) -> None:
        """Subtract the gradient of `share` times the sum of all logits."""
        self.hidden -= share * weight.sum(0)
        self.weight -= share * hidden.sum(0, dtype=weight.dtype)
        if self.bias is not None:
            self.bias -= share * len(hidden)


class _Losses(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("type", "rows", "size", "row", "paired")],
        *[(name, ctypes.c_float) for name in ("share", "alpha")],
        *[(name, ctypes.c_void_p) for name in ("logits", "targets", "losses")],
        ("next", ctypes.c_long),
    ]


def _in_kernels(logits: Tensor, targets: Tensor, share: float, alpha: float | None) -> tuple[Tensor, Tensor] | None:
    """Return loss and gradient by kernels, with R-Drop's `alpha` of pairs of rows; None where there are none."""
    plain = logits.device.type == "cpu" and logits.dtype in TYPES and logits.stride(1) == 1 and logits.numel()
    library = kernels() if plain else None
    if library is None or not bool(((targets >= 0) & (targets < logits.size(1))).all()):
        return None  # torch says what is wrong with a target outside of the vocabulary
    chosen, losses = targets.contiguous(), torch.empty(len(logits))
    job = _Losses(
        TYPES[logits.dtype], *logits.shape, logits.stride(0), alpha is not None, share, alpha or 0.0,
        logits.data_ptr(), chosen.data_ptr(), losses.data_ptr(),
    )  # fmt: skip
    library.losses(ctypes.byref(job), torch.get_num_threads())
    return losses.sum(), logits


def _cross_entropy_rows(logits: Tensor, targets: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return `-share * log p(target)`, summed, where the rest of the share is spread, and its gradient."""
    found = _in_kernels(logits, targets, share, None)
    if found is not None:
        return found
    wide = torch.promote_types(logits.dtype, torch.float32)
    chosen, largest = logits.gather(1, targets), _largest(logits).to(wide)
    probs = torch.softmax(logits, 1, out=logits)
    # the largest probability is at least 1 / V, so its logarithm is safe, which that of the target's is not
    norm = largest - _largest(probs).to(wide).log()
    rows = torch.arange(len(probs), device=probs.device)
    probs[rows, targets.squeeze(1)] -= share  # torch's scatter copies all of bfloat16 into float32 and back
    return norm.sum() - share * chosen.sum(dtype=wide), probs


def _largest(x: Tensor) -> Tensor:
    """Return each row's largest number. In bfloat16, by its bits: those of numbers that are not negative count up."""
    if x.dtype == torch.bfloat16 and x.device.type == "cpu":
        bits = x.view(torch.int16).amax(1)
        if not (bits < 0).any():  # a row whose numbers are all negative has none
            return bits.view(x.dtype)
    return x.amax(1)


def _r_drop_rows(logits: Tensor, targets: Tensor, share: float, alpha: float) -> tuple[Tensor, Tensor]:
    """Return the same with `alpha / 2` times both divergences between rows `2i` and `2i + 1`, and its gradient."""
    found = _in_kernels(logits, targets, share, alpha)
    if found is not None:
        return found
    wide = torch.promote_types(logits.dtype, torch.float32)
    logs = logits.log_softmax(1, dtype=wide)
    loss = -share * logs.gather(1, targets).sum() + (share - 1) * (logs[:, 0] - logits[:, 0]).sum()
    grad = logs.exp()
    p, q = grad.view(-1, 2, grad.size(1)).unbind(1)
    gap = logs[0::2] - logs[1::2]
    there, back = (p * gap).sum(1, keepdim=True), -(q * gap).sum(1, keepdim=True)  # KL(p, q), KL(q, p)
    loss += alpha / 2 * (there.sum() + back.sum())
    apart = p - q
    for_p = p * (gap - there) + apart
    for_q = q * (-gap - back) - apart
    p.add_(for_p, alpha=alpha / 2)
    q.add_(for_q, alpha=alpha / 2)
    grad.scatter_add_(1, targets, grad.new_full(targets.shape, -share))
    return loss, grad
