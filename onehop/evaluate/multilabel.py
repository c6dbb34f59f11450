"""Evaluating multi-label classifiers: F1 and exact matches with intervals, by label, and against another system."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from onehop.data.label_sets import read, written
from onehop.data.labelled import LabelColumns
from onehop.errors import DataError
from onehop.evaluate.scored import (
    Given,
    Grid,
    Scored,
    Shown,
    against_note,
    as_percent,
    figure_grid,
    figures,
    given,
    label_grid,
    length_notes,
    rounded,
)
from onehop.evaluate.tables import LabelledTexts, read_table
from onehop.files import read_lines
from onehop.metrics import Interval
from onehop.metrics.classification import Compared, mcnemar
from onehop.metrics.multilabel import NAMES, Bools, SetScores, bootstrap_sets, score_sets
from onehop.tasks.multilabel import Multilabeller
from onehop.tasks.settings import Long
from onehop.text.places import Where, named, places_of

SHOWN = 10  # of the mistakes that the model was surest of
Labels = tuple[str, ...]


@dataclass(frozen=True)
class SetMistake:
    """A label that a text was given and has not, or has and was not given.

    Args:
        row: Number of the text, from 1.
        label: The label.
        given: Whether it was given.
        score: Its probability.
        where: The place of the text, where that is known.
    """

    row: int
    label: str
    given: bool
    score: float
    where: str = ""

    @property
    def was(self) -> str:
        """What happened to the label, in a word."""
        return "given" if self.given else "missed"


@dataclass(frozen=True)
class SetsReport:
    """The result of `evaluate_sets`.

    Args:
        result: Of the model.
        intervals: 95 %, of micro F1, macro F1 and exact matches, by bootstrap over texts.
        thresholds: By each label that the model knows, the probability from which on a text gets it.
        system: What was scored.
        mistakes: Those that the model was surest of.
        rival: The other system, if one was named: its scores, and the paired test of exact matches.
    """

    result: SetScores
    intervals: dict[str, Interval]
    thresholds: Mapping[str, float]
    system: Given[Labels]
    mistakes: list[SetMistake]
    rival: tuple[Given[Labels], SetScores, Compared] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: what `onehop evaluate --json` prints of a multi-label classifier."""
        values = figures(self.result, self.intervals, NAMES) | {
            "mcc": rounded(self.result.mcc),
            "majority": rounded(self.result.majority),
            "majority_micro_f1": rounded(self.result.majority_micro_f1),
            "texts": len(self.system.each),
            "labels": list(self.thresholds),
            "by_label": [{name: rounded(value) for name, value in asdict(one).items()} for one in self.result.classes],
            "mistakes": [{**asdict(one), "score": rounded(one.score)} for one in self.mistakes],
            **self.system.to_dict(),
        }
        return {**values, "against": self._against()} if self.rival else values

    def shown(self) -> Shown:
        """Return the report for people."""
        notes: list[str] = []
        if self.mistakes:
            told = (f"{one.where} {one.label} {one.was} ({one.score:.3f})" for one in self.mistakes)
            notes.append("surest mistakes: " + ", ".join(told))
        if self.rival:
            other, theirs, compared = self.rival
            notes.append(against_note(
                other.name, f"exact match {as_percent(theirs.exact)}, micro F1 {as_percent(theirs.micro_f1)}",
                f"{100 * compared.difference:+.1f} exact matches", compared.p_value,
                f" ({compared.better:,} texts better, {compared.worse:,} worse)",
            ))  # fmt: skip
        title = f"{len(self.system.each):,} texts"
        grids = shown_sets(self.result, self.intervals, self.thresholds, title, self.system)
        return Shown(grids, [*notes, *length_notes(self.system, "texts")])

    def _against(self) -> dict[str, Any]:
        assert self.rival is not None
        system, result, compared = self.rival
        return {
            "name": system.name,
            **{name: rounded(getattr(result, name)) for name in NAMES},
            "exact_difference": rounded(compared.difference),
            "better": compared.better,
            "worse": compared.worse,
            "p": rounded(compared.p_value),
            **system.to_dict(),
        }


def shown_sets(
    result: SetScores, intervals: dict[str, Interval], thresholds: Mapping[str, float], title: str,
    system: Given[Labels] | None = None,
) -> list[Grid]:  # fmt: skip
    """Return figures of sets of labels for people."""
    names = {"micro_f1": "micro F1", "macro_f1": "macro F1", "exact": "exact match"}
    rows = [(what, as_percent(getattr(result, name)), intervals[name]) for name, what in names.items()]
    usual = [("exact match", result.majority), ("micro F1", result.majority_micro_f1)]
    rows += [(f"{what} of always the usual set", as_percent(value), None) for what, value in usual]
    limits = [f"{thresholds[one.label]:.3g}" for one in result.classes]
    return [figure_grid(title, rows, system), label_grid(result.classes, "texts", limits, "threshold")]


def label_texts(
    task: Multilabeller,
    texts: Sequence[str | Sequence[str]],
    *,
    name: str = "model",
    long: Long = "error",
    where: Where = "data",
    wanted: Sequence[Sequence[str]] = (),
) -> Given[Labels]:
    """Give the texts their labels, and count what became of them; scores are the probabilities of all labels.

    Args:
        task: The model.
        texts: None of them empty.
        name: Of the system, for the report.
        long: What to do with texts longer than the model's limit; one that is dropped gets no label.
        where: Name of the file, or the place of each in it, for messages.
        wanted: Their own labels, if these are known: what was too long is counted under each of them, too.
    """
    started = time.monotonic()
    found = task.predict(texts, long=long, where=where)
    seconds = time.monotonic() - started
    own = [dict.fromkeys(labels, one.lost) for one, labels in zip(found, wanted, strict=False)]
    system = given(name, found, [one.labels or () for one in found], seconds, task.drift, own)
    return replace(system, scores=[one.scores for one in found])


