"""Losses are sums; whoever accumulates divides once, by the count of the whole step."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


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
