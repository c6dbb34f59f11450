"""Settings that change nothing beside the others: legal, and most likely not what their writer meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onehop.config import Table

LOCAL = ("local-m", "local-p", "local-p-rounded")
ROTARY = {"positions": ("rotary",)}
NEEDS: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {  # family, key: what must stand in one of these others
    "transformer": {
        "cross_window": {"cross_region": LOCAL},
        "gumbel_temperature": {"select": ("gumbel",), "cross_select": ("gumbel",)},
        "hard_expected": {"cross_select": ("hard",)},
        "max_positions": {"positions": ("learned",), "score": ("location",), "cross_score": ("location",)},
        "rotary_base": ROTARY,
        "rotary_factor": ROTARY,
        "rotary_scaling": ROTARY,
    },
    "recurrent": {
        "window": {"region": LOCAL},
        "gumbel_temperature": {"select": ("gumbel",)},
        "hard_expected": {"select": ("hard",)},
        "max_positions": {"score": ("location",)},
        "attention_dropout": {"context": ("attention",)},
    },
}


def without_effect(family: str, settings: Table) -> list[str]:
    """Return a sentence for each setting that was changed and changes nothing, as what it belongs to is not there.

    Args:
        family: As in the registry.
        settings: Of a model of it, resolved.

    Example:
        >>> configure = onehop.models.registry.configure
        >>> without_effect("transformer", configure("transformer", {"rotary_factor": 2.0}))
        ["rotary_factor=2.0 has no effect without positions='rotary'"]
        >>> without_effect("transformer", configure("transformer", {"rotary_factor": 2.0, "positions": "rotary"}))
        []
    """
    fields = type(settings).model_fields
    return [
        f"{key}={getattr(settings, key)!r} has no effect without {_listed(others)}"
        for key, others in NEEDS.get(family, {}).items()
        if getattr(settings, key) != fields[key].default
        and not any(getattr(settings, name) in values for name, values in others.items())
    ]


def _listed(needs: Mapping[str, tuple[Any, ...]]) -> str:
    return " or ".join(f"{name}={value!r}" for name, values in needs.items() for value in values)
