"""Losses are sums; whoever accumulates divides once, by the count of the whole step."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

ROWS = 256  # logits computed at once: few enough to stay in the processor's cache


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
    logits nor their gradients of the whole batch are written to memory: half the time of a small model's step.

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
    return _LinearCrossEntropy.apply(hidden, weight, bias, targets, smoothing)  # type: ignore[no-any-return]


class _LinearCrossEntropy(torch.autograd.Function):
    """Loss and gradients in one pass over chunks of rows."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, smoothing: float
    ) -> Tensor:
        learn = any(ctx.needs_input_grad)
        total = hidden.new_zeros(())
        hidden_grad = torch.empty_like(hidden) if learn else None
        weight_grad = torch.zeros_like(weight) if learn else None
        bias_grad = torch.zeros_like(bias) if learn and bias is not None else None
        for start in range(0, len(hidden), ROWS):
            rows, chosen = hidden[start : start + ROWS], targets[start : start + ROWS, None]
            logits = F.linear(rows, weight, bias)
            norm = logits.logsumexp(1, keepdim=True)
            total += norm.sum() - (1 - smoothing) * logits.gather(1, chosen).sum()
            if smoothing:
                total -= smoothing / len(weight) * logits.sum()
            if hidden_grad is None or weight_grad is None:
                continue
            grad = logits.sub_(norm).exp_()  # softmax less the smoothed target is the gradient of the logits
            if smoothing:
                grad -= smoothing / len(weight)
            grad.scatter_add_(1, chosen, grad.new_full(chosen.shape, smoothing - 1))
            torch.mm(grad, weight, out=hidden_grad[start : start + ROWS])
            weight_grad.addmm_(grad.T, rows)
            if bias_grad is not None:
                bias_grad += grad.sum(0)
        ctx.gradients = hidden_grad, weight_grad, bias_grad
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> Any:  # type: ignore[override]
        gradients = [None if grad is None else grad * outer[0] for grad in ctx.gradients]
        return *gradients, None, None
