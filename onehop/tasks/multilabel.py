"""Multi-label classification: any number of labels for each text, each with a probability and its own threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor
from torch.nn.functional import logsigmoid

from onehop.tasks.classify_settings import TextSettings, known_label
from onehop.tasks.whole import BATCH_TOKENS, WholeText, build_pooled, outputs_of
from onehop.tasks.windows import Windows


class MultilabelSettings(TextSettings):
    """Everything about a multi-label classifier but weights and tokenizer."""

    labels: list[str] = Field(min_length=1, description="Names of the labels, in the order of their ids.")
    aliases: dict[str, str] = Field(default={}, description="Names of labels that data call otherwise.")
    thresholds: dict[str, float] = Field(
        default={}, description="By label, the probability from which on a text gets it; 0.5 where none is named."
    )
    separator: str = Field(default="", description="Between the labels of a cell, in the data it was trained on.")

    @field_validator("labels")
    @classmethod
    def _once(cls, labels: list[str]) -> list[str]:
        if len(set(labels)) < len(labels) or not all(label.strip() for label in labels):
            raise ValueError("each label must be there once, and have a name")
        return labels

    @model_validator(mode="after")
    def _known(self) -> MultilabelSettings:
        if not self.thresholds.keys() <= set(self.labels) or not all(0 < t < 1 for t in self.thresholds.values()):
            raise ValueError("thresholds must be of labels that there are, and lie between 0 and 1")
        return self


@dataclass(frozen=True)
class LabelSet:
    """What labels a text was found to have.

    Args:
        text: As it was given; several columns as a tuple.
        labels: Those it has, in the model's order, perhaps none; None where the text is empty or was dropped.
        scores: The probability of every label, in the model's order; empty where `labels` is None.
        dropped: Whether the text was too long and was left out, as asked.
        cut: Tokens that were cut off its end, as asked.
        windows: Windows that it was divided into, as asked; 0 where it was not too long.
        lost: Tokens that were not read: those cut off, or all of what was dropped.
    """

    text: str | tuple[str, ...]
    labels: tuple[str, ...] | None
    scores: dict[str, float] = field(default_factory=dict[str, float])
    dropped: bool = False
    cut: int = 0
    windows: int = 0
    lost: int = 0


class Multilabeller(WholeText[LabelSet]):
    """A classifier that gives a text any number of labels, with all it needs to run.

    Args:
        model: Encoder, pooling and head; see `onehop.models.pooled.Pooled`.
        tokenizer: Of what it reads.
        settings: What its package remembers.
    """

    task = "multilabel"

    @classmethod
    def build(cls, settings: MultilabelSettings, tokenizer: Any) -> Multilabeller:
        """Return one with fresh weights."""
        return cls(build_pooled(settings, len(settings.labels), tokenizer.vocab_size), tokenizer, settings)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels, in the order of their ids."""
        return tuple(self.settings.labels)

    @property
    def thresholds(self) -> Tensor:
        """The probability from which on a text gets each label, `(C,)`."""
        return torch.tensor([self.settings.thresholds.get(label, 0.5) for label in self.labels])

    def label(self, value: str, where: str = "") -> str:
        """Return the name of a label as data have it.

        Raises:
            DataError: The model has no such label.
        """
        return known_label(self.settings, value, where)

    def averages(self, rows: Sequence[list[int]], batch_tokens: int) -> Tensor:
        """Return the probability that each row of tokens has each label, `(N, C)`."""
        return self.scores(rows, batch_tokens).sigmoid()

    def found(self, text: str | tuple[str, ...], windows: Windows, mean: Tensor | None) -> LabelSet:
        """Return the labels of a text."""
        if mean is None:
            return LabelSet(text, None, dropped=windows.lost > 0, lost=windows.lost)
        labels = tuple(label for label, has in zip(self.labels, self.chosen(mean).tolist(), strict=True) if has)
        scores = dict(zip(self.labels, mean.tolist(), strict=True))
        return LabelSet(text, labels, scores, False, windows.lost, windows.count, windows.lost)

    def chosen(self, probabilities: Tensor) -> Tensor:
        """Return which labels texts get, `(..., C)` bool, by the package's thresholds."""
        return probabilities >= self.thresholds

    @torch.inference_mode()
    def scores(self, rows: Sequence[list[int]], batch_tokens: int = BATCH_TOKENS) -> Tensor:
        """Return the log-odds of every label for each row of tokens, `(N, C)`, on the processor."""
        found = torch.zeros(len(rows), len(self.labels))
        for places, logits in outputs_of(self, rows, batch_tokens):
            found[places] = logits.cpu()
        return found

    def log_probs(self, rows: Sequence[list[int]], batch_tokens: int = BATCH_TOKENS) -> Tensor:
        """Return the log-probability that each row has each label, `(N, C)`, on the processor."""
        return logsigmoid(self.scores(rows, batch_tokens))
