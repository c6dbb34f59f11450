"""Evaluating models that choose: accuracy with an interval beside chance, and against another system."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from onehop.data.choices import Choice
from onehop.errors import DataError
from onehop.files import read_lines
from onehop.metrics import Interval
from onehop.metrics.classification import DRAWS, SEED, Compared, mcnemar
from onehop.tasks.choosing import Chooser
from onehop.tasks.settings import Long

SHOWN = 10  # of the mistakes that the model was surest of


@dataclass(frozen=True)
class ChosenBy:
    """The options that a system chose, and how; where only a file of them is known, the rest is None.

    Args:
        name: For the report.
        places: Of each option that was chosen, from 0; None where the choice was dropped, which counts as wrong.
        scores: The probability of that option.
        dropped: Choices too long, left out as asked.
        cut: Choices too long, whose context was cut as asked.
        seconds: Of choosing.
        drift: What the model does otherwise than when it was made, where that was allowed.
    """

    name: str
    places: list[int | None]
    scores: list[float] | None = None
    dropped: int | None = None
    cut: int | None = None
    seconds: float | None = None
    drift: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return counts as JSON values."""
        seconds = None if self.seconds is None else round(self.seconds, 2)
        return {"dropped": self.dropped, "cut": self.cut, "seconds": seconds, "drift": self.drift}


@dataclass(frozen=True)
class WrongChoice:
    """A choice that came out wrong.

    Args:
        row: Its number, from 1.
        right: Place of the right option, from 0.
        found: Place of the one that was chosen.
        score: The probability of that.
    """

    row: int
    right: int
    found: int
    score: float


@dataclass(frozen=True)
class ChoiceReport:
    """The result of `evaluate_choices`.

    Args:
        accuracy: Share of the choices whose right option was chosen.
        interval: 95 % of it, by bootstrap over choices.
        chance: What choosing blindly reaches in the mean.
        majority: What always choosing the place that is most often right reaches.
        system: What was scored.
        mistakes: Those that the model was surest of.
        rival: The other system, if one was named: its accuracy, and the paired test.
    """

    accuracy: float
    interval: Interval
    chance: float
    majority: float
    system: ChosenBy
    mistakes: list[WrongChoice]
    rival: tuple[ChosenBy, float, Compared] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: what `onehop evaluate --json` prints of a model that chooses."""
        values: dict[str, Any] = {
            "accuracy": round(self.accuracy, 4),
            "accuracy_interval": [round(self.interval.low, 4), round(self.interval.high, 4)],
            "chance": round(self.chance, 4),
            "majority": round(self.majority, 4),
            "choices": len(self.system.places),
            "mistakes": [{**asdict(one), "score": round(one.score, 4)} for one in self.mistakes],
            **self.system.to_dict(),
        }
        if self.rival:
            other, accuracy, compared = self.rival
            values["against"] = {
                "name": other.name, "accuracy": round(accuracy, 4),
                "accuracy_difference": round(compared.difference, 4), "better": compared.better,
                "worse": compared.worse, "p": round(compared.p_value, 4), **other.to_dict(),
            }  # fmt: skip
        return values


def choose(
    chooser: Chooser, choices: Sequence[Choice], *, name: str = "model", long: Long = "error", where: str = "data"
) -> ChosenBy:
    """Choose, and count what became of the choices; see `Chooser.predict` for the arguments."""
    started = time.monotonic()
    found = chooser.predict(choices, long=long, where=where)
    return ChosenBy(
        name, [one.choice for one in found], [max(one.scores, default=0.0) for one in found],
        sum(one.dropped for one in found), sum(one.cut > 0 for one in found), time.monotonic() - started,
        chooser.drift or None,
    )  # fmt: skip


def evaluate_choices(
    chooser: Chooser,
    choices: Sequence[Choice],
    *,
    long: Long = "error",
    where: str = "data",
    against: ChosenBy | None = None,
) -> ChoiceReport:
    """Choose, and score.

    Args:
        chooser: The model.
        choices: Each with its right option.
        long: What to do with choices longer than the model's limit; one that is dropped counts as wrong.
        where: Name of the file, for messages.
        against: Another system's choices, from `choose` or from `read_chosen`.

    Raises:
        DataError: There are no choices, or one does not say which option is right; or the other system's are not as
            many.
    """
    if not choices:
        raise DataError("no choice", "Give choices with their right options.", where)
    right = [one.index(chooser.settings.first_number) for one in choices]
    system = choose(chooser, choices, long=long, where=where)
    hits = np.array([one == other for one, other in zip(system.places, right, strict=True)], np.float64)
    rival = None
    if against is not None:
        if len(against.places) != len(choices):
            problem = f"{len(against.places)} options for {len(choices)} choices"
            raise DataError(problem, "Give one for each.", against.name)
        ours, theirs = ([None if p is None else str(p) for p in one.places] for one in (system, against))
        share = sum(one == other for one, other in zip(against.places, right, strict=True)) / len(right)
        rival = against, share, mcnemar(ours, theirs, list(map(str, right)))
    wrong = [
        WrongChoice(number, one, found, score)
        for number, (one, found, score) in enumerate(zip(right, system.places, system.scores or [], strict=True), 1)
        if found is not None and found != one
    ]
    return ChoiceReport(
        float(hits.mean()), _interval(hits), float(np.mean([1 / len(one.options) for one in choices])),
        float(np.bincount(right).max()) / len(right), system, sorted(wrong, key=lambda one: -one.score)[:SHOWN], rival,
    )  # fmt: skip


def _interval(hits: np.ndarray[Any, Any]) -> Interval:
    drawn = np.random.Generator(np.random.PCG64(SEED)).binomial(len(hits), hits.mean(), DRAWS) / len(hits)
    return Interval(*(float(x) for x in np.percentile(drawn, [2.5, 97.5])))


def read_chosen(path: str, first_number: int = 0) -> ChosenBy:
    """Read what another system chose: lines of `onehop predict`, or the number of an option a line.

    Args:
        path: The file.
        first_number: Number of the first option, where lines are numbers.

    Raises:
        DataError: A line is neither.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "theirs.txt"
        >>> _ = file.write_text("2" + chr(10) + '{"choice": 0}' + chr(10))
        >>> read_chosen(str(file), first_number=1).places
        [1, 0]
    """
    places: list[int | None] = []
    for number, line in enumerate(read_lines(path), 1):
        try:
            value = json.loads(line)
            place = value["choice"] if isinstance(value, dict) else value - first_number
            if not isinstance(place, int | None):
                raise TypeError
            places.append(place)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            remedy = "Give lines of `onehop predict`, or the number of an option for each choice."
            raise DataError("not a choice", remedy, f"{path}:{number}") from error
    return ChosenBy(path, places)
