"""Scores of a task's outputs, thin over the libraries that define them. Nothing here knows torch."""

from onehop.metrics.translation import (
    Bucket,
    Difference,
    Interval,
    Paired,
    Score,
    bleu,
    by_length,
    chrf,
    interval,
    paired,
    ter,
    tokenizer_for,
)

__all__ = [
    "Bucket",
    "Difference",
    "Interval",
    "Paired",
    "Score",
    "bleu",
    "by_length",
    "chrf",
    "interval",
    "paired",
    "ter",
    "tokenizer_for",
]
