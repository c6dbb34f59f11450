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

    max_length: int | None = Field(
        default=None, ge=8, description="Tokens of a row, which holds as many lines; default: 126, or the encoder's."
    )


class MaskConfig(Table):
    """What is hidden."""

    share: float = Field(default=0.15, gt=0, le=0.9, description="Of the tokens that are to be found.")


class PretrainTrain(TrainConfig):
    """How the model learns. What is left out is chosen by the size of the data."""

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
    """A whole run of a masked language model. `train.init` names the encoder that it goes on with."""

    task: Literal["mlm"] = "mlm"
    data: PlainConfig
    text: PlainText = PlainText()
    model: dict[str, Any] = Field(default={}, description="Settings of the encoder that no weight depends on.")
    mask: MaskConfig = MaskConfig()
    train: PretrainTrain = PretrainTrain()


def pretrain_faults(tables: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with `[model]`, which the encoder decides: nothing before that is known."""
    return []
