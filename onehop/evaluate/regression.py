"""Evaluating regressors: correlations and errors with intervals, beside who always says the mean, and another model."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onehop.errors import DataError
from onehop.files import read_lines
from onehop.metrics import Interval
from onehop.metrics.regression import Compared, Numbers, bootstrap, compare, numbers, rounded
from onehop.tasks.fates import Fates, fates_of, to_dict
from onehop.tasks.regression import Regressor, number
from onehop.tasks.settings import Long


@dataclass(frozen=True)
class Numbered:
    """What a system made of the texts; where only a file of its numbers is known, the rest is None.

    Args:
        name: For the report.
        values: The number of each text.
        fates: What became of those that were longer than the model's limit.
        seconds: Of reading them.
        drift: What the model does otherwise than when it was made, where that was allowed.
    """

    name: str
    values: list[float]
    fates: Fates | None = None
    seconds: float | None = None
    drift: str | None = None


@dataclass(frozen=True)
class RegressReport:
    """The result of `evaluate_numbers`.

    Args:
        result: Of the model.
        intervals: 95 %, of both correlations and the root error, by bootstrap over texts.
        system: What was scored.
        rival: The other system, if one was named: its figures, and the paired test.
    """

    result: Numbers
    intervals: dict[str, Interval]
    system: Numbered
    rival: tuple[Numbered, Numbers, Compared] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: what `onehop evaluate --json` prints of a regressor."""
        values: dict[str, Any] = {}
        for name, value in self.result.to_dict().items():
            values[name] = rounded(value)
            if found := self.intervals.get(name):
                values[f"{name}_interval"] = [rounded(found.low), rounded(found.high)]
        system = self.system
        seconds = None if system.seconds is None else round(system.seconds, 2)
        values |= {"texts": len(system.values), **to_dict(system.fates)}
        values |= {"seconds": seconds, "drift": system.drift}
        if self.rival:
            other, figures, compared = self.rival
            values["against"] = {
                "name": other.name,
                "spearman": rounded(figures.spearman),
                "pearson": rounded(figures.pearson),
                "spearman_difference": rounded(compared.difference),
                "p": rounded(compared.p_value),
            }
        return values


def estimate(
    regressor: Regressor, texts: Sequence[str | Sequence[str]], *, name: str = "model", long: Long = "error",
    where: str = "data",
) -> Numbered:  # fmt: skip
    """Return the numbers of texts, none of which is empty.

    Raises:
        DataError: A text would be left out.
    """
    if long == "drop":
        raise DataError("a text that is left out has no number", "Use --long cut or window.", "--long")
    started = time.monotonic()
    found = regressor.predict(texts, long=long, where=where)
    values = [one.value if one.value is not None else float("nan") for one in found]
    return Numbered(name, values, fates_of(found), time.monotonic() - started, regressor.drift or None)


def evaluate_numbers(
    regressor: Regressor,
    texts: Sequence[str | Sequence[str]],
    wanted: Sequence[str],
    *,
    long: Long = "error",
    where: str = "data",
    against: Numbered | None = None,
) -> RegressReport:
    """Find the numbers of texts and score them.

    Args:
        regressor: The model.
        texts: None of them empty.
        wanted: The number of each, as the data write it.
        long: What to do with texts longer than the model's limit: not `drop`.
        where: Name of the file, for messages.
        against: Another system's numbers of the same texts.

    Raises:
        DataError: A text is empty or a number none; or there are not as many of one as of the other.
    """
    if len(texts) != len(wanted) or not texts:
        raise DataError(f"{len(texts)} texts and {len(wanted)} numbers", "Give a number for each text.", where)
    numbered = [number(text, f"{where}:row {row}") for row, text in enumerate(wanted, 1)]
    for row, text in enumerate(texts, 1):
        if not "".join(text).strip():
            raise DataError("an empty text", "Leave the row out.", f"{where}:row {row}")
    system = estimate(regressor, texts, long=long, where=where)
    rival = None
    if against is not None:
        if len(against.values) != len(numbered):
            problem = f"{len(against.values)} numbers for {len(numbered)} texts"
            raise DataError(problem, "Give one for each text.", against.name)
        rival = against, numbers(against.values, numbered), compare(system.values, against.values, numbered)
    return RegressReport(numbers(system.values, numbered), bootstrap(system.values, numbered), system, rival)


def read_estimates(path: str) -> Numbered:
    """Read what another system found: lines of `onehop predict`, or a number a line.

    Raises:
        DataError: A line is neither.
    """
    values: list[float] = []
    for row, line in enumerate(read_lines(path), 1):
        try:
            value = json.loads(line)["value"] if line.startswith("{") else line
            values.append(number(str(value), f"{path}:{row}"))
        except (ValueError, KeyError, RecursionError) as error:
            remedy = "Give lines of `onehop predict`, or numbers."
            raise DataError("not a prediction", remedy, f"{path}:{row}") from error
    return Numbered(path, values)
