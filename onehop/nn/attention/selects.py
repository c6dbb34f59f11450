"""From scores to weights, over the last axis."""

from __future__ import annotations

from torch import Tensor


def soft(scores: Tensor) -> Tensor:
    """Give every key a positive weight: the softmax (Bahdanau 2014, equation 6)."""
    return scores.softmax(-1)
