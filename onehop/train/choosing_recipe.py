"""Recipes of models that choose: the tables of `task = "choose"`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from onehop.config import Table
from onehop.data.choices import ChoiceColumns
from onehop.tasks.classify_settings import HeadConfig
from onehop.train.tune_recipe import TuneConfig


class ChoicesConfig(Table):
    """Where the choices are; several files are read one after the other."""

    FILES: ClassVar[tuple[str, ...]] = ("train", "valid")

    train: list[str] = Field(min_length=1, description="Tables: .csv, .tsv or .jsonl, which may end in .gz or .zst.")
    valid: list[str] = Field(default=[], description="Validation; default: 1 % of the choices, chosen by hash.")
    text_columns: list[str] = Field(default=[], description="Columns of the context, in order; default: found by name.")
    option_columns: list[str] = Field(
        default=[], description="Columns of the options, or the one of lists of them; default: found by name."
    )
    label_column: str = Field(default="", description="Column of the right option; default: found by name.")
    first_number: Literal[0, 1] | None = Field(
        default=None,
        description="Number of the first option; default: 1 where no label is 0 and one is the last, or 0.",
    )
    check: bool = Field(default=True, description="Look at some of the choices first and tell what is wrong.")
    language: str = Field(default="", description="ISO code, for the package.")
    license: str = Field(default="", description="Licence of the data, for the model card.")
    attribution: str = Field(default="", description="Notice that the licence asks for, for the model card.")

    @property
    def columns(self) -> ChoiceColumns:
        """How columns are found."""
        return ChoiceColumns(tuple(self.text_columns), tuple(self.option_columns), self.label_column)


class ChooseText(Table):
    """How long texts may be."""

    max_length: int | None = Field(
        default=None, ge=8, description="Most tokens of a context with one option; default: the encoder's."
    )
    sentences: Literal[False] | None = Field(default=None, description="Says nothing to choices.")
    long: Literal["error", "drop", "cut"] | None = Field(
        default=None,
        description="Longer ones in training and validation; default: error if max_length is less than the encoder's, "
        "else their contexts are cut.",
    )

    @field_validator("long", mode="before")
    @classmethod
    def _not_window(cls, long: object) -> object:
        if long == "window":
            raise ValueError("a choice has no windows: options are compared over one context; use error, drop or cut")
        return long


class ChooseTrain(TuneConfig):
    """How the model learns. What is left out is chosen by the size of the data."""

    label_smoothing: Literal[0] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=0, description="Says nothing to options; 0."
    )
    best: Literal["loss", "accuracy"] | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None, description="Validation figure that chooses the model kept; default: accuracy."
    )

    @model_validator(mode="after")
    def _for_choices(self) -> ChooseTrain:
        if self.r_drop:
            raise ValueError(f"r_drop={self.r_drop} is for translations and classifiers; leave it out")
        if self.batch_tokens == "auto":
            raise ValueError("batch_tokens='auto' is for translations; give a number of tokens, or leave it out")
        if self.packing:
            raise ValueError("packing=true: every option stands in a row of its own; leave it out")
        return self


class ChooseRecipe(Table):
    """A whole run of a model that chooses. `train.init` names the encoder that it begins with."""

    task: Literal["choose"] = "choose"
    data: ChoicesConfig
    text: ChooseText = ChooseText()
    model: dict[str, Any] = Field(default={}, description="Settings of the encoder that no weight depends on.")
    head: HeadConfig = HeadConfig()
    train: ChooseTrain = ChooseTrain()
