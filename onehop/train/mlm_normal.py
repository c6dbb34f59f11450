"""Whether the loss of a masked language model is normal: beside what the text itself says, and a run that is on record.

Three losses of the person's own held-out tokens are computed before the first update: that of drawing any token, that
of knowing how frequent each is, and that of knowing which stand beside each other. A model that reads nothing reaches
the second, and a run can stay there for good. How far a loss lies *below* it can be compared between texts, so runs
on record (`mlm_curves.toml`) tell how far a model of that size is, as a rule, once it has read so much.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from onehop.data import Batch

FILE = Path(__file__).with_name("mlm_curves.toml")
ROWS = 20_000  # of the text, that are counted
LIKE = 4  # times as many weights, or a fourth of them, that a run on record may have
BESIDE = 0.4  # share of each neighbour in the estimate from both; the rest is the token's frequency
CLEAR = 0.1  # nats below the frequencies, from which on a model has begun to read
PATIENT = 3  # times as many tokens as the run on record needed for that, before a run is called stuck
UPDATES = 4_000  # without a run on record, updates before it is
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Landmarks:
    """Losses in nats for each hidden token that need no model.

    Args:
        uniform: Of any token being as likely as another.
        frequencies: Of each being as likely as it is frequent.
        neighbours: Of that, mixed with how often it stands behind the one before and before the one behind.
    """

    uniform: float
    frequencies: float
    neighbours: float

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]], batches: Sequence[Batch], vocab_size: int) -> Landmarks:
        """Count training rows, and return the losses of the hidden tokens of validation batches.

        Example:
            >>> from onehop.data import evaluation_batches
            >>> [batch] = evaluation_batches([[5, 6]], [[6, 0]], 9)  # of 5 and 6, the first was 5 and is hidden
            >>> round(Landmarks.of([[5, 6], [5, 7]], [batch], 8).frequencies, 3)  # (2 + 1) of (4 + 8)
            1.386
        """
        counted = [np.asarray([0, *row, 0], np.int64) for row in rows]
        text = np.concatenate(counted) if counted else np.zeros(1, np.int64)
        counts = np.bincount(text[text > 0], minlength=vocab_size) + 1.0  # as if each had come once more
        pairs = np.sort(text[:-1] * vocab_size + text[1:])
        share = counts / counts.sum()
        seen = np.bincount(text, minlength=vocab_size)
        alone: list[npt.NDArray[np.float64]] = []
        beside: list[npt.NDArray[np.float64]] = []
        for before, token, behind in (_hidden(batch) for batch in batches):
            alone.append(share[token])
            left = _times(pairs, before * vocab_size + token) / np.maximum(1, seen[before])
            right = _times(pairs, token * vocab_size + behind) / np.maximum(1, seen[behind])
            beside.append(BESIDE * (left + right) + (1 - 2 * BESIDE) * share[token])
        return cls(log(vocab_size), _loss(alone), _loss(beside))

    @property
    def told(self) -> str:
        """What people are told."""
        return (
            f"normal: a loss of {self.uniform:.2f} is chance, {self.frequencies:.2f} is knowing how frequent each "
            f"token is, {self.neighbours:.2f} is knowing which two stand beside each other; a model that reads gets "
            "below them in this order"
        )


def _hidden(batch: Batch) -> tuple[Ints, Ints, Ints]:
    """Return the token that is read before each hidden one, that one, and the one that is read behind it."""
    row, place = (part.numpy() for part in batch.target[:, :-1].nonzero(as_tuple=True))
    source = np.pad(batch.source.numpy(), ((0, 0), (1, 1)))
    return source[row, place], batch.target.numpy()[row, place] - 1, source[row, place + 2]


def _times(pairs: Ints, wanted: Ints) -> npt.NDArray[np.float64]:
    return (np.searchsorted(pairs, wanted, "right") - np.searchsorted(pairs, wanted, "left")).astype(np.float64)


def _loss(shares: Sequence[npt.NDArray[np.float64]]) -> float:
    found = np.concatenate(shares) if shares else np.ones(1)
    return float(-np.log(found).mean()) if len(found) else 0.0


# ------------------------------------------------------------------------------------------------ runs on record


@dataclass(frozen=True)
class Curve:
    """A run on record.

    Args:
        name: What was run.
        weights: Of the model.
        tokens: Read so far, at each evaluation, ascending.
        gain: How far the validation loss lay below that of frequencies there, in nats.
    """

    name: str
    weights: int
    tokens: tuple[float, ...]
    gain: tuple[float, ...]

    def at(self, tokens: float) -> float | None:
        """Return the gain once so much was read; None where the record does not reach."""
        if not self.tokens[0] <= tokens <= self.tokens[-1]:
            return None
        return float(np.interp(tokens, self.tokens, self.gain))

    @property
    def begun(self) -> float | None:
        """Tokens after which the model had clearly begun to read."""
        return next((tokens for tokens, gain in zip(self.tokens, self.gain, strict=True) if gain >= CLEAR), None)


def curves(path: Path = FILE) -> list[Curve]:
    """Return the runs on record."""
    found: list[dict[str, Any]] = tomllib.loads(path.read_text("utf-8")).get("curve", [])
    return [Curve(one["name"], one["weights"], tuple(one["tokens"]), tuple(one["gain"])) for one in found]


def like(weights: int, known: Sequence[Curve]) -> Curve | None:
    """Return the run on record whose size is nearest, if it is near.

    Example:
        >>> like(5_000_000, [Curve("one", 4_000_000, (1e6,), (0.5,)), Curve("other", 90_000_000, (1e6,), (0.5,))]).name
        'one'
    """
    near = [one for one in known if max(weights / one.weights, one.weights / weights) <= LIKE]
    return min(near, key=lambda one: abs(log(weights / one.weights)), default=None)


@dataclass(frozen=True)
class Normal:
    """What there is to say of a loss.

    Args:
        landmarks: Of the text.
        curve: A run on record of that size, whose model began from random weights as this one does; None without one.
    """

    landmarks: Landmarks
    curve: Curve | None = None

    def __call__(self, loss: float, updates: int, tokens: int) -> str:
        """Return it in words.

        Args:
            loss: Of validation.
            updates: So far.
            tokens: Read so far.
        """
        if not updates:
            return ""
        gain = self.landmarks.frequencies - loss
        level = f"{self.landmarks.frequencies:.2f} that frequencies alone give"
        text = f"{gain:.2f} below the {level}" if gain > 0 else f"not below the {level}"
        known = self.curve and self.curve.at(tokens)
        if self.curve and known is not None:
            text += f" (a run on record, of {self.curve.weights / 1e6:.1f} million weights, was {known:.2f} below here)"
        if gain < CLEAR and self.late(updates, tokens):
            text += ": stuck, since it reads nothing yet; try a lower train.learning_rate with a longer train.warmup, "
            text += "smaller batches (train.batch_tokens), or a model of fewer layers"
        return text

    def late(self, updates: int, tokens: int) -> bool:
        """Whether a model that still reads nothing would be unusual."""
        begun = self.curve.begun if self.curve else None
        return tokens > PATIENT * begun if begun else updates >= UPDATES
