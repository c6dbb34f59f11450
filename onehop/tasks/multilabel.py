"""Multi-label classification: any number of labels for each text, each with a probability and its own threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor
from torch.nn.functional import logsigmoid

from onehop.nn import Source
from onehop.runtime import Speed, accelerate
from onehop.tasks.classify_settings import TextSettings, known_label
from onehop.tasks.framed import documents_of
from onehop.tasks.settings import Long
from onehop.tasks.whole import build_pooled, encode_texts, outputs_of, source_of
from onehop.tasks.windows import Windows, average, divide, outputs
from onehop.text import Ledger
from onehop.text.places import Where, named, places_of

BATCH_TOKENS = 4096


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


class Multilabeller:
    """A classifier that gives a text any number of labels, with all it needs to run.

    Args:
        model: Encoder, pooling and head; see `onehop.models.pooled.Pooled`.
        tokenizer: Of what it reads.
        settings: What its package remembers.
    """

    task = "multilabel"
    drift = ""  # what its package does otherwise than when it was made, where that was allowed
    speed: Speed | None = None  # how a fast one runs
    made_of: Multilabeller | None = None  # what a fast one was made of

    def __init__(self, model: Any, tokenizer: Any, settings: MultilabelSettings) -> None:
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self.documents = documents_of(tokenizer, sentences=settings.text.sentences, language=settings.language)

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

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def to(self, device: torch.device | str) -> Multilabeller:
        """Move the weights; return this classifier."""
        self.model.to(device)
        return self

    def fast(self, precision: str = "float32", tell: Callable[[str], None] = lambda text: None) -> Multilabeller:
        """Return one of the same weights that runs as fast as this machine allows; see `Classifier.fast`."""
        model, speed = accelerate(self.model, precision, tell)
        twin = Multilabeller(model, self.tokenizer, self.settings)
        twin.made_of, twin.drift, twin.speed = self, self.drift, speed
        return twin

    @property
    def reference(self) -> Multilabeller:
        """What a fast one was made of; itself, if it is none."""
        return self.made_of or self

    def label(self, value: str, where: str = "") -> str:
        """Return the name of a label as data have it.

        Raises:
            DataError: The model has no such label.
        """
        return known_label(self.settings, value, where)

    def predict(
        self,
        texts: Sequence[str | Sequence[str]],
        *,
        long: Long = "error",
        where: Where = "input",
        first_line: int = 1,
        batch_tokens: int = BATCH_TOKENS,
    ) -> list[LabelSet]:
        """Return the labels of each text; they do not depend on which texts stand together.

        Args:
            texts: Each a text, or the texts of its columns where the model was trained on several.
            long: What to do with a text of more than `settings.text.max_length` tokens: "error", "drop", "cut", or
                divide it into windows whose probabilities are averaged, by their tokens.
            where: Name of the input, or the place of each in it, for messages.
            first_line: Number of the first text, where they are lines of the input.
            batch_tokens: Rows times longest row of a batch at most.

        Raises:
            LengthError: A text is too long and `long` is "error".
            DataError: A text has not as many columns as the model was trained on.
        """
        ledger = Ledger(named(where), self.settings.text.max_length, long)
        encoded = self.encode(texts, where, first_line)
        each = divide(encoded, self.tokenizer.pieces, ledger, places_of(where, len(texts), first_line), empty=False)
        rows = [row for windows in each for row in windows.rows]
        values = outputs(each, self.scores(rows, batch_tokens).sigmoid())
        return [self._found(*found) for found in zip(texts, each, values, strict=True)]

    def _found(self, text: str | Sequence[str], windows: Windows, values: Tensor) -> LabelSet:
        given = text if isinstance(text, str) else tuple(text)
        if not windows.rows:
            return LabelSet(given, None, dropped=windows.lost > 0, lost=windows.lost)
        mean = average(windows, values)
        given_labels = self.chosen(mean)
        labels = tuple(label for label, has in zip(self.labels, given_labels.tolist(), strict=True) if has)
        scores = dict(zip(self.labels, mean.tolist(), strict=True))
        return LabelSet(given, labels, scores, False, windows.lost, windows.count, windows.lost)

    def chosen(self, probabilities: Tensor) -> Tensor:
        """Return which labels texts get, `(..., C)` bool, by the package's thresholds."""
        return probabilities >= self.thresholds

    def encode(
        self, texts: Sequence[str | Sequence[str]], where: Where = "input", first_line: int = 1
    ) -> list[list[int]]:
        """Return the tokens of each text, as long as it is; none where it is empty."""
        return encode_texts(self.documents, self.settings.columns, texts, places_of(where, len(texts), first_line))

    def source(self, tokens: Tensor, lengths: Tensor) -> Source:
        """Return what the encoder reads of padded rows."""
        return source_of(self, tokens, lengths)

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
