"""Regression: a number for each text or pair of texts, such as how alike two sentences are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor

from onehop.errors import DataError, ModelError
from onehop.tasks.classify_settings import TextSettings, reading
from onehop.tasks.lines import short_texts, too_long
from onehop.tasks.names import GOLDEN, JOINT
from onehop.tasks.registry import Kind
from onehop.tasks.whole import BATCH_TOKENS, WholeText, build_pooled, outputs_of
from onehop.tasks.windows import Windows
from onehop.text import Tokenizer

LARGEST = 1e18  # of a number: its square must fit into float32
WIDER = 4  # a deviation against a nat: by how much more rounding of weights may move a number


class RegressSettings(TextSettings):
    """Everything about a regressor but weights and tokenizer."""

    mean: float = Field(description="Of the numbers it was trained on; what the model gives is told from there.")
    deviation: float = Field(gt=0, description="Of these, likewise: one unit of what the model gives.")

    @field_validator("mean", "deviation")
    @classmethod
    def _finite(cls, value: float) -> float:
        if not isfinite(value):
            raise ValueError("must be finite")
        return value


@dataclass(frozen=True)
class Estimate:
    """The number that was found for a text.

    Args:
        text: As it was given; several columns as a tuple.
        value: None where the text is empty or was dropped.
        dropped: Whether the text was too long and was left out, as asked.
        cut: Tokens that were cut off its end, as asked.
        windows: Windows that it was divided into, as asked; 0 where it was not too long.
        lost: Tokens that were not read: those cut off, or all of what was dropped.
    """

    text: str | tuple[str, ...]
    value: float | None
    dropped: bool = False
    cut: int = 0
    windows: int = 0
    lost: int = 0


class Regressor(WholeText[Estimate]):
    """A model that gives a number for a text, with all it needs to run.

    Args:
        model: Encoder, pooling and head; see `onehop.models.pooled.Pooled`.
        tokenizer: Of what it reads.
        settings: What its package remembers.
    """

    task = "regress"
    labels: tuple[str, ...] | None = None

    @classmethod
    def build(cls, settings: RegressSettings, tokenizer: Any) -> Regressor:
        """Return a regressor with fresh weights."""
        return cls(build_pooled(settings, 1, tokenizer.vocab_size), tokenizer, settings)

    def averages(self, rows: Sequence[list[int]], batch_tokens: int) -> Tensor:
        """Return the number of each row of tokens, `(N,)`."""
        return self.values(rows, batch_tokens)

    def found(self, text: str | tuple[str, ...], windows: Windows, mean: Tensor | None) -> Estimate:
        """Return the number of a text."""
        if mean is None:
            return Estimate(text, None, dropped=windows.lost > 0, lost=windows.lost)
        return Estimate(text, float(mean), False, windows.lost, windows.count, windows.lost)

    @torch.inference_mode()
    def values(self, rows: Sequence[list[int]], batch_tokens: int = BATCH_TOKENS) -> Tensor:
        """Return the number of each row of tokens, `(N,)`, on the processor."""
        found = torch.zeros(len(rows))
        for places, given in outputs_of(self, rows, batch_tokens):
            found[places] = self.scaled(given).cpu()
        return found

    def scaled(self, given: Tensor) -> Tensor:
        """Return the numbers `(N,)` that the model's outputs `(N, 1)` stand for."""
        return given.float().squeeze(-1) * self.settings.deviation + self.settings.mean


def number(text: str, where: str) -> float:
    """Return the number that a cell holds.

    Raises:
        DataError: It holds none, or one that is not finite or beyond `LARGEST`.

    Example:
        >>> number("3.25", "pairs.csv:2")
        3.25
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        remedy = "Mend or remove the row; or name the column of numbers: data.label_column"
        raise DataError(f"{text!r} is not a finite number", remedy, where)
    if abs(value) > LARGEST:
        raise DataError(f"{text} is beyond {LARGEST:g}", "Learn its logarithm, or another unit.", where)
    return value


# ------------------------------------------------------------------------------------------------ packages


def golden(regressor: Regressor, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the number of each text; what is too long, and what comes after the 64th, is left out."""
    short = short_texts(regressor, texts, regressor.documents.encode_batch)
    found = regressor.values([row for _, row in short], 1)  # each alone
    return [{"source": text, "value": float(f"{v:.7g}")} for (text, _), v in zip(short, found.tolist(), strict=True)]


def is_golden(regressor: Regressor, value: Any) -> bool:
    """Whether a value can be a golden line."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("source"), str)
        and type(value.get("value")) is float
        and isfinite(value["value"])
    )


def allowed(regressor: Regressor, value: float, tolerance: float) -> float:
    """Return by how much a number may differ: a tolerance in deviations, and what float32 leaves of the number."""
    return WIDER * tolerance * regressor.settings.deviation + 1e-6 * abs(value)


def replay(regressor: Regressor, lines: Sequence[Mapping[str, Any]], tolerance: float) -> str:
    """Read the golden texts again, and return the first that comes out otherwise."""
    rows = regressor.documents.encode_batch([line["source"] for line in lines])
    if told := too_long(regressor, rows):
        return told
    for place, (line, value) in enumerate(zip(lines, regressor.values(rows).tolist(), strict=True), 1):
        if not abs(value - line["value"]) <= allowed(regressor, line["value"], tolerance):
            return f"{GOLDEN}:{place}: the number is {value:.5f}, not {line['value']:.5f}"
    return ""


def build(settings: RegressSettings, files: Mapping[str, Tokenizer]) -> Regressor:
    """Return a regressor with fresh weights."""
    if JOINT not in files:
        raise ModelError(f"damaged: no {JOINT}", "Copy the package again.")
    return Regressor.build(settings, files[JOINT])


KIND = Kind(
    "regress",
    "predict",
    RegressSettings,
    build,
    lambda regressor: {JOINT: regressor.tokenizer},
    lambda settings: {"text": settings.text.max_length},
    golden,
    is_golden,
    replay,
    reading,
)