def evaluate_sets(
    task: Multilabeller,
    texts: Sequence[str | Sequence[str]],
    wanted: Sequence[str],
    *,
    long: Long = "error",
    where: Where = "data",
    against: Given[Labels] | None = None,
) -> SetsReport:
    """Classify texts and score their labels.

    Args:
        task: The model.
        texts: None of them empty.
        wanted: The labels of each, as `onehop.data.label_sets.written` has them; all known to the model.
        long: What to do with texts longer than the model's limit; one that is dropped gets no label.
        where: Name of the file, or the place of each in it, for messages.
        against: Another system's labels of the same texts, from `label_texts` or from `read_sets`.

    Raises:
        DataError: A text is empty or a label unknown; or there are not as many of one as of the other.
    """
    names = _checked(task, texts, wanted, where)
    system, labels = label_texts(task, texts, long=long, where=where, wanted=names), task.labels
    limits = dict(zip(labels, task.thresholds.tolist(), strict=True))
    truth, found = as_table(names, labels), as_table(system.each, labels)
    rival, stand = None, places_of(where, len(texts))
    if against is not None:
        against.check(len(names), "sets of labels", "texts")
        theirs = as_table([[label for label in one if label in labels] for one in against.each], labels)
        ours, right = map(written, system.each), [written(one) for one in names]
        compared = mcnemar(list(ours), [written(one) for one in against.each], right)
        rival = against, score_sets(theirs, truth, labels), compared
    return SetsReport(
        score_sets(found, truth, labels), bootstrap_sets(found, truth), limits, system,
        [replace(one, where=stand[one.row - 1]) for one in mistakes(found, truth, system.scores or [], labels)], rival,
    )  # fmt: skip


def as_table(sets: Sequence[Sequence[str]], labels: Sequence[str]) -> Bools:
    """Return whether each text has each label, `(N, C)`.

    Example:
        >>> as_table([["dark"], []], ["loud", "dark"]).tolist()
        [[False, True], [False, False]]
    """
    ids = {label: place for place, label in enumerate(labels)}
    table = np.zeros((len(sets), len(labels)), np.bool_)
    for row, names in enumerate(sets):
        table[row, [ids[name] for name in names]] = True
    return table


def _checked(
    task: Multilabeller, texts: Sequence[str | Sequence[str]], wanted: Sequence[str], where: Where
) -> list[list[str]]:
    """Return the names of each text's labels, and refuse texts and labels that cannot be scored."""
    if len(texts) != len(wanted) or not texts:
        raise DataError(f"{len(texts)} texts and {len(wanted)} sets of labels", "Give one for each text.", named(where))
    names: list[list[str]] = []
    for text, labels, place in zip(texts, wanted, places_of(where, len(texts)), strict=True):
        if not "".join(text).strip():
            raise DataError("an empty text", "Leave the row out.", place)
        found = (task.label(label, place) for label in read(labels))
        names.append(list(dict.fromkeys(found)))
    return names


def read_sets(path: str) -> Given[Labels]:
    """Read what another system found: lines of `onehop predict`, or a JSON list of labels a line.

    Raises:
        DataError: A line is neither.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "theirs.jsonl"
        >>> _ = file.write_text('["loud"]' + chr(10) + '{"labels": []}' + chr(10))
        >>> read_sets(str(file)).each
        [('loud',), ()]
    """
    sets: list[Labels] = []
    for number, line in enumerate(read_lines(path), 1):
        try:
            value = json.loads(line)
            labels = value["labels"] if isinstance(value, dict) else value
            sets.append(tuple(str(label) for label in labels or ()))
            if not isinstance(labels, list | None):
                raise TypeError
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            remedy = "Give lines of `onehop predict`, or a JSON list of labels for each text."
            raise DataError("not a set of labels", remedy, f"{path}:{number}") from error
    return Given(path, sets)


def mistakes(
    found: Bools, wanted: Bools, scores: Sequence[dict[str, float]], labels: Sequence[str], most: int = SHOWN
) -> list[SetMistake]:
    """Return the labels that were given or withheld wrongly, the surest first."""
    wrong = [
        SetMistake(row + 1, labels[place], bool(found[row, place]), scores[row].get(labels[place], 0.0))
        for row, place in np.argwhere(found != wanted).tolist()
        if len(scores)
    ]
    return sorted(wrong, key=lambda one: -one.score if one.given else one.score - 1)[:most]


def _read(data: str, columns: tuple[tuple[str, ...], str], task: Multilabeller) -> LabelledTexts:
    return read_table(data, columns, task, LabelColumns(many=True, separator=task.settings.separator))


def _run(task: Multilabeller, table: LabelledTexts, **how: Any) -> Given[Labels]:
    return label_texts(task, table.texts, **how, where=table.places)


def _judge(task: Multilabeller, table: LabelledTexts, **how: Any) -> SetsReport:
    return evaluate_sets(task, table.texts, table.wanted, **how, where=table.places)


SCORED = Scored(
    "multilabel", "texts with labels", _read, _run, _judge,
    lambda path, model: read_sets(path), lambda labels, model: f"{written(labels)}\n",
)  # fmt: skip
