"""Multi-label classifiers as packages: golden lines are texts with the log-probability of every label, by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from onehop.errors import ModelError
from onehop.tasks.classify_settings import reading
from onehop.tasks.lines import are_numbers, short_texts, too_long
from onehop.tasks.multilabel import Multilabeller, MultilabelSettings
from onehop.tasks.names import GOLDEN, JOINT
from onehop.tasks.registry import Kind
from onehop.text import Tokenizer


def golden(task: Multilabeller, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the labels of each text, with the log-probability of every one.

    Texts that are longer than the model's limit or than 1,024 tokens, and those after the 64th, are left out.
    """
    short = short_texts(task, texts, task.documents.encode_batch)
    found = task.log_probs([row for _, row in short], 1)  # each alone
    return [
        {"source": text, "labels": _names(task, values.exp()),
         "log_probs": {label: round(value, 5) for label, value in zip(task.labels, values.tolist(), strict=True)}}
        for (text, _), values in zip(short, found, strict=True)
    ]  # fmt: skip


def _names(task: Multilabeller, probabilities: Tensor) -> list[str]:
    return [label for label, has in zip(task.labels, task.chosen(probabilities).tolist(), strict=True) if has]


def is_golden(task: Multilabeller, value: Any) -> bool:
    """Whether a value can be a golden line of this model: its labels are among its own."""
    return (
        isinstance(value, dict)
        and {"source", "labels", "log_probs"} <= value.keys()
        and isinstance(value["source"], str)
        and isinstance(value["labels"], list)
        and all(label in task.labels for label in value["labels"])
        and isinstance(value["log_probs"], dict)
        and value["log_probs"].keys() == set(task.labels)
        and are_numbers(list(value["log_probs"].values()))
    )


def log_probs_of(task: Multilabeller, line: Mapping[str, Any]) -> list[float]:
    """Return what a golden line says of each label, in the model's order."""
    return [line["log_probs"][label] for label in task.labels]


def differs(task: Multilabeller, line: Mapping[str, Any], values: Tensor, tolerance: float) -> str:
    """Return the label that a golden text now has or has not, by more than a tolerance; empty if there is none.

    Args:
        task: The model.
        line: The golden line.
        values: The log-probability of each label, `(C,)`.
        tolerance: Of a log-probability.
    """
    gaps = (values - task.thresholds.log()).tolist()
    for label, gap in zip(task.labels, gaps, strict=True):
        if (gap >= 0) != (label in line["labels"]) and abs(gap) > tolerance:
            return label
    return ""


def replay(task: Multilabeller, lines: Sequence[Mapping[str, Any]], tolerance: float) -> str:
    """Classify the golden texts again, and return the first that comes out otherwise."""
    rows = task.documents.encode_batch([line["source"] for line in lines])
    if told := too_long(task, rows):
        return told
    for number, (line, values) in enumerate(zip(lines, task.log_probs(rows), strict=True), 1):
        before = torch.tensor(log_probs_of(task, line))
        off = (values - before).abs()
        if not bool((off <= tolerance).all()):
            place = int(off.nan_to_num(torch.inf).argmax())
            now, then = float(values[place]), float(before[place])
            return f"{GOLDEN}:{number}: {task.labels[place]!r} has the log-probability {now:.5f}, not {then:.5f}"
        if label := differs(task, line, values, tolerance):
            return f"{GOLDEN}:{number}: the text is said to have {label!r} and has it not, or the other way round"
    return ""


def build(settings: MultilabelSettings, files: Mapping[str, Tokenizer]) -> Multilabeller:
    """Return a classifier with fresh weights."""
    if JOINT not in files:
        raise ModelError(f"damaged: no {JOINT}", "Copy the package again.")
    return Multilabeller.build(settings, files[JOINT])


KIND = Kind(
    "multilabel",
    "predict",
    MultilabelSettings,
    build,
    lambda task: {JOINT: task.tokenizer},
    lambda settings: {"text": settings.text.max_length},
    golden,
    is_golden,
    replay,
    lambda settings: {
        "thresholds": {label: settings.thresholds.get(label, 0.5) for label in settings.labels},
        **settings.model_dump(mode="json", include={"aliases", "separator"}),
        **reading(settings),
    },
)
