"""Recipes of models that embed: the tables of `task = "embed"`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from onehop.config import Table
from onehop.data.alike import AlikeColumns
from onehop.train.tune_recipe import TuneConfig

SCORED, UNSCORED = ("spearman", "pearson"), ("mrr", "accuracy", "hit_rate")  # figures of either kind of data


class AlikeConfig(Table):
    """Where the texts are that shall be near each other or not; several files are read one after the other."""

    FILES: ClassVar[tuple[str, ...]] = ("train", "valid")

    train: list[str] = Field(
        min_length=1,
        description="Tables of pairs with a score, of pairs of like meaning, or of triplets: .csv, .tsv or .jsonl, "
        "which may end in .gz or .zst; .parquet; or folders of saved data sets.",
    )
    valid: list[str] = Field(default=[], description="Validation; default: 1 % of the rows, chosen by hash.")
    text_columns: list[str] = Field(
        default=[],
        description="Columns of texts: that which asks, that which is to be found, and those that are not; default: "
        "found by name.",
    )
    label_column: str = Field(default="", description="Column of scores of pairs; default: found by name, if any.")
    score_range: list[float] = Field(
        default=[],
        max_length=2,
        description="Scores of what is least and most alike, which cosines 0 and 1 stand for; default: [0, 1] or "
        "[-1, 1] where all scores lie there, else the smallest and the largest of the data.",
    )
    check: bool = Field(default=True, description="Look at some of the texts first and tell what is wrong.")
    license: str = Field(default="", description="Licence of the data, for the model card.")
    attribution: str = Field(default="", description="Notice that the licence asks for, for the model card.")

    @field_validator("score_range")
    @classmethod
    def _ascending(cls, scores: list[float]) -> list[float]:
        if scores and not (len(scores) == 2 and scores[0] < scores[1]):
            raise ValueError("must be two numbers, the smaller first, such as [0, 5]")
        return scores

    @property
    def columns(self) -> AlikeColumns:
        """How columns are found."""
        return AlikeColumns(tuple(self.text_columns), self.label_column)


class EmbedText(Table):
    """How long texts may be."""

    max_length: int | None = Field(default=None, ge=1, description="Most tokens of a text; default: the encoder's.")
    long: Literal["error", "drop", "cut"] | None = Field(
        default=None,
        description="Rows with a longer text in training and validation; default: error if max_length is less than the "
        "encoder's, else cut.",
    )

    @field_validator("long", mode="before")
    @classmethod
    def _not_window(cls, long: object) -> object:
        if long == "window":
            raise ValueError(
                "a text that is learnt from has no windows: its vector is of the whole; use error, drop or cut"
            )
        return long


class VectorConfig(Table):
    """From the states of an encoder to a vector, and what it is trained for."""

    pooling: Literal["mean", "cls", "max"] | None = Field(
        default=None, description="One vector of many states; default: as the model that is continued has it."
    )
    objective: Literal["contrastive", "cosine", "ranking"] | None = Field(
        default=None,
        description="contrastive: a text finds its own among those of the batch (van den Oord 2018, Gao 2021); cosine: "
        "the cosine of a pair is its score (Reimers 2019); ranking: pairs of higher score have the higher cosine (Su "
        "2022). Default: contrastive, and where there are scores, ranking.",
    )
    temperature: float = Field(
        default=0.05, gt=0, le=10, description="What cosines are divided by, of contrastive and ranking."
    )


class EmbedTrain(TuneConfig):
    """How the model learns. What is left out is chosen by the size of the data."""

    label_smoothing: Literal[0] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=0, description="Says nothing to vectors; 0."
    )
    best: Literal["loss", "spearman", "pearson", "mrr", "accuracy", "hit_rate"] | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None,
        description="Validation figure that chooses the model kept; default: spearman with scores, else mrr.",
    )

    @model_validator(mode="after")
    def _for_vectors(self) -> EmbedTrain:
        if self.r_drop:
            raise ValueError(f"r_drop={self.r_drop} compares distributions, which vectors are not; leave it out")
        if self.frozen:
            raise ValueError("frozen=true: a model that embeds has no head, so nothing would learn; use lora_rank")
        if self.batch_tokens == "auto":
            raise ValueError("batch_tokens='auto' is for translations; give a number of tokens, or leave it out")
        return self


class EmbedRecipe(Table):
    """A whole run of a model that embeds. `train.init` names the encoder that it begins with."""

    task: Literal["embed"] = "embed"
    data: AlikeConfig
    text: EmbedText = EmbedText()
    model: dict[str, Any] = Field(default={}, description="Settings of the encoder that no weight depends on.")
    vector: VectorConfig = VectorConfig()
    train: EmbedTrain = EmbedTrain()
