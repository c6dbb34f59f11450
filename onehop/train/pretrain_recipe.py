"""Recipes of masked language models: the tables of `task = "mlm"`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from onehop.config import Table
from onehop.train.recipe import TrainConfig


class PlainConfig(Table):
    """Where the text is; several files are read one after the other."""

    FILES: ClassVar[tuple[str, ...]] = ("train", "valid")

    train: list[str] = Field(
        min_length=1, description="Files of text, whose empty lines end documents; also .gz and .zst."
    )
    valid: list[str] = Field(default=[], description="Validation; default: 1 % of the rows, chosen by hash.")
    license: str = Field(default="", description="Licence of the data, for the model card.")


class PlainText(Table):
    """How text becomes rows."""

    vocab_size: int | None = Field(
        default=None, ge=100, description="From random weights: pieces of the vocabulary; default: by the text's size."
    )
    lowercase: bool = Field(default=True, description="From random weights: no capitals and no accents.")
    coverage: float = Field(
        default=0.9995, gt=0, le=1, description="From random weights: share of characters with a piece."
    )
    max_length: int | None = Field(
        default=None, ge=8, description="Tokens of a row, which holds as many lines; default: 126, or the encoder's."
    )
    documents: Literal["joined", "apart"] = Field(
        default="joined",
        description="joined: a row goes on with the next document, behind a mark, and reads it whole; apart: it ends.",
    )


class MaskConfig(Table):
    """What is hidden."""

    share: float = Field(default=0.15, gt=0, le=0.9, description="Of the tokens that are to be found.")
    unit: Literal["token", "word", "span"] = Field(
        default="token", description="What is hidden as one: a token, all tokens of a word, or a span of words."
    )
    span_end: float = Field(
        default=0.2, gt=0, lt=1, description="Spans: probability that a word is the last of one (Joshi 2020)."
    )
    span_words: int = Field(default=10, ge=1, description="Spans: most words of one.")
    rarity: float = Field(
        default=0.0, ge=0, le=1, description="Single tokens: hide in proportion to 1 / frequency^rarity; 0: all alike."
    )
    next_sentence: bool = Field(
        default=False, description="Rows of two parts, of which it is to be told whether they follow each other."
    )

    @model_validator(mode="after")
    def _for_spans(self) -> MaskConfig:
        given = {"span_end", "span_words"} & self.model_fields_set
        usual = {name: type(self).model_fields[name].default for name in given}
        if self.unit != "span" and any(getattr(self, name) != value for name, value in usual.items()):
            raise ValueError(f"{' and '.join(sorted(given))} need unit = 'span'")
        if self.rarity and self.unit != "token":
            raise ValueError(f"rarity={self.rarity} needs unit = 'token'")
        return self


class PretrainTrain(TrainConfig):
    """How the model learns. What is left out is chosen by the size of the data."""

    precision: Literal["float32", "bfloat16", "auto"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default="auto",
        description="Of the products in training; weights and sums stay float32. auto: bfloat16 where it is fast.",
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Share of the mass spread over all tokens.")
    best: Literal["loss", "accuracy"] | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None, description="Validation figure that chooses the model kept; default: loss."
    )

    @model_validator(mode="after")
    def _for_text(self) -> PretrainTrain:
        if self.r_drop:
            raise ValueError(f"r_drop={self.r_drop} is for translations; leave it out")
        if self.batch_tokens == "auto":
            raise ValueError("batch_tokens='auto' is for translations; give a number of tokens, or leave it out")
        if self.packing:
            raise ValueError("packing=true: rows are full of text as they are; leave it out")
        return self


class PretrainRecipe(Table):
    """A whole run of a masked language model: from random weights, or from the encoder that `train.init` names."""

    task: Literal["mlm"] = "mlm"
    data: PlainConfig
    text: PlainText = PlainText()
    model: dict[str, Any] = Field(
        default={}, description="The encoder's settings; with `train.init`, those that no weight depends on."
    )
    mask: MaskConfig = MaskConfig()
    train: PretrainTrain = PretrainTrain()


def pretrain_faults(tables: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with `[model]`: nothing before it is known whether the run begins with a checkpoint."""
    return []
