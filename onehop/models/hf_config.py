"""Reading a `config.json` of `transformers`: what is wanted must be there, what is not done here must not be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onehop.errors import ModelError

WHERE = "config.json"
ACTIVATIONS = {
    "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu", "silu": "silu",
    "swish": "silu",
}  # fmt: skip


def wanted(config: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """Return a value, or its default where there is none.

    Raises:
        ModelError: It is not there, and has no default.
    """
    found = config.get(key)
    found = default if found is None else found
    if found is None:
        raise ModelError(f"no {key}", "Copy the checkpoint again.", WHERE)
    return found


def whole(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """Return a value that must be a whole number, or its default where there is none.

    Raises:
        ModelError: It is something else, or it is not there and has no default.
    """
    found = wanted(config, key, default)
    if type(found) is not int:
        raise ModelError(f"{key} is {str(found)[:80]!r}, not a whole number", "Copy the checkpoint again.", WHERE)
    return found


def read_names(
    config: Mapping[str, Any], names: Mapping[str, str], defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return settings under our names, `names` being theirs by ours.

    Raises:
        ModelError: One is not there, and has no default.
    """
    return {ours: wanted(config, theirs, (defaults or {}).get(ours)) for ours, theirs in names.items()}


def write_names(settings: Any, names: Mapping[str, str]) -> dict[str, Any]:
    """Return settings under their names: the inverse of `read_names`."""
    return {theirs: getattr(settings, ours) for ours, theirs in names.items()}


def refuse_unlike(config: Mapping[str, Any], known: Mapping[str, Any], path: str = "") -> None:
    """Refuse settings other than the known ones; what is left out is as known.

    Raises:
        ModelError: Names all of them.
    """
    unlike = [
        f"{path}{key}={config[key]!r}, not {value!r}" for key, value in known.items() if _unlike(config, key, value)
    ]
    if unlike:
        raise ModelError(f"what Onehop does not do: {'; '.join(unlike)}", "Use another checkpoint.", WHERE)


def _unlike(config: Mapping[str, Any], key: str, value: Any) -> bool:
    return config.get(key) is not None and config[key] != value


def activation(config: Mapping[str, Any], key: str) -> str:
    """Return our name of an activation.

    Raises:
        ModelError: It is another one.
    """
    name = wanted(config, key, "gelu")
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ModelError(f"{key}={name!r}, which Onehop does not do", f"It does {', '.join(ACTIVATIONS)}.", WHERE)
    return ACTIVATIONS[name]


def activation_name(name: str) -> str:
    """Return the name that `transformers` has for ours."""
    return next(theirs for theirs, ours in ACTIVATIONS.items() if ours == name)
