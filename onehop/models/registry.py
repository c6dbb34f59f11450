"""The families by name: a literal table, loaded when asked for.

Another package adds a family through the entry-point group `onehop.architectures`; each entry is an `Architecture`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol

from torch import nn

from onehop.config import Table, validate
from onehop.errors import ConfigError, nearest
from onehop.nn.interfaces import Decoder, Encoder


class EncoderDecoder(Encoder, Decoder, Protocol):
    """A model that reads a source and writes a target; its class is an `nn.Module` as well."""


@dataclass(frozen=True)
class Architecture:
    """A family of models.

    Args:
        config: Its settings.
        build: From settings, the source's vocabulary size and the target's (None: both share one) to a model.
        presets: Overrides by name, as papers name them.
        axes: Values of each structural setting that the laws are tested over.
    """

    config: type[Table]
    build: Callable[[Any, int, int | None], nn.Module]
    presets: Mapping[str, Mapping[str, Any]]
    axes: Mapping[str, tuple[Any, ...]]


ARCHITECTURES = {
    "transformer": "onehop.models.transformer:ARCHITECTURE",
    "recurrent": "onehop.models.recurrent:ARCHITECTURE",
}


def names() -> list[str]:
    """Return the names of all families, ours first."""
    return [*ARCHITECTURES, *(entry.name for entry in entry_points(group="onehop.architectures"))]


def architecture(name: str) -> Architecture:
    """Return the family of that name.

    Example:
        >>> sorted(architecture("transformer").presets)[:2]
        ['transformer-base', 'transformer-big']
    """
    if name in ARCHITECTURES:
        module, _, attribute = ARCHITECTURES[name].partition(":")
        return getattr(import_module(module), attribute)
    for entry in entry_points(group="onehop.architectures"):
        if entry.name == name:
            return entry.load()
    hint = nearest(name, names()) or f"known: {', '.join(names())}"
    raise ConfigError(f"unknown architecture {name!r}", hint, "model.architecture")


def configure(name: str, settings: Mapping[str, Any], where: str = "") -> Table:
    """Return the settings of a family: a preset's, if `settings` has the key `preset`, and the rest over it."""
    family = architecture(name)
    return settings_of(family.config, family.presets, settings, where)


def settings_of(
    config: type[Table], presets: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any], where: str = ""
) -> Table:
    """Return settings of a family's class: those of the preset that `settings` names, and the rest over them."""
    settings = dict(settings)
    preset = settings.pop("preset", None)
    if preset is not None and not (isinstance(preset, str) and preset in presets):
        hint = nearest(str(preset), presets) or f"known: {', '.join(presets)}"
        raise ConfigError(
            f"unknown preset {preset!r}; {hint}", "", f"{where}: model.preset" if where else "model.preset"
        )
    base = presets[preset] if preset is not None else {}
    return validate(config, {**base, **settings}, where or "model", "model.")


def build(name: str, settings: Mapping[str, Any], source_vocab: int, target_vocab: int | None = None) -> Any:
    """Build a model of a family with fresh weights, drawn from torch's global generator.

    Args:
        name: The family.
        settings: As in a recipe's `[model]` table: a `preset`, or single keys, or both.
        source_vocab: Size of the source's vocabulary, in tokens.
        target_vocab: Size of the target's; None when both sides share one vocabulary.

    Raises:
        ConfigError: An unknown name or key, or settings that do not fit together.

    Example:
        >>> model = build("transformer", {"preset": "transformer-tiny"}, source_vocab=1000)
        >>> sum(p.numel() for p in model.parameters())
        1446912
    """
    return architecture(name).build(configure(name, settings), source_vocab, target_vocab)
