"""Evaluating regressors: correlations and errors with intervals, beside who always says the mean, and another model."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onehop.data.labelled import LabelColumns
from onehop.errors import DataError
from onehop.evaluate.scored import Given, Grid, Scored, Shown, against_note, given, length_notes
from onehop.evaluate.tables import LabelledTexts, read_table
from onehop.files import read_lines
from onehop.metrics import Interval
from onehop.metrics.regression import Compared, Numbers, bootstrap, compare, numbers, rounded
from onehop.tasks.regression import Regressor, number
from onehop.tasks.settings import Long
from onehop.text.places import Where, named, places_of


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
    system: Given[float]
    rival: tuple[Given[float], Numbers, Compared] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: what `onehop evaluate --json` prints of a regressor."""
        values: dict[str, Any] = {}
        for name, value in self.result.to_dict().items():
            values[name] = rounded(value)
            if found := self.intervals.get(name):
                values[f"{name}_interval"] = [rounded(found.low), rounded(found.high)]
        values |= {"texts": len(self.system.each), **self.system.to_dict()}
        if self.rival:
            other, figures, compared = self.rival
            values["against"] = {
                "name": other.name,
                "spearman": rounded(figures.spearman),
                "pearson": rounded(figures.pearson),
                "spearman_difference": rounded(compared.difference),
                "p": rounded(compared.p_value),
                **other.to_dict(),
            }
        return values

    def shown(self) -> Shown:
        """Return the report for people."""
        grid = shown_numbers(self.result, self.intervals, len(self.system.each), self.system)
        notes = length_notes(self.system, "texts")
        if self.rival:
            other, theirs, compared = self.rival
            figure = f"Spearman {theirs.spearman:.4g}"
            notes.insert(0, against_note(other.name, figure, f"{compared.difference:+.4f}", compared.p_value))
        return Shown([grid], notes)


def shown_numbers(
    result: Numbers, intervals: dict[str, Interval], count: int, system: Given[float] | None = None
) -> Grid:
    """Return figures of so many numbers for people."""
    seconds = f" in {system.seconds:.1f} s" if system and system.seconds is not None else ""
    names = {"spearman": "Spearman", "pearson": "Pearson", "rmse": "RMSE"}
    between = {name: f"{found.low:.4g} to {found.high:.4g}" for name, found in intervals.items()}
    rows = [[title, f"{getattr(result, name):.4g}", between.get(name, "")] for name, title in names.items()]
    rows += [
        ["mean absolute error", f"{result.mae:.4g}", ""],
        ["RMSE of always the mean", f"{result.mean_rmse:.4g}", ""],
    ]
    return Grid(f"{count:,} texts{seconds}", ("", "value", "95 % interval"), rows)


def estimate(
    regressor: Regressor, texts: Sequence[str | Sequence[str]], *, name: str = "model", long: Long = "error",
    where: Where = "data",
) -> Given[float]:  # fmt: skip
    """Return the numbers of texts, none of which is empty.

    Raises:
        DataError: A text would be left out.
    """
    if long == "drop":
        problem = "a text that is left out has no number, and so no error that could be counted with the others"
        raise DataError(problem, "Use --long cut or window; or take those texts out of the file.", "--long drop")
    started = time.monotonic()
    found = regressor.predict(texts, long=long, where=where)
    values = [one.value if one.value is not None else float("nan") for one in found]
    return given(name, found, values, time.monotonic() - started, regressor.drift)


def evaluate_numbers(
    regressor: Regressor,
    texts: Sequence[str | Sequence[str]],
    wanted: Sequence[str],
    *,
    long: Long = "error",
    where: Where = "data",
    against: Given[float] | None = None,
) -> RegressReport:
    """Find the numbers of texts and score them.

    Args:
        regressor: The model.
        texts: None of them empty.
        wanted: The number of each, as the data write it.
        long: What to do with texts longer than the model's limit: not `drop`.
        where: Name of the file, or the place of each in it, for messages.
        against: Another system's numbers of the same texts.

    Raises:
        DataError: A text is empty or a number none; or there are not as many of one as of the other.
    """
    if len(texts) != len(wanted) or not texts:
        raise DataError(f"{len(texts)} texts and {len(wanted)} numbers", "Give a number for each text.", named(where))
    stand = places_of(where, len(texts))
    numbered = [number(text, place) for text, place in zip(wanted, stand, strict=True)]
    for text, place in zip(texts, stand, strict=True):
        if not "".join(text).strip():
            raise DataError("an empty text", "Leave the row out.", place)
    system = estimate(regressor, texts, long=long, where=where)
    rival = None
    if against is not None:
        against.check(len(numbered), "numbers", "texts")
        rival = against, numbers(against.each, numbered), compare(system.each, against.each, numbered)
    return RegressReport(numbers(system.each, numbered), bootstrap(system.each, numbered), system, rival)


def read_estimates(path: str) -> Given[float]:
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
    return Given(path, values)


def _read(data: str, columns: tuple[tuple[str, ...], str], regressor: Regressor) -> LabelledTexts:
    return read_table(data, columns, regressor, LabelColumns(numbers=True))


def _run(regressor: Regressor, table: LabelledTexts, **how: Any) -> Given[float]:
    return estimate(regressor, table.texts, **how, where=table.places)


def _judge(regressor: Regressor, table: LabelledTexts, **how: Any) -> RegressReport:
    return evaluate_numbers(regressor, table.texts, table.wanted, **how, where=table.places)


SCORED = Scored(
    "regress", "texts with numbers", _read, _run, _judge,
    lambda path, model: read_estimates(path), lambda value, model: f"{value:.7g}\n",
)  # fmt: skip
