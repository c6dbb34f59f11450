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

NAMES = {"spearman": "Spearman", "pearson": "Pearson", "rmse": "RMSE"}
Value = float | None  # of a text; none where it was dropped, which counts as the mean


@dataclass(frozen=True)
class Without:
    """Texts that got no number, and how well those of the others were found.

    Args:
        texts: How many got none.
        mean: What they count as: the mean of the numbers that the model was trained on.
        others: The figures of the others; None where there are none.
    """

    texts: int
    mean: float
    others: Numbers | None

    def to_dict(self) -> dict[str, Any]:
        """Return them as JSON values."""
        if not self.texts:
            return {"without": 0}
        names = ("pearson", "spearman", "rmse", "mae")
        others = self.others and {name: rounded(getattr(self.others, name)) for name in names}
        return {"without": self.texts, "counted_as": rounded(self.mean), "others": others}

    def told(self, name: str = "") -> list[str]:
        """Return them as a sentence for people, if there are any; of another system with its name."""
        if not self.texts:
            return []
        whose, mean = f" from {name}" if name else "", f"{self.mean:.4g}"
        told = f"{self.texts:,} texts got no number{whose} and count as the mean of the training numbers, {mean}"
        if not self.others:
            return [told]
        figures = (f"{title} {getattr(self.others, name):.4g}" for name, title in NAMES.items())
        return [f"{told}; of the others {', '.join(figures)}"]


@dataclass(frozen=True)
class RegressReport:
    """The result of `evaluate_numbers`.

    Args:
        result: Of the model, over all texts.
        intervals: 95 %, of both correlations and the root error, by bootstrap over texts.
        system: What was scored.
        without: The texts that got no number.
        rival: The other system, if one was named: its figures, the paired test, and the texts that got none from it.
    """

    result: Numbers
    intervals: dict[str, Interval]
    system: Given[Value]
    without: Without
    rival: tuple[Given[Value], Numbers, Compared, Without] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: what `onehop evaluate --json` prints of a regressor."""
        values: dict[str, Any] = {}
        for name, value in self.result.to_dict().items():
            values[name] = rounded(value)
            if found := self.intervals.get(name):
                values[f"{name}_interval"] = [rounded(found.low), rounded(found.high)]
        values |= {"texts": len(self.system.each), **self.without.to_dict(), **self.system.to_dict()}
        if self.rival:
            other, figures, compared, without = self.rival
            values["against"] = {
                "name": other.name,
                "spearman": rounded(figures.spearman),
                "pearson": rounded(figures.pearson),
                "spearman_difference": rounded(compared.difference),
                "p": rounded(compared.p_value),
                **without.to_dict(),
                **other.to_dict(),
            }
        return values

    def shown(self) -> Shown:
        """Return the report for people."""
        grid = shown_numbers(self.result, self.intervals, len(self.system.each), self.system)
        notes: list[str] = []
        if self.rival:
            other, theirs, compared, without = self.rival
            figure = f"Spearman {theirs.spearman:.4g}"
            notes.append(against_note(other.name, figure, f"{compared.difference:+.4f}", compared.p_value))
            notes += without.told(other.name)
        return Shown([grid], [*notes, *self.without.told(), *length_notes(self.system, "texts")])


def shown_numbers(
    result: Numbers, intervals: dict[str, Interval], count: int, system: Given[Value] | None = None
) -> Grid:
    """Return figures of so many numbers for people."""
    seconds = f" in {system.seconds:.1f} s" if system and system.seconds is not None else ""
    between = {name: f"{found.low:.4g} to {found.high:.4g}" for name, found in intervals.items()}
    rows = [[title, f"{getattr(result, name):.4g}", between.get(name, "")] for name, title in NAMES.items()]
    rows += [
        ["mean absolute error", f"{result.mae:.4g}", ""],
        ["RMSE of always the mean", f"{result.mean_rmse:.4g}", ""],
    ]
    return Grid(f"{count:,} texts{seconds}", ("", "value", "95 % interval"), rows)


def estimate(
    regressor: Regressor, texts: Sequence[str | Sequence[str]], *, name: str = "model", long: Long = "error",
    where: Where = "data",
) -> Given[Value]:  # fmt: skip
    """Return the numbers of texts, none of which is empty; None of those that are dropped, as asked."""
    started = time.monotonic()
    found = regressor.predict(texts, long=long, where=where)
    return given(name, found, [one.value for one in found], time.monotonic() - started, regressor.drift)


def filled(each: Sequence[Value], mean: float, wanted: Sequence[float]) -> tuple[list[float], Without]:
    """Return the numbers with a mean in place of those that are missing, and what is to be told of these.

    Example:
        >>> values, without = filled([1.0, None, 3.0], 2.5, [1.0, 2.0, 4.0])
        >>> values, without.texts, without.others.mae
        ([1.0, 2.5, 3.0], 1, 0.5)
    """
    values = [mean if value is None else value for value in each]
    known = [(value, other) for value, other in zip(each, wanted, strict=True) if value is not None]
    others = numbers([value for value, _ in known], [other for _, other in known]) if known else None
    return values, Without(len(values) - len(known), mean, others)


def evaluate_numbers(
    regressor: Regressor,
    texts: Sequence[str | Sequence[str]],
    wanted: Sequence[str],
    *,
    long: Long = "error",
    where: Where = "data",
    against: Given[Value] | None = None,
) -> RegressReport:
    """Find the numbers of texts and score them.

    Args:
        regressor: The model.
        texts: None of them empty.
        wanted: The number of each, as the data write it.
        long: What to do with texts longer than the model's limit; one that is dropped counts as the mean of the
            numbers that the model was trained on, as who knows nothing of it would say.
        where: Name of the file, or the place of each in it, for messages.
        against: Another system's numbers of the same texts, from `estimate` or from `read_estimates`; where it has
            none, the same mean counts.

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
    system, mean = estimate(regressor, texts, long=long, where=where), regressor.settings.mean
    values, without = filled(system.each, mean, numbered)
    rival = None
    if against is not None:
        against.check(len(numbered), "numbers", "texts")
        theirs, missing = filled(against.each, mean, numbered)
        rival = against, numbers(theirs, numbered), compare(values, theirs, numbered), missing
    return RegressReport(numbers(values, numbered), bootstrap(values, numbered), system, without, rival)


