"""Recipes of models that answer questions: the tables of `task = "answer"`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from onehop.config import Table
from onehop.tasks.answer_settings import AnswerHead
from onehop.train.tune_recipe import TuneConfig


class QuestionsConfig(Table):
    """Where the questions are; several files are read one after the other."""

    FILES: ClassVar[tuple[str, ...]] = ("train", "valid")

    train: list[str] = Field(min_length=1, description="Files: SQuAD's .json, or .jsonl; also .gz and .zst.")
    valid: list[str] = Field(default=[], description="Validation; default: 1 % of the questions, by their contexts.")
    check: bool = Field(default=True, description="Look at some of the questions first and tell what is wrong.")
    language: str = Field(default="", description="ISO code, for the package.")
    license: str = Field(default="", description="Licence of the data, for the model card.")
    attribution: str = Field(default="", description="Notice that the licence asks for, for the model card.")


class AnswerText(Table):
    """How long texts may be."""

    max_length: int | None = Field(
        default=None, ge=8, description="Most tokens of question and context; default: the encoder's."
    )
    overlap: int | None = Field(
        default=None, ge=0, description="Tokens that a window of a long context reads again; default: 128."
    )
    longest_answer: int | None = Field(default=None, ge=1, description="Most tokens of an answer; default: 30.")
    long: Literal["error", "drop", "cut", "window"] | None = Field(
        default=None, description="Longer ones in training; default: windows that overlap."
    )


class AnswerTrain(TuneConfig):
    """How the model learns. What is left out is chosen by the size of the data."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Share of the mass spread over all places.")
    best: Literal["loss", "exact", "f1"] | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None, description="Validation figure that chooses the model kept; default: F1."
    )

    @model_validator(mode="after")
    def _for_questions(self) -> AnswerTrain:
        if self.r_drop:
            raise ValueError(f"r_drop={self.r_drop} is for translations; leave it out")
        if self.batch_tokens == "auto":
            raise ValueError("batch_tokens='auto' is for translations; give a number of tokens, or leave it out")
        if self.packing:
            raise ValueError("packing=true: question and context stand in a row of their own; leave it out")
        return self


class AnswerRecipe(Table):
    """A whole run of a model that answers. `train.init` names the encoder that it begins with."""

    task: Literal["answer"] = "answer"
    data: QuestionsConfig
    text: AnswerText = AnswerText()
    model: dict[str, Any] = Field(default={}, description="Settings of the encoder that no weight depends on.")
    head: AnswerHead = AnswerHead()
    train: AnswerTrain = AnswerTrain()


def answer_faults(tables: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with `[model]`, which the encoder decides: nothing before that is known."""
    return []
