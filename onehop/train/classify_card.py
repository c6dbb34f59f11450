"""Validation of a classifier while it trains, and its model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np
import torch

from onehop.evaluate.label_page import label_page
from onehop.metrics.calibration import (
    FEWEST,
    calibrated_error,
    expected_error,
    temperature_of,
    tempered,
    threshold_for,
)
from onehop.metrics.classification import labelling
from onehop.tasks.classification import Classifier
from onehop.train.card import ending, longer, validated
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
        mcc: Matthews' correlation.
        majority: Accuracy of always the most frequent label.
        ece: Expected calibration error of the scores as they are.
        ece_calibrated: The same at a temperature that was found on other texts.
        temperature: That all texts together ask for.
        threshold: Probability from which on labels are right as often as was asked; 0 where nothing was.
        answered: Share of the texts that get a label.
    """

    accuracy: float
    macro_f1: float
    texts: int = 0
    mcc: float = 0.0
    majority: float = 0.0
    ece: float = 0.0
    ece_calibrated: float = 0.0
    temperature: float = 1.0
    threshold: float = 0.0
    answered: float = 1.0

    @property
    def figures(self) -> dict[str, float | int]:
        """Each by its name."""
        return asdict(self)

    @property
    def told(self) -> str:
        """What people are told."""
        usual = f" (always one label: {100 * self.majority:.1f} %)" if self.majority else ""
        given = f", labels for {100 * self.answered:.0f} %" if self.threshold else ""
        figures = f"macro F1 {100 * self.macro_f1:.1f} %, MCC {self.mcc:.3f}"
        return f"accuracy {100 * self.accuracy:.1f} %{usual}, {figures}{given}"


class LabelledTexts:
    """Held-out texts, tokenised once.

    Args:
        task: The classifier that trains.
        sources: The texts.
        rows: Their tokens, within the limit.
        wanted: The ids of their labels.
        batch_tokens: Rows times longest row of a batch at most.
        answer_accuracy: Share of labels that shall be right, where others may be withheld.
        about: What the report tells of the training, by name.
    """

    unknown = Classified(nan, nan)

    def __init__(
        self, task: Classifier, sources: Sequence[str], rows: Sequence[list[int]], wanted: Sequence[int],
        batch_tokens: int, answer_accuracy: float | None = None, about: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.task, self.sources, self.rows, self.wanted = task, sources, rows, wanted
        self.batch_tokens, self.answer_accuracy, self.about = batch_tokens, answer_accuracy, about or {}

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self, count: int) -> list[str]:
        """Return that many texts, evenly spread."""
        return [self.sources[i] for i in spread(len(self), count)]

    def loss(self) -> float:
        """Return the loss in nats for each text, without smoothing."""
        self._log_probs = self.task.scores(self.rows, self.batch_tokens).log_softmax(-1)
        if not len(self):
            return 0.0
        return -float(self._log_probs[torch.arange(len(self)), torch.tensor(self.wanted)].mean())

    def measure(self) -> Classified:
        """Return figures by the scores that the last `loss` found; the task gets temperature and threshold of them."""
        if not len(self):
            return Classified(0.0, 0.0)
        labels, values, wanted = self.task.labels, self._log_probs.double().numpy(), np.array(self.wanted)
        self.found = [labels[i] for i in values.argmax(1).tolist()]
        self.result = labelling(self.found, [labels[i] for i in self.wanted], labels)
        temperature, after = 1.0, expected_error(values, wanted)
        if len(self) >= FEWEST and self.result.accuracy < 1:  # where all is right, ever more certainty looks better
            temperature, after = temperature_of(values, wanted), calibrated_error(values, wanted)
        tempered_values, threshold = tempered(values, temperature), 0.0
        if self.answer_accuracy:
            threshold = threshold_for(tempered_values, wanted, self.answer_accuracy) or 1.0
        self.probabilities = np.exp(tempered_values.max(1)).tolist()
        answered = float((np.array(self.probabilities) >= threshold).mean())
        settings = {"temperature": temperature, "threshold": threshold}
        self.task.settings = self.task.settings.model_copy(update=settings)
        return Classified(
            self.result.accuracy, self.result.macro_f1, len(self), self.result.mcc, self.result.majority,
            expected_error(values, wanted), after, temperature, threshold, answered,
        )  # fmt: skip

    def page(self, card: Classified) -> str:
        """Return the report of what the last `measure` found, as HTML."""
        facts = {**self.about, "calibration error (ECE), scores as they are": f"{card.ece:.4f}"}
        if card.temperature == 1:
            facts["temperature"] = uncalibrated(card)
        else:
            name = f"the same at temperature {card.temperature:g}, found on other texts"
            facts[name] = f"{card.ece_calibrated:.4f}"
        if card.threshold:
            name = f"labels given: probability of {card.threshold:.4f} or more"
            facts[name] = f"{100 * card.answered:.1f} % of the texts, by which it was chosen"
        wanted = [self.task.labels[i] for i in self.wanted]
        return label_page(
            "Report of a classifier", self.result, self.found, wanted, self.sources, self.probabilities, facts
        )  # fmt: skip


def uncalibrated(found: Classified) -> str:
    """Return why there is no temperature."""
    few = found.texts < FEWEST
    return f"none: fewer than {FEWEST} texts to find one on" if few else "none: it would change nothing"


def _calibration(found: Classified) -> str:
    """Return what is known of the probabilities."""
    if not found.texts:
        return "none"
    if found.temperature == 1:
        return f"error (ECE) {found.ece:.3f}; temperature: {uncalibrated(found)}"
    return f"error (ECE) {found.ece:.3f}, at temperature {found.temperature:g} {found.ece_calibrated:.3f}"


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
        validated(found.texts, "texts", f"loss {loss:.3f} nats, {found.told}"),
        *(f"- {name}: {value}" for name, value in prepared.validation.about.items() if found.texts),
        f"- calibration: {_calibration(found)}",
        f"- labels: given from a probability of {found.threshold:.4f} on, as {100 * found.answered:.0f} % of the "
        "validation texts have it, by which it was chosen"
        if found.threshold
        else "- labels: always given",
        f"- longest text: {settings.text.max_length} tokens",
        f"- longer texts: {'; '.join(longer(prepared))}",
        f"- vocabulary: {task.tokenizer.vocab_size:,} pieces",
        *continued,
        *ending(settings, "predict MODEL input.txt -o output.jsonl"),
    ]
    return "\n".join(lines)