def read_estimates(path: str) -> Given[Value]:
    """Read what another system found: lines of `onehop predict`, or a number a line; `null` for none.

    Raises:
        DataError: A line is neither.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "theirs.jsonl"
        >>> _ = file.write_text('{"value": 0.5}' + chr(10) + '{"value": null, "dropped": true}' + chr(10) + "null")
        >>> read_estimates(str(file)).each
        [0.5, None, None]
    """
    values: list[Value] = []
    for row, line in enumerate(read_lines(path), 1):
        try:
            value = json.loads(line)["value"] if line.startswith("{") else line
            nothing = value is None or value == "null"
            values.append(None if nothing else number(str(value), f"{path}:{row}"))
        except (ValueError, KeyError, RecursionError) as error:
            remedy = "Give lines of `onehop predict`, or numbers."
            raise DataError("not a prediction", remedy, f"{path}:{row}") from error
    return Given(path, values)


def _line(value: Value, regressor: Regressor) -> str:
    return "null\n" if value is None else f"{value:.7g}\n"


def _read(data: str, columns: tuple[tuple[str, ...], str], regressor: Regressor) -> LabelledTexts:
    return read_table(data, columns, regressor, LabelColumns(numbers=True))


def _run(regressor: Regressor, table: LabelledTexts, **how: Any) -> Given[Value]:
    return estimate(regressor, table.texts, **how, where=table.places)


def _judge(regressor: Regressor, table: LabelledTexts, **how: Any) -> RegressReport:
    return evaluate_numbers(regressor, table.texts, table.wanted, **how, where=table.places)


SCORED = Scored(
    "regress", "texts with numbers", _read, _run, _judge, lambda path, model: read_estimates(path), _line,
)  # fmt: skip
