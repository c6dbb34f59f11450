"""Evaluating models that embed: cosines beside the scores of pairs, or how texts are found among others."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from onehop.data.alike import Alike, AlikeColumns, open_alike
from onehop.errors import DataError
from onehop.evaluate.scored import Given, Grid, Scored, Shown, against_note, as_percent, as_range, given, length_notes
from onehop.files import read_lines
from onehop.metrics import Interval, regression
from onehop.metrics.retrieval import FIGURES, Found, bootstrap, compare, retrieval
from onehop.tasks.embedding import Embedder
from onehop.tasks.nearest import Near, Nearest, unit
from onehop.tasks.settings import Long

NAMES = {"mrr": "mean reciprocal rank", "accuracy": "found first", "hit_rate": "found among the first ten"}
MOST = 1.001  # of a cosine, with its rounding
Value = float | None  # a cosine, or the place at which a text was found; none of what was dropped


@dataclass(frozen=True)
class Collection:
    """The texts that are to be found, each once, those that are not to be found beside them, and who asks.

    Texts are the same where their keys are, such as the tokens that a model reads of them.

    Args:
        rows: Of the first row of each distinct text that asks, its number.
        sources: Of each text of the collection, its place among the further texts of the rows, column by column.
        right: Of each text that asks, the numbers of those that are to be found for it.
        besides: Of each, the number of the text that equals it, if one does and is not to be found: it is left out.
    """

    rows: list[int]
    sources: list[int]
    right: list[list[int]]
    besides: list[list[int]]

    @classmethod
    def of(cls, keys: Sequence[Sequence[Hashable]]) -> Collection:
        """Return the collection of rows of two or more texts, of which only the keys are known.

        Example:
            >>> found = Collection.of([("a", "x"), ("a", "y"), ("b", "x"), ("x", "z")])
            >>> found.rows, found.sources, found.right, found.besides
            ([0, 2, 3], [0, 1, 3], [[0, 1], [0], [2]], [[], [], [0]])
        """
        numbers: dict[Hashable, int] = {}
        sources: list[int] = []
        for column in range(1, max(map(len, keys), default=1)):
            for place, row in enumerate(keys):
                if row[column] not in numbers:
                    numbers[row[column]] = len(numbers)
                    sources.append((column - 1) * len(keys) + place)
        first: dict[Hashable, int] = {}
        own: dict[Hashable, dict[int, None]] = {}
        for place, row in enumerate(keys):
            first.setdefault(row[0], place)
            own.setdefault(row[0], {})[numbers[row[1]]] = None
        besides = [[numbers[key]] if key in numbers and numbers[key] not in own[key] else [] for key in first]
        return cls(list(first.values()), sources, list(map(list, own.values())), besides)

    def __len__(self) -> int:
        return len(self.sources)

    def places(self, asked: Tensor, others: Tensor) -> list[int]:
        """Return the place, from 1, of the best right text of each text that asks.

        Args:
            asked: Vectors of the rows' first texts, `(P, D)`.
            others: Vectors of the others, column by column, `((K - 1) P, D)`.
        """
        return Nearest(others[self.sources]).ranks(asked[self.rows], self.right, self.besides)

    def firsts(self, asked: Tensor, others: Tensor) -> list[Near]:
        """Return which text of the collection, by its place in `others`, is nearest to each text that asks."""
        found = Nearest(others[self.sources]).find(asked[self.rows], 2)
        best = (
            next((one for one in near if [one.place] != own), Near(0, 0.0))
            for near, own in zip(found, self.besides, strict=True)
        )
        return [Near(self.sources[one.place], one.cosine) for one in best]


@dataclass(frozen=True)
class EmbedReport:
    """The result of `evaluate_vectors`.

    Args:
        system: What was scored: a cosine for each pair, or the place at which each distinct first text finds its own.
        result: Figures of it.
        intervals: 95 %, by bootstrap over rows.
        among: Texts that others were looked for among; 0 where pairs have scores.
        rival: The other system, if one was named: its figures, how far ours are above, and the p value of that.
    """

    system: Given[Value]
    result: regression.Numbers | Found
    intervals: dict[str, Interval]
    among: int = 0
    rival: tuple[Given[Value], regression.Numbers | Found, float, float] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the figures; the first is the one that systems are compared by."""
        return FIGURES if self.among else ("spearman", "pearson")

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: what `onehop evaluate --json` prints of a model that embeds."""
        values: dict[str, Any] = {}
        for name in self.names:
            found = self.intervals[name]
            values[name] = regression.rounded(getattr(self.result, name))
            values[f"{name}_interval"] = [regression.rounded(found.low), regression.rounded(found.high)]
        count = len(self.system.each)
        values |= {"queries": count, "among": self.among} if self.among else {"pairs": count}
        values |= {"without": self.system.each.count(None), **self.system.to_dict()}
        if self.rival:
            other, figures, difference, chance = self.rival
            first = self.names[0]
            values["against"] = {
                "name": other.name,
                **{name: regression.rounded(getattr(figures, name)) for name in self.names},
                f"{first}_difference": regression.rounded(difference),
                "p": regression.rounded(chance),
                **other.to_dict(),
            }
        return values

    def shown(self) -> Shown:
        """Return the report for people."""
        count = len(self.system.each)
        if isinstance(self.result, Found):
            title = f"{count:,} texts, looked for among {self.among:,}"
            grid = shown_places(self.result, self.intervals, title, self.system)
        else:
            grid = shown_pairs(self.result, self.intervals, f"{count:,} pairs", self.system)
        notes: list[str] = []
        if self.rival:
            other, figures, difference, chance = self.rival
            name = {"mrr": "MRR", "spearman": "Spearman"}[self.names[0]]
            told = f"{name} {getattr(figures, self.names[0]):.4g}"
            notes.append(against_note(other.name, told, f"{difference:+.4f}", chance))
        if missing := self.system.each.count(None):
            what = "not found" if self.among else "a cosine of 0"
            notes.append(f"{missing:,} with a text that was dropped count as {what}")
        return Shown([grid], [*notes, *length_notes(self.system, "texts")])


def shown_pairs(
    result: regression.Numbers, intervals: dict[str, Interval], title: str, system: Given[Value] | None = None
) -> Grid:
    """Return correlations for people."""
    rows = [
        [name.capitalize(), f"{getattr(result, name):.4g}", f"{intervals[name].low:.4g} to {intervals[name].high:.4g}"]
        for name in ("spearman", "pearson")
    ]
    return Grid(title + _seconds(system), ("cosines and scores", "value", "95 % interval"), rows)


def shown_places(
    result: Found, intervals: dict[str, Interval], title: str, system: Given[Value] | None = None
) -> Grid:  # fmt: skip
    """Return figures of search for people."""
    rows = [["MRR", f"{result.mrr:.4f}", f"{intervals['mrr'].low:.4f} to {intervals['mrr'].high:.4f}"]]
    rows += [[NAMES[name], as_percent(getattr(result, name)), as_range(intervals[name])] for name in FIGURES[1:]]
    return Grid(title + _seconds(system), ("", "value", "95 % interval"), rows)


def _seconds(system: Given[Value] | None) -> str:
    return f" in {system.seconds:.1f} s" if system and system.seconds is not None else ""


# ------------------------------------------------------------------------------------------------ scoring


@dataclass(frozen=True)
class AlikeRows:
    """Rows of a table, none with an empty cell.

    Args:
        rows: Pairs with scores, or texts to be found.
    """

    rows: list[Alike]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def scored(self) -> bool:
        """Whether pairs have scores."""
        return self.rows[0].score is not None


def estimate(
    embedder: Embedder, table: AlikeRows, *, name: str = "model", long: Long = "error", where: str = "data"
) -> Given[Value]:
    """Return the cosine of each pair with a score; else the place, from 1, at which is found what a text asks for.

    Args:
        embedder: The model.
        table: The rows; without scores, each distinct first text counts once.
        name: Of the system, for the report.
        long: What to do with texts longer than the model's limit; what a text that is dropped decides is None.
        where: Not used: rows know their places.
    """
    started, rows = time.monotonic(), table.rows
    texts = [(row.texts[column], row.where) for column in range(len(rows[0].texts)) for row in rows]
    unique = list(dict.fromkeys(text for text, _ in texts))
    stands = dict(reversed(texts))  # the first place of each
    found = embedder.predict(unique, long=long, where=[stands[text] for text in unique])
    number = {text: place for place, text in enumerate(unique)}
    none = torch.zeros(embedder.model.encoder.dim)
    vectors = unit(torch.stack([none if one.vector is None else one.vector for one in found]))
    vectors = vectors[[number[text] for text, _ in texts]]
    asked, others = vectors[: len(rows)], vectors[len(rows) :]
    lost = {text for text, one in zip(unique, found, strict=True) if one.vector is None}
    each: list[Value]
    if table.scored:
        cosines = (asked * others[: len(rows)]).sum(-1).tolist()
        each = [None if lost & {*row.texts} else value for row, value in zip(rows, cosines, strict=True)]
    else:
        collection = _collection(embedder, rows)
        places = collection.places(asked, others)
        whose = (rows[place].texts[0] for place in collection.rows)
        each = [None if text in lost else float(place) for text, place in zip(whose, places, strict=True)]
    return given(name, found, each, time.monotonic() - started, embedder.drift)


def _collection(embedder: Embedder, rows: Sequence[Alike]) -> Collection:
    """Return the collection of rows, where texts of the same tokens are the same."""
    unique = list(dict.fromkeys(text for row in rows for text in row.texts))
    read = dict(zip(unique, map(tuple, embedder.encode(unique)), strict=True))
    return Collection.of([[read[text] for text in row.texts] for row in rows])


def evaluate_vectors(
    embedder: Embedder, table: AlikeRows, *, long: Long = "error", against: Given[Value] | None = None
) -> EmbedReport:
    """Embed the texts of a table and score their vectors.

    Args:
        embedder: The model.
        table: At least one row.
        long: See `estimate`; what was dropped counts as a cosine of 0, or as not found.
        against: Another system on the same rows, from `estimate` or `read_values`.

    Raises:
        DataError: The other system has not as many values.
    """
    rows = table.rows
    if table.scored and len({row.score for row in rows}) < 2:
        raise DataError("one score only: nothing can follow it", "Give pairs of different scores.", rows[0].where)
    system = estimate(embedder, table, long=long)
    if against is not None:
        against.check(len(system.each), "values", "pairs" if table.scored else "distinct first texts")
        _check_kind(against, scored=table.scored)
    values = [value or 0.0 for value in system.each]
    theirs = [value or 0.0 for value in against.each] if against else []
    rival = None
    if table.scored:
        scores = [row.score or 0.0 for row in rows]
        if against:
            compared = regression.compare(values, theirs, scores)
            rival = against, regression.numbers(theirs, scores), compared.difference, compared.p_value
        return EmbedReport(
            system, regression.numbers(values, scores), regression.bootstrap(values, scores), rival=rival
        )
    places = [int(value) for value in values]
    if against:
        others = [int(value) for value in theirs]
        rival = against, retrieval(others), *compare(places, others)
    among = len(_collection(embedder, rows))
    return EmbedReport(system, retrieval(places), bootstrap(places), among, rival)


def _check_kind(other: Given[Value], *, scored: bool) -> None:
    """Refuse another system's values that are no cosines, or no places.

    Raises:
        DataError: One is not.
    """
    for row, value in enumerate(other.each, 1):
        fits = abs(value or 0.0) <= MOST if scored else value is None or (value >= 1 and value == int(value))
        if not fits:
            what = "a cosine, from -1 to 1" if scored else "a place, from 1"
            raise DataError(f"{value:g} is not {what}", "Give what `onehop evaluate -o` writes.", f"{other.name}:{row}")


def read_values(path: str) -> Given[Value]:
    """Read what another system found: a cosine, or a place from 1, in each line; `null` for none.

    Raises:
        DataError: A line is neither.
    """
    values: list[Value] = []
    for row, line in enumerate(read_lines(path), 1):
        try:
            value = None if line.strip() == "null" else float(line)
            if value is not None and not isfinite(value):
                raise ValueError
            values.append(value)
        except ValueError as error:
            raise DataError("no number", "Give a cosine, or a place, in each line.", f"{path}:{row}") from error
    return Given(path, values)


def _read(data: str, columns: tuple[tuple[str, ...], str], embedder: Embedder) -> AlikeRows:
    table = open_alike(data, AlikeColumns(*columns))
    rows: list[Alike] = []
    for row in table.rows:
        if not row.whole:
            raise DataError("an empty text or no score", "Leave the row out.", row.where)
        rows.append(row)
    return AlikeRows(rows)


SCORED = Scored(
    "embed", "pairs with scores, or texts with those that are to be found for them", _read, estimate, evaluate_vectors,
    lambda path, model: read_values(path), lambda value, model: "null\n" if value is None else f"{value:.7g}\n",
)  # fmt: skip
