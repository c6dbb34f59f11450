"""Length penalties: how the log-probability of a hypothesis becomes its score.

Each takes the summed log-probability (nats) and the length (tokens, the end mark included), numbers or tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onehop.errors import ConfigError

Penalty = Callable[[Any, Any], Any]


def none(log_prob: Any, length: Any) -> Any:
    """Return the log-probability itself, which favours short hypotheses."""
    return log_prob


def average(log_prob: Any, length: Any) -> Any:
    """Return the log-probability of a token, on average."""
    return log_prob / length


def wu(alpha: float) -> Penalty:
    """Return `log_prob / ((5 + length) / 6)^alpha` (Wu 2016, equation 14); 0.6 in Vaswani 2017."""

    def score(log_prob: Any, length: Any) -> Any:
        return log_prob / ((5 + length) / 6) ** alpha

    return score


PENALTIES = ("wu", "average", "none")


def penalty(name: str, alpha: float) -> Penalty:
    """Return the penalty of that name; `alpha` is used by `wu` alone.

    Example:
        >>> penalty("average", 1.0)(-6.0, 3)
        -2.0
    """
    if name == "wu":
        return wu(alpha)
    if name == "average":
        return average
    if name == "none":
        return none
    raise ConfigError(
        f"unknown length penalty {name!r}", f"Use one of {', '.join(PENALTIES)}.", "decode.length_penalty"
    )
