"""Classification: a label for each text, by name, with a probability for every label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onehop.tasks.classify_settings import ClassifySettings, known_label
from onehop.tasks.whole import BATCH_TOKENS, WholeText, build_pooled, outputs_of
from onehop.tasks.windows import Windows
from onehop.text import Tokenizer
from onehop.text.pretrained import PretrainedTokenizer


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


class Classifier(WholeText[Prediction]):
    """A classifier with all it needs to run.

    Args:
        model: Encoder, pooling and head; see `onehop.models.pooled.Pooled`.
        tokenizer: Of what it reads.
        settings: What its package remembers.
    """

    task = "classify"

    @classmethod
    def build(cls, settings: ClassifySettings, tokenizer: Tokenizer | PretrainedTokenizer) -> Classifier:
        """Return a classifier with fresh weights."""
        return cls(build_pooled(settings, len(settings.labels), tokenizer.vocab_size), tokenizer, settings)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their ids."""
        return tuple(self.settings.labels)

    def label(self, value: str, where: str = "") -> str:
        """Return the name of a label as data have it.

        Raises:
            DataError: The model has no such label.
        """
        return known_label(self.settings, value, where)

    def averages(self, rows: Sequence[list[int]], batch_tokens: int) -> Tensor:
        """Return the probability of every label for each row of tokens, `(N, C)`."""
        return self.log_probs(rows, batch_tokens).exp()

    def found(self, text: str | tuple[str, ...], windows: Windows, mean: Tensor | None) -> Prediction:
        """Return the likeliest label of a text."""
        if mean is None:
            return Prediction(text, None, {}, dropped=windows.lost > 0, lost=windows.lost)
        scores = dict(zip(self.labels, mean.tolist(), strict=True))
        label, abstained = self.labels[int(mean.argmax())], float(mean.max()) < self.settings.threshold
        return Prediction(
            text, None if abstained else label, scores, cut=windows.lost, windows=windows.count, abstained=abstained,
            lost=windows.lost,
        )  # fmt: skip

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
