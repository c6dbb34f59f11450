"""Evaluation: how good a finished model is, with intervals, tests and the quality by length."""

from onehop.evaluate.classification import (
    ClassifyReport,
    Mistake,
    classify,
    evaluate_labels,
    read_predictions,
)
from onehop.evaluate.scored import Given
from onehop.evaluate.translation import Report, Rival, System, evaluate, run

__all__ = [
    "ClassifyReport",
    "Given",
    "Mistake",
    "Report",
    "Rival",
    "System",
    "classify",
    "evaluate",
    "evaluate_labels",
    "read_predictions",
    "run",
]
