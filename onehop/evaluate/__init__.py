"""Evaluation: how good a finished model is, with intervals, tests and the quality by length."""

from onehop.evaluate.translation import Report, Rival, System, evaluate, run

__all__ = ["Report", "Rival", "System", "evaluate", "run"]
