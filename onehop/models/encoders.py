"""Encoders by name: a literal table, loaded when asked for, like that of the encoder-decoders beside it.

A family is one file: configuration, build, presets. What it builds reads a source into states that a pooling, or a
head for each token, goes on from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from torch import nn

from onehop.config import Table
from onehop.errors import ConfigError, nearest
from onehop.models.registry import settings_of
from onehop.nn.interfaces import Encoder


@runtime_checkable
class TextEncoder(Encoder, Protocol):
    """An encoder whose states are pooled; its class is an `nn.Module` as well.

    Attributes:
        dim: Width of its states.
        unit: What a state stands for: `words`, or `sentences` where `Source.segments` are the sentences of a document
            and there is a state for each. Others read several packed texts in a row, each a segment.
        two_ways: Whether the second half of a state read the text from its end.
    """

    dim: int
    unit: str
    two_ways: bool


@dataclass(frozen=True)
class EncoderFamily:
    """A family of encoders.

    Args:
        config: Its settings.
        build: From settings and the size of the vocabulary to a `TextEncoder`.
        presets: Overrides by name, as papers name them.
        axes: Values of each structural setting that the laws are tested over.
        unit: What a state stands for; see `TextEncoder`.
    """

    config: type[Table]
    build: Callable[[Any, int], nn.Module]
    presets: Mapping[str, Mapping[str, Any]]
    axes: Mapping[str, tuple[Any, ...]]
    unit: str = "words"


ENCODERS = {
    "recurrent": "onehop.models.recurrent_encoder:ENCODER",
    "transformer": "onehop.models.transformer_encoder:ENCODER",
    "hierarchical": "onehop.models.hierarchical:ENCODER",
    "convolutional": "onehop.models.convolutional:ENCODER",
    "bert": "onehop.models.bert:ENCODER",
    "roberta": "onehop.models.roberta:ENCODER",
    "distilbert": "onehop.models.distilbert:ENCODER",
    "electra": "onehop.models.electra:ENCODER",
    "modernbert": "onehop.models.modernbert:ENCODER",
}


def encoder_family(name: str) -> EncoderFamily:
    """Return the family of that name.

    Raises:
        ConfigError: No such family.

    Example:
        >>> encoder_family("hierarchical").unit
        'sentences'
    """
    if name in ENCODERS:
        module, _, attribute = ENCODERS[name].partition(":")
        return getattr(import_module(module), attribute)
    hint = nearest(name, ENCODERS) or f"known: {', '.join(ENCODERS)}"
    raise ConfigError(f"unknown architecture of an encoder {name!r}", hint, "model.architecture")


def configure_encoder(name: str, settings: Mapping[str, Any], where: str = "") -> Table:
    """Return the settings of a family: a preset's, if `settings` has the key `preset`, and the rest over it.

    Raises:
        ConfigError: An unknown name or key, or settings that do not fit together.

    Example:
        >>> configure_encoder("hierarchical", {"preset": "han"}).hidden_dim
        100
    """
    family = encoder_family(name)
    return settings_of(family.config, family.presets, settings, where)


def build_encoder(name: str, settings: Mapping[str, Any], vocab_size: int) -> Any:
    """Build an encoder with fresh weights, drawn from torch's global generator.

    Args:
        name: The family.
        settings: As in a recipe's `[model]` table: a `preset`, or single keys, or both.
        vocab_size: In tokens.

    Raises:
        ConfigError: An unknown name or key, or settings that do not fit together.

    Example:
        >>> build_encoder("recurrent", {"hidden_dim": 32}, vocab_size=100).dim
        32
    """
    return encoder_family(name).build(configure_encoder(name, settings), vocab_size)
