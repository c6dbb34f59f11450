"""Recipes of regressors: the tables of `task = "regress"`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from onehop.config import Table
from onehop.tasks.classify_settings import HeadConfig
from onehop.train.classify_recipe import ClassifyText, TextsConfig
from onehop.train.tune_recipe import TuneConfig


class NumberedConfig(TextsConfig):
    """Where the texts and their numbers are; several files are read one after the other."""

    numbers: ClassVar[bool] = True


class RegressTrain(TuneConfig):
    """How the model learns. What is left out is chosen by the size of the data."""

    label_smoothing: Literal[0] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=0, description="Says nothing to numbers; 0."
    )
    best: Literal["loss", "pearson", "spearman"] | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None, description="Validation figure that chooses the model kept; default: Spearman's correlation."
    )

    @model_validator(mode="after")
    def _for_numbers(self) -> RegressTrain:
        if self.r_drop:
            raise ValueError(f"r_drop={self.r_drop} compares distributions, which numbers are not; leave it out")
        if self.batch_tokens == "auto":
            raise ValueError("batch_tokens='auto' is for translations; give a number of tokens, or leave it out")
        return self


class RegressRecipe(Table):
    """A whole run of a regressor. `model` holds `architecture`, `preset` and any setting of that encoder."""

    task: Literal["regress"] = "regress"
    data: NumberedConfig
    text: ClassifyText = ClassifyText()
    model: dict[str, Any] = Field(default={}, description="The encoder's settings.")
    head: HeadConfig = HeadConfig()
    train: RegressTrain = RegressTrain()
