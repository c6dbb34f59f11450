"""Validation of a classifier while it trains, and its model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import nan
from typing import TYPE_CHECKING

import torch

from onehop.metrics.classification import labelling
from onehop.tasks.classification import Classifier
from onehop.train.card import longer
from onehop.train.progress import Progress
from onehop.train.validation import spread

if TYPE_CHECKING:
    from onehop.train.classify import PreparedClassifier


@dataclass(frozen=True)
class Classified:
    """How well the held-out texts were classified.

    Args:
        accuracy: Share that got their label.
        macro_f1: Mean of the labels' F1.
        texts: How many they are.
    """

    accuracy: float
    macro_f1: float
    texts: int = 0

    @property
    def figures(self) -> dict[str, float | int]:
        """Each by its name."""
        return asdict(self)

    @property
    def told(self) -> str:
        """What people are told."""
        return f"accuracy {100 * self.accuracy:.1f} %, macro F1 {100 * self.macro_f1:.1f} %"


class LabelledTexts:
    """Held-out texts, tokenised once.

    Args:
        task: The classifier that trains.
        sources: The texts.
        rows: Their tokens, within the limit.
        wanted: The ids of their labels.
        batch_tokens: Rows times longest row of a batch at most.
    """

    unknown = Classified(nan, nan)

    def __init__(
        self, task: Classifier, sources: Sequence[str], rows: Sequence[list[int]], wanted: Sequence[int],
        batch_tokens: int,
    ) -> None:  # fmt: skip
        self.task, self.sources, self.rows, self.wanted = task, sources, rows, wanted
        self.batch_tokens = batch_tokens

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self, count: int) -> list[str]:
        """Return that many texts, evenly spread."""
        return [self.sources[i] for i in spread(len(self), count)]

    def loss(self) -> float:
        """Return the loss in nats for each text, without smoothing."""
        self._log_probs = self.task.log_probs(self.rows, self.batch_tokens)
        if not len(self):
            return 0.0
        return -float(self._log_probs[torch.arange(len(self)), torch.tensor(self.wanted)].mean())

    def measure(self) -> Classified:
        """Return accuracy and F1 by the probabilities that the last `loss` found."""
        if not len(self):
            return Classified(0.0, 0.0)
        labels = self.task.labels
        found = [labels[i] for i in self._log_probs.argmax(1).tolist()]
        result = labelling(found, [labels[i] for i in self.wanted], labels)
        return Classified(result.accuracy, result.macro_f1, len(self))


def classifier_card(prepared: PreparedClassifier, progress: Progress, loss: float, found: Classified) -> str:
    """Return the card as Markdown."""
    task, settings, parent = prepared.task, prepared.task.settings, prepared.parent
    parameters = sum(p.numel() for p in task.model.parameters())
    continued = [f"- continues the model whose onehop.json has the SHA-256 {parent.sha256}"] if parent else []
    lines = [
        f"# Classifier, {len(task.labels)} labels",
        "",
        f"A {settings.architecture} encoder with {settings.head.pooling} pooling, {parameters:,} parameters, trained "
        f"with Onehop on {prepared.num_pairs:,} texts.",
        "",
        f"- labels: {', '.join(task.labels)}",
        f"- updates: {progress.update:,} of the run, {progress.targets:,} texts",
        f"- validation, {found.texts:,} texts: loss {loss:.3f} nats, {found.told}",
        f"- longest text: {settings.text.max_length} tokens",
        f"- longer texts: {'; '.join(longer(prepared))}",
        f"- vocabulary: {task.tokenizer.vocab_size:,} pieces",
        *continued,
        "",
        "## Data",
        "",
        f"Licence: {settings.license or 'not stated'}. {settings.attribution}".rstrip(),
        "",
        "## Use",
        "",
        "    onehop predict MODEL input.txt -o output.jsonl",
        "",
    ]
    return "\n".join(lines)
