"""Validation of a multi-label classifier while it trains, and its model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from onehop.evaluate.multilabel import mistakes, shown_sets
from onehop.evaluate.report_page import SHOWN, report_page, shortened
from onehop.evaluate.scored import Grid, Shown
from onehop.metrics.multilabel import FEWEST, MIDDLE, Bools, bootstrap_sets, crossed, score_sets, thresholds_for
from onehop.tasks.multilabel import Multilabeller
from onehop.train.card import ending, longer, validated
from onehop.train.progress import Progress
from onehop.train.validation import spread

if TYPE_CHECKING:
    from onehop.train.multilabel import PreparedMultilabeller


@dataclass(frozen=True)
class FoundSets:
    """How well the labels of the held-out texts were found, by thresholds that were chosen on other ones of them.

    Args:
        micro_f1: F1 of all single labels together.
        macro_f1: Mean of the F1 of the labels that occur or were given.
        exact: Share of texts that were given exactly their labels.
        majority: The same of who always gives the most frequent set.
        texts: How many they are.
        mcc: Mean of Matthews' correlations of the labels, 0 where all texts get the same set.
    """

    micro_f1: float
    macro_f1: float
    exact: float
    majority: float = 0.0
    texts: int = 0
    mcc: float = 0.0

    @property
    def figures(self) -> dict[str, float | int]:
        """Each by its name."""
        return asdict(self)

    @property
    def told(self) -> str:
        """What people are told."""
        exact = f"exact match {100 * self.exact:.1f} % (always one set: {100 * self.majority:.1f} %)"
        return f"micro F1 {100 * self.micro_f1:.1f} %, macro F1 {100 * self.macro_f1:.1f} %, {exact}"


class LabelledSets:
    """Held-out texts, tokenised once.

    Args:
        task: The classifier that trains.
        sources: The texts.
        rows: Their tokens, within the limit.
        wanted: Whether each has each label, `(N, C)`.
        batch_tokens: Rows times longest row of a batch at most.
    """

    unknown = FoundSets(nan, nan, nan)

    def __init__(
        self, task: Multilabeller, sources: Sequence[str], rows: Sequence[list[int]], wanted: Bools, batch_tokens: int
    ) -> None:
        self.task, self.sources, self.rows, self.wanted = task, sources, rows, wanted
        self.batch_tokens = batch_tokens

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self, count: int) -> list[str]:
        """Return that many texts, evenly spread."""
        return [self.sources[i] for i in spread(len(self), count)]

    def loss(self) -> float:
        """Return the binary cross-entropy of a label in nats, mean over labels and texts, without smoothing."""
        self._scores: Tensor = self.task.scores(self.rows, self.batch_tokens)
        if not len(self):
            return 0.0
        return float(binary_cross_entropy_with_logits(self._scores, torch.from_numpy(self.wanted).float()))

    def measure(self) -> FoundSets:
        """Return figures by the scores that the last `loss` found; the task gets thresholds of them."""
        if not len(self):
            return FoundSets(0.0, 0.0, 0.0)
        values, labels = self._scores.sigmoid().double().numpy(), self.task.labels
        if len(self) >= FEWEST:
            limits, self.found = thresholds_for(values, self.wanted), crossed(values, self.wanted)
        else:
            limits, self.found = np.full(len(labels), MIDDLE), values >= MIDDLE
        self.probabilities = values
        by_label = {label: min(max(float(limit), 1e-6), 1 - 1e-6) for label, limit in zip(labels, limits, strict=True)}
        self.task.settings = self.task.settings.model_copy(update={"thresholds": by_label})
        self.result = result = score_sets(self.found, self.wanted, labels)
        return FoundSets(result.micro_f1, result.macro_f1, result.exact, result.majority, len(self), result.mcc)

    def page(self, found: FoundSets) -> str:
        """Return the report of what the last `measure` found, as HTML."""
        labels, title = self.task.labels, f"{len(self):,} texts for validation"
        intervals = bootstrap_sets(self.found, self.wanted)
        note = "Every second text is judged by thresholds that were chosen on the others."
        shown = Shown(shown_sets(self.result, intervals, self.task.settings.thresholds, title), [note])
        scores = [dict(zip(labels, row, strict=True)) for row in self.probabilities.tolist()]
        rows = [
            [shortened(self.sources[one.row - 1]), one.label, one.was, f"{one.score:.3f}"]
            for one in mistakes(self.found, self.wanted, scores, labels, SHOWN)
        ]
        grid = Grid("Surest mistakes", ("text", "label", "was", "probability"), rows)
        return report_page("Report of a multi-label classifier", shown, grid)


def multilabel_card(prepared: PreparedMultilabeller, progress: Progress, loss: float, found: FoundSets) -> str:
    """Return the card as Markdown."""
    task, settings, parent = prepared.task, prepared.task.settings, prepared.parent
    parameters = sum(p.numel() for p in task.model.parameters())
    limits = ", ".join(f"{label} {settings.thresholds.get(label, MIDDLE):.3g}" for label in task.labels)
    begun = [f"- begins with the model whose onehop.json, or folder, has the SHA-256 {parent.sha256}"] if parent else []
    lines = [
        f"# Multi-label classifier, {len(task.labels)} labels",
        "",
        f"A {settings.architecture} encoder with {settings.head.pooling} pooling, {parameters:,} parameters, trained "
        f"with Onehop on {prepared.num_pairs:,} texts.",
        "",
        f"- labels, each given from its probability on: {limits}",
        f"- updates: {progress.update:,} of the run, {progress.targets:,} texts",
        validated(found.texts, "texts", f"loss {loss:.3f} nats a label, {found.told}"),
        f"- longest text: {settings.text.max_length} tokens",
        f"- longer texts: {'; '.join(longer(prepared))}",
        f"- vocabulary: {task.tokenizer.vocab_size:,} pieces",
        *begun,
        *ending(settings, "predict MODEL input.txt -o output.jsonl"),
    ]
    return "\n".join(lines)
