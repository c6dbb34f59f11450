"""Recipes of multi-label classifiers: the tables of `task = "multilabel"`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from onehop.config import Table
from onehop.data.labelled import LabelColumns
from onehop.tasks.classify_settings import HeadConfig
from onehop.train.classify_recipe import ClassifyText, LabelledConfig
from onehop.train.tune_recipe import TuneConfig


class MultilabelConfig(LabelledConfig):
    """Where the texts and their labels are; several files are read one after the other."""

    label_separator: str = Field(
        default="", description="Between labels of a cell that is no JSON list; default: | ; or , as data check finds."
    )

    @property
    def columns(self) -> LabelColumns:
        """How columns are found, and labels told apart."""
        return LabelColumns(tuple(self.text_columns), self.label_column, many=True, separator=self.label_separator)


class MultilabelTrain(TuneConfig):
    """How the model learns. What is left out is chosen by the size of the data."""

    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Share of a label's mass that is spread over having it and not."
    )
    best: Literal["loss", "micro_f1", "macro_f1", "exact"] | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None, description="Validation figure that chooses the model kept; default: micro F1."
    )

    @model_validator(mode="after")
    def _for_sets(self) -> MultilabelTrain:
        if self.r_drop:
            raise ValueError(f"r_drop={self.r_drop} compares distributions over labels that exclude each other")
        if self.batch_tokens == "auto":
            raise ValueError("batch_tokens='auto' is for translations; give a number of tokens, or leave it out")
        return self


class MultilabelRecipe(Table):
    """A whole run. `model` holds `architecture`, `preset` and any setting of that encoder."""

    task: Literal["multilabel"] = "multilabel"
    data: MultilabelConfig
    text: ClassifyText = ClassifyText()
    model: dict[str, Any] = Field(default={}, description="The encoder's settings.")
    head: HeadConfig = HeadConfig()
    train: MultilabelTrain = MultilabelTrain()
