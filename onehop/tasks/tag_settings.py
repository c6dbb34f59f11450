"""What a tagger's package remembers besides its weights."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from onehop.config import Table
from onehop.metrics.schemes import Scheme
from onehop.models.encoders import encoder_family
from onehop.text.words import Splitting


class TagHead(Table):
    """From the states of an encoder to labels of words: the recipe's `[head]` table."""

    crf: bool = Field(
        default=False, description="A linear-chain CRF over the labels of a sentence, instead of each word by itself."
    )
    dropout: float = Field(default=0.2, ge=0, lt=1, description="On the states.")


class WordLimits(Table):
    """What the model was trained on."""

    max_length: int = Field(ge=1, le=1 << 20, description="Most tokens of a sentence, without its end mark.")
    words: Splitting = Field(
        description="How a text is divided into words: at `space` alone, or around `punctuation` too."
    )


class TagSettings(Table):
    """Everything about a tagger but weights and tokenizer."""

    architecture: str
    model: dict[str, Any] = Field(description="The encoder's settings, resolved.")
    rows: int | None = Field(default=None, ge=1, description="Rows of the embeddings, where more than tokens.")
    head: TagHead = TagHead()
    labels: list[str] = Field(min_length=2, description="Names of the labels, in the order of their ids.")
    scheme: Scheme = Field(default="none", description="What labels mean: bio, bilou or bioes spans, or none.")
    text: WordLimits
    language: str = Field(default="", description="ISO code, or empty.")
    license: str = Field(default="", description="Licence of the training data.")
    attribution: str = Field(default="", description="Notice that the data's licence asks for.")

    @field_validator("labels")
    @classmethod
    def _once(cls, labels: list[str]) -> list[str]:
        if len(set(labels)) < len(labels) or not all(label.strip() for label in labels):
            raise ValueError("each label must be there once, and have a name")
        return labels

    @model_validator(mode="after")
    def _fits(self) -> TagSettings:
        if encoder_family(self.architecture).unit == "sentences":
            raise ValueError(f"architecture={self.architecture!r} has a state for each sentence, not for each word")
        if self.scheme != "none" and "O" not in self.labels:
            raise ValueError(f"scheme={self.scheme!r} needs the label O")
        return self
