"""What a classifier's package remembers besides its weights."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from onehop.config import Table
from onehop.errors import DataError
from onehop.models.encoders import encoder_family

Pooling = Literal["attention", "mean", "max", "last", "cls"]
Transform = Literal["none", "tanh", "relu", "gelu", "gelu_norm"]


class HeadConfig(Table):
    """From the states of an encoder to classes: the recipe's `[head]` table."""

    pooling: Pooling = Field(
        default="attention",
        description="One vector of many states: a learned query (Yang 2016), their mean or maximum, the last (of two "
        "directions, both ends), or the first (cls).",
    )
    attention_dim: int = Field(default=100, ge=1, description="Width of the query of attention.")
    transform: Transform = Field(
        default="none",
        description="A map of the pooled vector before the last one, with this activation, and a normalisation where "
        "its name says so; that of a pretrained model.",
    )
    dropout: float = Field(default=0.2, ge=0, lt=1, description="On the pooled vector.")


class DocumentLimits(Table):
    """What the model was trained on."""

    max_length: int = Field(ge=1, le=1 << 20, description="Most tokens of a text, without its end mark.")
    sentences: bool = Field(description="Whether an end mark stands behind each sentence of a text.")
    windows: Literal["averaged", "pooled"] = Field(
        default="averaged",
        description="Of a text in windows: the mean of what is found for each; or its vector is pooled of all states.",
    )


class TextSettings(Table):
    """What the package of every task of whole texts remembers."""

    architecture: str
    model: dict[str, Any] = Field(description="The encoder's settings, resolved.")
    rows: int | None = Field(default=None, ge=1, description="Rows of the embeddings, where more than tokens.")
    head: HeadConfig = HeadConfig()
    text: DocumentLimits
    columns: list[str] = Field(default=[], description="Names of the columns that a text was made of, in order.")
    language: str = Field(default="", description="ISO code, or empty.")
    license: str = Field(default="", description="Licence of the training data.")
    attribution: str = Field(default="", description="Notice that the data's licence asks for.")

    @model_validator(mode="after")
    def _fits(self) -> TextSettings:
        if encoder_family(self.architecture).unit == "sentences" and not self.text.sentences:
            raise ValueError(f"architecture={self.architecture!r} reads sentences: text.sentences must be true")
        return self


class ClassifySettings(TextSettings):
    """Everything about a classifier but weights and tokenizer."""

    labels: list[str] = Field(min_length=2, description="Names of the classes, in the order of their ids.")
    aliases: dict[str, str] = Field(default={}, description="Names of labels that data call otherwise.")
    temperature: float = Field(
        default=1.0,
        gt=0,
        description="What scores are divided by, so that probabilities say how often they are right.",
    )
    threshold: float = Field(
        default=0.0, ge=0, le=1, description="Probability below which a text gets no label; 0: each gets one."
    )

    @field_validator("labels")
    @classmethod
    def _once(cls, labels: list[str]) -> list[str]:
        if len(set(labels)) < len(labels) or not all(label.strip() for label in labels):
            raise ValueError("each label must be there once, and have a name")
        return labels


def known_label(settings: Any, value: str, where: str) -> str:
    """Return the name of a label as data have it, of settings with `labels` and their `aliases`.

    Raises:
        DataError: The model has no such label.
    """
    name, labels = settings.aliases.get(value, value), settings.labels
    if name not in labels:
        known = ", ".join(map(repr, labels[:20])) + (", …" if len(labels) > 20 else "")
        raise DataError(
            f"the label {value!r}, which the model does not know",
            f"It knows {known}. Mend the label, or train a model that knows it.",
            where,
        )
    return name


def reading(settings: TextSettings) -> dict[str, Any]:
    """Return the settings that say how texts become rows: golden lines may hold no text of two sentences or columns.

    Example:
        >>> text = DocumentLimits(max_length=9, sentences=True)
        >>> reading(TextSettings(architecture="transformer", model={}, text=text, language="de"))
        {'columns': [], 'language': 'de', 'sentences': True}
    """
    return {**settings.model_dump(mode="json", include={"columns", "language"}), "sentences": settings.text.sentences}
