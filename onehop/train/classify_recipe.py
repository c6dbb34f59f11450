"""Recipes of classifiers: the tables of `task = "classify"`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from onehop.config import Table
from onehop.data.labelled import LabelColumns
from onehop.models.encoders import configure_encoder
from onehop.tasks.classify_settings import HeadConfig
from onehop.train.recipe import family_faults
from onehop.train.tune_recipe import TuneConfig

ARCHITECTURE = "recurrent"  # where a recipe names none


class TextsConfig(Table):
    """Where the texts and their targets are; several files are read one after the other."""

    FILES: ClassVar[tuple[str, ...]] = ("train", "valid")
    numbers: ClassVar[bool] = False  # whether targets are numbers

    train: list[str] = Field(
        min_length=1,
        description="Tables: .csv, .tsv or .jsonl, which may end in .gz or .zst; .parquet; or folders of saved data "
        "sets.",
    )
    valid: list[str] = Field(default=[], description="Validation; default: 1 % of the texts, chosen by hash.")
    text_columns: list[str] = Field(default=[], description="Columns of texts, in order; default: found by name.")
    label_column: str = Field(default="", description="Column of labels or numbers; default: found by name.")
    language: str = Field(default="", description="ISO code; sets how sentences are split.")
    check: bool = Field(default=True, description="Look at some of the texts and labels first and tell what is wrong.")
    license: str = Field(default="", description="Licence of the data, for the model card.")
    attribution: str = Field(default="", description="Notice that the licence asks for, for the model card.")

    @property
    def columns(self) -> LabelColumns:
        """How columns are found."""
        return LabelColumns(tuple(self.text_columns), self.label_column, numbers=self.numbers)


class LabelledConfig(TextsConfig):
    """Where the labelled texts are; several files are read one after the other."""

    label_names: list[str] = Field(
        default=[], description='Names of labels that are numbers in the data, such as ["0=bad", "1=good"].'
    )

    @field_validator("label_names")
    @classmethod
    def _pairs(cls, names: list[str]) -> list[str]:
        if not all(all(part.strip() for part in name.partition("=")) for name in names):
            raise ValueError('each must be VALUE=NAME, such as "0=bad"')
        return names

    @property
    def names(self) -> dict[str, str]:
        """The names of labels that the data call otherwise."""
        pairs = (name.partition("=") for name in self.label_names)
        return {value.strip(): name.strip() for value, _, name in pairs}


class ClassifyText(Table):
    """How text becomes tokens. What is left out is chosen by the size of the data."""

    algorithm: Literal["bpe", "unigram", "wordpiece"] = Field(
        default="bpe", description="How pieces are learnt and words cut into them."
    )
    vocab_size: int | None = Field(default=None, ge=300, description="Pieces of the vocabulary.")
    normalization: Literal["none", "nfc", "nfkc"] = Field(default="nfc", description="Unicode form of all text.")
    coverage: float = Field(
        default=0.9995, gt=0, le=1, description="Share of characters with a piece; the rest is bytes."
    )
    max_length: int | None = Field(
        default=None, ge=1, description="Most tokens of a text; default: holds 99.9 % of them, and at most 512."
    )
    sentences: bool | None = Field(
        default=None, description="Put an end mark behind each sentence; default: where the encoder reads sentences."
    )
    long: Literal["error", "drop", "cut", "window"] | None = Field(
        default=None,
        description="Longer texts in training and validation; window: a pretrained encoder reads them in parts, whose "
        "states are pooled together; default: error if max_length was given, cut if it was chosen.",
    )


class ClassifyTrain(TuneConfig):
    """How the model learns. What is left out is chosen by the size of the data."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Share of the mass spread over all labels.")
    class_weights: Literal["none", "balanced"] | None = Field(
        default=None,
        description="balanced: every label counts as much as any other, however few texts have it; none: every text "
        "does; default: balanced where macro F1 or MCC chooses the model kept, without r_drop, if each label has a "
        "hundredth of the texts.",
    )
    answer_accuracy: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of labels that shall be right: a text whose label is less sure than validation asks "
        "for that gets none.",
    )
    best: Literal["loss", "accuracy", "macro_f1", "mcc"] | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None,
        description="Validation figure that chooses the model kept; default: accuracy, but MCC where one label has two "
        "thirds of the texts.",
    )

    @model_validator(mode="after")
    def _for_texts(self) -> ClassifyTrain:
        if self.r_drop and self.class_weights == "balanced":
            raise ValueError(
                "r_drop and class_weights do not go together; set train.class_weights = 'none', or leave r_drop out"
            )
        if self.batch_tokens == "auto":
            raise ValueError("batch_tokens='auto' is for translations; give a number of tokens, or leave it out")
        return self


class ClassifyRecipe(Table):
    """A whole run of a classifier. `model` holds `architecture`, `preset` and any setting of that encoder."""

    task: Literal["classify"] = "classify"
    data: LabelledConfig
    text: ClassifyText = ClassifyText()
    model: dict[str, Any] = Field(default={}, description="The encoder's settings.")
    head: HeadConfig = HeadConfig()
    train: ClassifyTrain = ClassifyTrain()


def encoder_faults(tables: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with `[model]`."""
    return family_faults(tables.get("model", {}), ARCHITECTURE, configure_encoder)
