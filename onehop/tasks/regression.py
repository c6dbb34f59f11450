"""Regression: a number for each text or pair of texts, such as how alike two sentences are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor

from onehop.errors import DataError, ModelError
from onehop.nn import Source
from onehop.runtime import Speed, accelerate
from onehop.tasks.classify_settings import TextSettings
from onehop.tasks.framed import documents_of
from onehop.tasks.lines import short_texts, too_long
from onehop.tasks.names import GOLDEN, JOINT
from onehop.tasks.registry import Kind
from onehop.tasks.settings import Long
from onehop.tasks.whole import build_pooled, encode_texts, outputs_of, source_of
from onehop.tasks.windows import Windows, average, divide, outputs
from onehop.text import Ledger, Tokenizer
from onehop.text.places import Where, named, places_of

BATCH_TOKENS = 4096
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


class Regressor:
    """A model that gives a number for a text, with all it needs to run.

    Args:
        model: Encoder, pooling and head; see `onehop.models.pooled.Pooled`.
        tokenizer: Of what it reads.
        settings: What its package remembers.
    """

    task = "regress"
    drift = ""  # what its package does otherwise than when it was made, where that was allowed
    labels: tuple[str, ...] | None = None
    speed: Speed | None = None  # how a fast one runs
    made_of: Regressor | None = None  # what a fast one was made of

    def __init__(self, model: Any, tokenizer: Any, settings: RegressSettings) -> None:
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self.documents = documents_of(tokenizer, sentences=settings.text.sentences, language=settings.language)

    @classmethod
    def build(cls, settings: RegressSettings, tokenizer: Any) -> Regressor:
        """Return a regressor with fresh weights."""
        return cls(build_pooled(settings, 1, tokenizer.vocab_size), tokenizer, settings)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def to(self, device: torch.device | str) -> Regressor:
        """Move the weights; return this regressor."""
        self.model.to(device)
        return self

    def fast(self, precision: str = "float32", tell: Callable[[str], None] = lambda text: None) -> Regressor:
        """Return a regressor of the same weights that runs as fast as this machine allows; see `Classifier.fast`."""
        model, speed = accelerate(self.model, precision, tell)
        twin = Regressor(model, self.tokenizer, self.settings)
        twin.made_of, twin.drift, twin.speed = self, self.drift, speed
        return twin

    @property
    def reference(self) -> Regressor:
        """What a fast regressor was made of; itself, if it is none."""
        return self.made_of or self

    def predict(
        self,
        texts: Sequence[str | Sequence[str]],
        *,
        long: Long = "error",
        where: Where = "input",
        first_line: int = 1,
        batch_tokens: int = BATCH_TOKENS,
    ) -> list[Estimate]:
        """Return a number for each text; it does not depend on which stand together.

        Args:
            texts: Each a text, or the texts of its columns where the model was trained on several.
            long: What to do with a text of more than `settings.text.max_length` tokens: "error", "drop", "cut", or
                divide it into windows whose numbers are averaged, by their tokens.
            where: Name of the input, or the place of each in it, for messages.
            first_line: Number of the first text, where they are lines of the input.
            batch_tokens: Rows times longest row of a batch at most.

        Raises:
            LengthError: A text is too long and `long` is "error".
            DataError: A text has not as many columns as the model was trained on.
        """
        ledger = Ledger(named(where), self.settings.text.max_length, long)
        encoded = self.encode(texts, where, first_line)
        each = divide(encoded, self.tokenizer.pieces, ledger, places_of(where, len(texts), first_line), empty=False)
        values = outputs(each, self.values([row for windows in each for row in windows.rows], batch_tokens))
        return [self._estimate(*found) for found in zip(texts, each, values, strict=True)]

    def _estimate(self, text: str | Sequence[str], windows: Windows, values: Tensor) -> Estimate:
        given = text if isinstance(text, str) else tuple(text)
        if not windows.rows:
            return Estimate(given, None, dropped=windows.lost > 0, lost=windows.lost)
        return Estimate(given, float(average(windows, values)), False, windows.lost, windows.count, windows.lost)

    def encode(
        self, texts: Sequence[str | Sequence[str]], where: Where = "input", first_line: int = 1
    ) -> list[list[int]]:
        """Return the tokens of each text, as long as it is; none where it is empty."""
        return encode_texts(self.documents, self.settings.columns, texts, places_of(where, len(texts), first_line))

    def source(self, tokens: Tensor, lengths: Tensor) -> Source:
        """Return what the encoder reads of padded rows."""
        return source_of(self, tokens, lengths)

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
    lambda settings: settings.model_dump(mode="json", include={"columns", "language"}),
)
