"""Classifiers as packages: golden lines are texts with the log-probability of every label, by its name.

By name, so that labels which were put in another order are found, wherever else that was done too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onehop.errors import ModelError
from onehop.tasks.classification import Classifier
from onehop.tasks.classify_settings import ClassifySettings, reading
from onehop.tasks.lines import are_numbers, short_texts, too_long
from onehop.tasks.names import GOLDEN, JOINT
from onehop.tasks.registry import Kind
from onehop.text import Tokenizer


def golden(classifier: Classifier, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the label of each text, with the log-probability of every one.

    Texts that are longer than the model's limit or than 1,024 tokens, and those after the 64th, are left out.
    """
    short = short_texts(classifier, texts, classifier.documents.encode_batch)
    found = classifier.log_probs([row for _, row in short], 1)  # each alone
    return [
        {"source": text, "label": classifier.labels[int(values.argmax())],
         "log_probs": {label: round(value, 5) for label, value in zip(classifier.labels, values.tolist(), strict=True)}}
        for (text, _), values in zip(short, found, strict=True)
    ]  # fmt: skip


def is_golden(classifier: Classifier, value: Any) -> bool:
    """Whether a value can be a golden line of this model: its label is one of its own."""
    return (
        isinstance(value, dict)
        and {"source", "label", "log_probs"} <= value.keys()
        and isinstance(value["source"], str)
        and value["label"] in classifier.labels
        and _are_of_labels(value["log_probs"], classifier.labels)
    )


def _are_of_labels(values: Any, labels: Sequence[str]) -> bool:
    if isinstance(values, dict):
        return values.keys() == set(labels) and are_numbers(list(values.values()))
    return are_numbers(values) and len(values) == len(labels)


def log_probs_of(classifier: Classifier, line: Mapping[str, Any]) -> list[float]:
    """Return what a golden line says of each label, in the model's order; older packages have a list in it."""
    values = line["log_probs"]
    return [values[label] for label in classifier.labels] if isinstance(values, dict) else list(values)


def replay(classifier: Classifier, lines: Sequence[Mapping[str, Any]], tolerance: float) -> str:
    """Classify the golden texts again, and return the first that comes out otherwise."""
    rows = classifier.documents.encode_batch([line["source"] for line in lines])
    if told := too_long(classifier, rows):
        return told
    for number, (line, values) in enumerate(zip(lines, classifier.log_probs(rows), strict=True), 1):
        said = log_probs_of(classifier, line)
        for label, before, value in zip(classifier.labels, said, values.tolist(), strict=True):
            if not abs(value - before) <= tolerance:
                return f"{GOLDEN}:{number}: {label!r} has the log-probability {value:.5f}, not {before:.5f}"
        best, claimed = int(values.argmax()), classifier.labels.index(line["label"])
        if float(values[best] - values[claimed]) > tolerance:
            return f"{GOLDEN}:{number}: the label is {classifier.labels[best]!r}, not {line['label']!r}"
    return ""


def build(settings: ClassifySettings, files: Mapping[str, Tokenizer]) -> Classifier:
    """Return a classifier with fresh weights."""
    if JOINT not in files:
        raise ModelError(f"damaged: no {JOINT}", "Copy the package again.")
    return Classifier.build(settings, files[JOINT])


KIND = Kind(
    "classify",
    "predict",
    ClassifySettings,
    build,
    lambda classifier: {JOINT: classifier.tokenizer},
    lambda settings: {"text": settings.text.max_length},
    golden,
    is_golden,
    replay,
    lambda settings: {**settings.model_dump(mode="json", include={"threshold", "aliases"}), **reading(settings)},
)
