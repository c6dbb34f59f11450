"""Recipes of taggers: the tables of `task = "tag"`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from onehop.config import Table
from onehop.data.tagged import TagColumns
from onehop.metrics.schemes import Scheme
from onehop.models.encoders import configure_encoder
from onehop.tasks.tag_settings import TagHead
from onehop.text.words import Splitting
from onehop.train.classify_recipe import ARCHITECTURE
from onehop.train.recipe import family_faults
from onehop.train.tune_recipe import TuneConfig


class TaggedConfig(Table):
    """Where the sentences are; several files are read one after the other."""

    FILES: ClassVar[tuple[str, ...]] = ("train", "valid")

    train: list[str] = Field(
        min_length=1,
        description="Files: .conllu, .jsonl, or columns under any other name (.conll, .bio); also .gz and .zst.",
    )
    valid: list[str] = Field(default=[], description="Validation; default: 1 % of the sentences, chosen by hash.")
    text_columns: list[str] = Field(
        default=[], max_length=1, description="Column of words, by name or number; default: FORM, or the first."
    )
    label_column: str = Field(default="", description="Column of labels; default: UPOS, or the last.")
    scheme: Scheme | None = Field(
        default=None, description="What labels mean: bio, bilou or bioes spans, or none; default: what they fit."
    )
    check: bool = Field(default=True, description="Look at some of the sentences first and tell what is wrong.")
    language: str = Field(default="", description="ISO code, for the package.")
    license: str = Field(default="", description="Licence of the data, for the model card.")
    attribution: str = Field(default="", description="Notice that the licence asks for, for the model card.")

    @property
    def columns(self) -> TagColumns:
        """How columns are found."""
        return TagColumns(next(iter(self.text_columns), ""), self.label_column)


class TagText(Table):
    """How words become tokens. What is left out is chosen by the size of the data."""

    algorithm: Literal["bpe", "unigram", "wordpiece"] = Field(
        default="bpe", description="How pieces are learnt and words cut into them."
    )
    vocab_size: int | None = Field(default=None, ge=300, description="Pieces of the vocabulary.")
    normalization: Literal["none", "nfc", "nfkc"] = Field(default="nfc", description="Unicode form of all text.")
    coverage: float = Field(
        default=0.9995, gt=0, le=1, description="Share of characters with a piece; the rest is bytes."
    )
    max_length: int | None = Field(
        default=None, ge=1, description="Most tokens of a sentence; default: holds 99.9 % of them, and at most 512."
    )
    words: Splitting | None = Field(
        default=None,
        description="How a text is divided into words where they are not given: at space alone, or around punctuation "
        "too; default: as the training data are.",
    )
    long: Literal["error", "drop", "cut", "window"] | None = Field(
        default=None,
        description="Longer sentences in training; default: error if max_length was given, else in windows.",
    )


class TagTrain(TuneConfig):
    """How the model learns. What is left out is chosen by the size of the data."""

    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the mass spread over all labels; not with a CRF."
    )
    best: Literal["loss", "accuracy", "f1"] | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None,
        description="Validation figure that chooses the model kept; default: F1 of spans, without a scheme accuracy.",
    )

    @model_validator(mode="after")
    def _for_words(self) -> TagTrain:
        if self.r_drop:
            raise ValueError(f"r_drop={self.r_drop} is for translations and classifiers; leave it out")
        if self.batch_tokens == "auto":
            raise ValueError("batch_tokens='auto' is for translations; give a number of tokens, or leave it out")
        return self


class TagRecipe(Table):
    """A whole run of a tagger. `model` holds `architecture`, `preset` and any setting of that encoder."""

    task: Literal["tag"] = "tag"
    data: TaggedConfig
    text: TagText = TagText()
    model: dict[str, Any] = Field(default={}, description="The encoder's settings.")
    head: TagHead = TagHead()
    train: TagTrain = TagTrain()

    @model_validator(mode="after")
    def _fits(self) -> TagRecipe:
        if self.head.crf and self.train.label_smoothing:
            raise ValueError("label_smoothing says nothing to a CRF, whose targets are sequences; leave it out")
        return self


def tag_faults(tables: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with `[model]`."""
    return family_faults(tables.get("model", {}), ARCHITECTURE, configure_encoder)
