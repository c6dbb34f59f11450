"""Classification: a label for each text, by name, with a probability for every label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from onehop.nn import Source
from onehop.runtime import Speed, accelerate
from onehop.tasks.classify_settings import ClassifySettings, known_label
from onehop.tasks.framed import documents_of
from onehop.tasks.settings import Long
from onehop.tasks.whole import build_pooled, encode_texts, outputs_of, source_of
from onehop.tasks.windows import Windows, average, divide, outputs
from onehop.text import Ledger, Tokenizer
from onehop.text.places import Where, named, places_of
from onehop.text.pretrained import PretrainedTokenizer

BATCH_TOKENS = 4096


@dataclass(frozen=True)
class Prediction:
    """What a text was found to be.

    Args:
        text: As it was given; several columns as a tuple.
        label: The likeliest; None where the text is empty, was dropped, or the model abstains.
        scores: The probability of every label, in the model's order; empty where there is no label.
        dropped: Whether the text was too long and was left out, as asked.
        cut: Tokens that were cut off its end, as asked.
        windows: Windows that it was divided into, as asked; 0 where it was not too long.
        abstained: Whether no label was likely enough, by the package's threshold.
        lost: Tokens that were not read: those cut off, or all of what was dropped.
    """

    text: str | tuple[str, ...]
    label: str | None
    scores: Mapping[str, float]
    dropped: bool = False
    cut: int = 0
    windows: int = 0
    abstained: bool = False
    lost: int = 0


class Classifier:
    """A classifier with all it needs to run.

    Args:
        model: Encoder, pooling and head; see `onehop.models.pooled.Pooled`.
        tokenizer: Of what it reads.
        settings: What its package remembers.
    """

    task = "classify"
    drift = ""  # what its package does otherwise than when it was made, where that was allowed
    speed: Speed | None = None  # how a fast one runs
    made_of: Classifier | None = None  # what a fast one was made of

    def __init__(self, model: Any, tokenizer: Any, settings: ClassifySettings) -> None:
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self.documents = documents_of(tokenizer, sentences=settings.text.sentences, language=settings.language)

    @classmethod
    def build(cls, settings: ClassifySettings, tokenizer: Tokenizer | PretrainedTokenizer) -> Classifier:
        """Return a classifier with fresh weights."""
        return cls(build_pooled(settings, len(settings.labels), tokenizer.vocab_size), tokenizer, settings)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their ids."""
        return tuple(self.settings.labels)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def to(self, device: torch.device | str) -> Classifier:
        """Move the weights; return this classifier."""
        self.model.to(device)
        return self

    def fast(self, precision: str = "float32", tell: Callable[[str], None] = lambda text: None) -> Classifier:
        """Return a classifier of the same weights that runs as fast as this machine allows, for inference alone.

        Args:
            precision: Of the products: `float32`, which gives the same numbers up to rounding, or `int8`.
            tell: Is told when kernels are compiled, which takes seconds, once.

        Raises:
            ConfigError: No such precision.
        """
        model, speed = accelerate(self.model, precision, tell)
        twin = Classifier(model, self.tokenizer, self.settings)
        twin.made_of, twin.drift, twin.speed = self, self.drift, speed
        return twin

    @property
    def reference(self) -> Classifier:
        """What a fast classifier was made of, whose every part can be looked into; itself, if it is none."""
        return self.made_of or self

    def label(self, value: str, where: str = "") -> str:
        """Return the name of a label as data have it.

        Raises:
            DataError: The model has no such label.
        """
        return known_label(self.settings, value, where)

    # -------------------------------------------------------------------------------------------- use

    def predict(
        self,
        texts: Sequence[str | Sequence[str]],
        *,
        long: Long = "error",
        where: Where = "input",
        first_line: int = 1,
        batch_tokens: int = BATCH_TOKENS,
    ) -> list[Prediction]:
        """Classify texts; the result does not depend on which stand together.

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

        Example:
            >>> found = onehop.load_classifier("runs/reviews").predict(["The room was lovely.", ""])
            >>> found[0].label, round(sum(found[0].scores.values()), 4), found[1].label
            ('good', 1.0, None)
        """
        ledger = Ledger(named(where), self.settings.text.max_length, long)
        encoded = self.encode(texts, where, first_line)
        each = divide(encoded, self.tokenizer.pieces, ledger, places_of(where, len(texts), first_line), empty=False)
        rows = [row for windows in each for row in windows.rows]
        values = outputs(each, self.log_probs(rows, batch_tokens).exp())
        return [self._prediction(*found) for found in zip(texts, each, values, strict=True)]

    def _prediction(self, text: str | Sequence[str], windows: Windows, values: Tensor) -> Prediction:
        given = text if isinstance(text, str) else tuple(text)
        if not windows.rows:
            return Prediction(given, None, {}, dropped=windows.lost > 0, lost=windows.lost)
        mean = average(windows, values)
        scores = dict(zip(self.labels, mean.tolist(), strict=True))
        label, abstained = self.labels[int(mean.argmax())], float(mean.max()) < self.settings.threshold
        return Prediction(
            given, None if abstained else label, scores, cut=windows.lost, windows=windows.count, abstained=abstained,
            lost=windows.lost,
        )  # fmt: skip

    # -------------------------------------------------------------------------------------------- tokens

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
        """Return the score of every label for each row of tokens, `(N, C)`, not normalised, on the processor."""
        found = torch.zeros(len(rows), len(self.labels))
        for places, logits in outputs_of(self, rows, batch_tokens):
            found[places] = logits.cpu()
        return found

    def log_probs(self, rows: Sequence[list[int]], batch_tokens: int = BATCH_TOKENS) -> Tensor:
        """Return the log-probability of every label for each row of tokens, `(N, C)`, on the processor."""
        return self.normalised(self.scores(rows, batch_tokens))

    def normalised(self, scores: Tensor) -> Tensor:
        """Return the log-probabilities `(..., C)` that scores stand for, at the package's temperature."""
        return (scores.float() / self.settings.temperature).log_softmax(-1)
