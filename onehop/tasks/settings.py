"""What a translation package remembers besides its weights: the part of `onehop.json` that is not hashes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from onehop.config import Table

Long = Literal["error", "drop", "cut"]
Precision = Literal["float32", "float16", "int8"]


class DecodeConfig(Table):
    """How targets are searched for: the recipe's `[decode]` table."""

    beam_size: int = Field(default=4, ge=1, le=64, description="Hypotheses followed at once; 1 is greedy search.")
    length_penalty: Literal["wu", "average", "none"] = Field(default="wu", description="From log-probability to score.")
    alpha: float = Field(default=0.6, ge=0, description="Exponent of wu.")
    min_length: int = Field(default=0, ge=0, description="Fewest target tokens.")
    max_length: int | None = Field(
        default=None, ge=1, description="Most target tokens, end mark included; default: twice the source and 50."
    )
    stop: Literal["count", "bound"] = Field(
        default="count", description="When a search is over; see onehop.decode.Rules."
    )
    batch_tokens: int = Field(default=2048, ge=1, description="Source tokens decoded at once, padding included.")


class TextLimits(Table):
    """What the model was trained on."""

    max_length: int = Field(ge=1, description="Most tokens of a line, on either side, without the end mark.")
    sentences: bool = Field(description="Whether its lines were single sentences, so that paragraphs are split.")


class TranslationSettings(Table):
    """Everything about a translation model but weights and tokenizers."""

    architecture: str
    model: dict[str, Any] = Field(description="The family's settings, resolved.")
    text: TextLimits
    decode: DecodeConfig = DecodeConfig()
    source_language: str = Field(default="", description="ISO code, or empty.")
    target_language: str = Field(default="", description="ISO code, or empty.")
    license: str = Field(default="", description="Licence of the training data.")
    attribution: str = Field(default="", description="Notice that the data's licence asks for.")
