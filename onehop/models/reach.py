"""How many positions a model has learnt: of those that keep a vector for each, and of no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onehop.errors import ConfigError


def reach(family: str, settings: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return the most tokens, end mark included, that a model reads of a source and of a target; None: any number.

    A target has one fewer than there are positions, since what came to no end is scored with an end mark behind it.

    Args:
        family: As in the registry.
        settings: Of a model of it, resolved.

    Example:
        >>> reach("transformer", {"positions": "learned", "max_positions": 65})
        (65, 64)
        >>> reach("recurrent", {"score": "location", "max_positions": 65}), reach("recurrent", {"score": "dot"})
        ((65, None), (None, None))
    """
    most = settings.get("max_positions")
    own = settings.get("positions") == "learned" or (family == "transformer" and settings.get("score") == "location")
    cross = "location" in (settings.get("score"), settings.get("cross_score"))
    return most if own or cross else None, most - 1 if own and most is not None else None


def within_reach(max_length: int, asked: bool, model: Mapping[str, Any], *, writes: bool) -> int:
    """Return the longest text that a model is to be trained on, without its end mark.

    Args:
        max_length: What the text, or the person, wants.
        asked: Whether the person does, so that less will not do.
        model: A recipe's `[model]` table, resolved.
        writes: Whether it also writes texts of that length.

    Raises:
        ConfigError: The model's positions do not hold it.

    Example:
        >>> learned = {"architecture": "transformer", "positions": "learned", "max_positions": 60}
        >>> within_reach(64, False, learned, writes=True)
        58
    """
    source, target = reach(model["architecture"], model)
    known = target if writes and target is not None else source
    if known is None or max_length < known:
        return max_length
    if asked or known < 2:
        problem = f"max_positions={model['max_positions']} for texts of up to {max_length} tokens and their marks"
        least = max_length + 1 + model["max_positions"] - known
        raise ConfigError(problem, f"Use at least {least}, or a smaller text.max_length.", "model.max_positions")
    return known - 1
