"""Evaluation: how good a finished model is, with intervals, tests and the quality by length."""

from onehop.evaluate.translation import Report, Rival, evaluate

__all__ = ["Report", "Rival", "evaluate"]
