"""Evaluating models that embed: cosines beside the scores of pairs, or how texts are found among others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
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
from onehop.tasks.nearest import Near, Nearest
from onehop.tasks.settings import Long

NAMES = {"mrr": "mean reciprocal rank", "accuracy": "found first", "recall": "found among the first ten"}
Value = float | None  # a cosine, or the place at which a text was found; none of what was dropped


@dataclass(frozen=True)
class Collection:
    """The texts that are to be found, each once, and those that are not to be found beside them.

    Args:
        texts: All of them.
        sources: Of each, its place among the second and further texts of the rows, column by column.
        right: Of each row, the numbers of the texts that are to be found for its first.
    """

    texts: list[str]
    sources: list[int]
    right: list[list[int]]

    @classmethod
    def of(cls, rows: Sequence[Alike]) -> Collection:
        """Return the collection of rows.

        Example:
            >>> rows = [Alike(("a", "x")), Alike(("a", "y")), Alike(("b", "x"))]
            >>> found = Collection.of(rows)
            >>> found.texts, found.right
            (['x', 'y'], [[0, 1], [0, 1], [0]])
        """
        numbers: dict[str, int] = {}
        sources: list[int] = []
        columns = max((len(row.texts) for row in rows), default=1)
        for column in range(1, columns):
            for place, row in enumerate(rows):
                if row.texts[column] not in numbers:
                    numbers[row.texts[column]] = len(numbers)
                    sources.append((column - 1) * len(rows) + place)
        own: dict[str, dict[int, None]] = {}
        for row in rows:
            own.setdefault(row.texts[0], {})[numbers[row.texts[1]]] = None
        return cls(list(numbers), sources, [list(own[row.texts[0]]) for row in rows])

    def __len__(self) -> int:
        return len(self.texts)

    def places(self, asked: Tensor, vectors: Tensor) -> tuple[list[int], list[Near]]:
        """Return the place, from 1, of the best right text of each row, and the text that was found first.

        Args:
            asked: Vectors of the rows' first texts, `(P, D)`.
            vectors: Of the others, column by column, `((K - 1) P, D)`.
        """
        nearest = Nearest(vectors[self.sources])
        return nearest.ranks(asked, self.right), [near[0] for near in nearest.find(asked, 1)]


@dataclass(frozen=True)
class EmbedReport:
    """The result of `evaluate_vectors`.

    Args:
        system: What was scored: a cosine for each pair, or the place of each text that is to be found.
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
        values |= {"pairs": len(self.system.each), **({"among": self.among} if self.among else {})}
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
            notes.append(f"{missing:,} rows with a text that was dropped count as {what}")
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
    """Return the cosine of each pair with a score; else the place, from 1, at which each row's second text is found.

    Args:
        embedder: The model.
        table: The rows.
        name: Of the system, for the report.
        long: What to do with texts longer than the model's limit; a row with one that is dropped gets None.
        where: Not used: rows know their places.
    """
    started, rows = time.monotonic(), table.rows
    texts = [(row.texts[column], row.where) for column in range(len(rows[0].texts)) for row in rows]
    unique = list(dict.fromkeys(text for text, _ in texts))
    stands = dict(reversed(texts))  # the first place of each
    found = embedder.predict(unique, long=long, where=[stands[text] for text in unique])
    number = {text: place for place, text in enumerate(unique)}
    none = torch.zeros(embedder.model.encoder.dim)
    vectors = torch.stack([none if one.vector is None else one.vector for one in found])
    vectors = torch.nn.functional.normalize(vectors, dim=-1)[[number[text] for text, _ in texts]]
    lost = [any(found[number[text]].vector is None for text in row.texts[:2]) for row in rows]
    asked, others = vectors[: len(rows)], vectors[len(rows) :]
    if table.scored:
        values: list[float] = (asked * others[: len(rows)]).sum(-1).tolist()
    else:
        values = [float(place) for place in Collection.of(rows).places(asked, others)[0]]
    each = [None if nothing else value for value, nothing in zip(values, lost, strict=True)]
    return given(name, found, each, time.monotonic() - started, embedder.drift)


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
    system, rows = estimate(embedder, table, long=long), table.rows
    if against is not None:
        against.check(len(rows), "values", "rows")
    values = [value or 0.0 for value in system.each]
    theirs = [value or 0.0 for value in against.each] if against else []
    if table.scored:
        scores = [row.score or 0.0 for row in rows]
        rival = None
        if against:
            compared = regression.compare(values, theirs, scores)
            rival = against, regression.numbers(theirs, scores), compared.difference, compared.p_value
        return EmbedReport(
            system, regression.numbers(values, scores), regression.bootstrap(values, scores), rival=rival
        )
    places = [int(value) for value in values]
    rival = None
    if against:
        others = [int(value) for value in theirs]
        rival = against, retrieval(others), *compare(places, others)
    among = len(Collection.of(rows))
    return EmbedReport(system, retrieval(places), bootstrap(places), among, rival)


def read_values(path: str) -> Given[Value]:
    """Read what another system found: a cosine, or a place from 1, in each line; `null` for none.

    Raises:
        DataError: A line is neither.
    """
    values: list[Value] = []
    for row, line in enumerate(read_lines(path), 1):
        try:
            values.append(None if line.strip() == "null" else float(line))
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
