"""What a translation package remembers besides its weights: the part of `onehop.json` that is not hashes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from onehop.config import Table

Long = Literal["error", "drop", "cut", "window"]
PairLong = Literal["error", "drop", "cut"]  # the halves of a pair's two sides need not correspond: it has no windows
Precision = Literal["float32", "float16", "int8"]

FILTERS = ("temperature", "top_k", "top_p", "min_p")  # what `decode.sample` alone uses


class DecodeConfig(Table):
    """How targets are searched for or drawn: the recipe's `[decode]` table."""

    beam_size: int = Field(default=4, ge=1, le=64, description="Hypotheses followed at once; 1 is greedy search.")
    length_penalty: Literal["wu", "average", "none"] = Field(default="wu", description="From log-probability to score.")
    alpha: float = Field(default=0.6, ge=0, description="Exponent of wu.")
    min_length: int = Field(default=0, ge=0, description="Fewest target tokens.")
    max_length: int | None = Field(
        default=None,
        ge=1,
        le=1 << 16,
        description="Most target tokens, end mark included; default: twice the source and 50.",
    )
    stop: Literal["count", "bound"] = Field(
        default="count", description="When a search is over; see onehop.decode.Rules."
    )
    no_repeat_ngram: int = Field(
        default=0, ge=0, description="Tokens in a row that no target holds twice; 0: no such rule."
    )
    sample: bool = Field(default=False, description="Draw targets at random instead of searching for the best.")
    temperature: float = Field(default=1.0, gt=0, description="Of sampling: below 1 sharper, above 1 flatter.")
    top_k: int = Field(default=0, ge=0, description="Sample from so many tokens, the most probable; 0: from all.")
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="Sample from the fewest tokens that have this probability; 1: from all."
    )
    min_p: float = Field(
        default=0.0, ge=0, le=1, description="Sample from tokens with this share of the largest probability; 0: all."
    )
    seed: int = Field(default=1, ge=0, description="Of sampling.")
    batch_tokens: int = Field(default=2048, ge=1, description="Source tokens decoded at once, padding included.")

    @model_validator(mode="after")
    def _samples_or_searches(self) -> DecodeConfig:
        given = [key for key in FILTERS if getattr(self, key) != type(self).model_fields[key].default]
        if given and not self.sample:
            values = ", ".join(f"{key}={getattr(self, key)}" for key in given)
            raise ValueError(f"{values}: only sampling uses this; set decode.sample = true, or leave it out")
        return self

    def searched(self, beam_size: int) -> DecodeConfig:
        """Return the same settings for a search with this beam, without what shapes samples.

        Example:
            >>> DecodeConfig(sample=True, top_p=0.9, alpha=1.0).searched(1)
            DecodeConfig(beam_size=1, length_penalty='wu', alpha=1.0, min_length=0, max_length=None, stop='count',
            no_repeat_ngram=0, sample=False, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, seed=1, batch_tokens=2048)
        """
        neutral = {key: type(self).model_fields[key].default for key in FILTERS}
        return self.model_copy(update={**neutral, "sample": False, "beam_size": beam_size})


class TextLimits(Table):
    """What the model was trained on."""

    max_length: int = Field(
        ge=1, le=1 << 20, description="Most tokens of a line, on either side, without the end mark."
    )
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
