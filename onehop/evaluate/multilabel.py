"""Evaluating multi-label classifiers: F1 and exact matches with intervals, by label, and against another system."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from onehop.data.label_sets import read, written
from onehop.errors import DataError
from onehop.files import read_lines
from onehop.metrics import Interval
from onehop.metrics.classification import Compared, mcnemar
from onehop.metrics.multilabel import NAMES, Bools, SetScores, bootstrap_sets, score_sets
from onehop.tasks.multilabel import Multilabeller
from onehop.tasks.settings import Long

SHOWN = 10  # of the mistakes that the model was surest of


@dataclass(frozen=True)
class SetsBy:
    """The labels that a system gave the texts, and how; where only a file of them is known, the rest is None.

    Args:
        name: For the report.
        sets: The labels of each text; none where it was dropped.
        scores: The probability of every label for each text.
        dropped: Texts too long, left out as asked.
        cut: Texts too long, read only in part, as asked.
        windows: Texts too long, divided and read window by window, as asked.
        seconds: Of classifying.
        drift: What the model does otherwise than when it was made, where that was allowed.
    """

    name: str
    sets: list[tuple[str, ...]]
    scores: list[dict[str, float]] | None = None
    dropped: int | None = None
    cut: int | None = None
    windows: int | None = None
    seconds: float | None = None
    drift: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return counts as JSON values."""
        seconds = None if self.seconds is None else round(self.seconds, 2)
        names = ("dropped", "cut", "windows")
        return {**{name: getattr(self, name) for name in names}, "seconds": seconds, "drift": self.drift}


@dataclass(frozen=True)
class SetMistake:
    """A label that a text was given and has not, or has and was not given.

    Args:
        row: Number of the text, from 1.
        label: The label.
        given: Whether it was given.
        score: Its probability.
    """

    row: int
    label: str
    given: bool
    score: float


@dataclass(frozen=True)
class SetsReport:
    """The result of `evaluate_sets`.

    Args:
        result: Of the model.
        intervals: 95 %, of micro F1, macro F1 and exact matches, by bootstrap over texts.
        labels: All that the model knows.
        system: What was scored.
        mistakes: Those that the model was surest of.
        rival: The other system, if one was named: its scores, and the paired test of exact matches.
    """

    result: SetScores
    intervals: dict[str, Interval]
    labels: tuple[str, ...]
    system: SetsBy
    mistakes: list[SetMistake]
    rival: tuple[SetsBy, SetScores, Compared] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: what `onehop evaluate --json` prints of a multi-label classifier."""
        values: dict[str, Any] = {}
        for name in NAMES:
            found = self.intervals[name]
            values[name] = round(getattr(self.result, name), 4)
            values[f"{name}_interval"] = [round(found.low, 4), round(found.high, 4)]
        values |= {
            "majority": round(self.result.majority, 4),
            "majority_micro_f1": round(self.result.majority_micro_f1, 4),
            "texts": len(self.system.sets),
            "labels": list(self.labels),
            "by_label": [
                {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(one).items()}
                for one in self.result.classes
            ],
            "mistakes": [{**asdict(one), "score": round(one.score, 4)} for one in self.mistakes],
            **self.system.to_dict(),
        }
        return {**values, "against": self._against()} if self.rival else values

    def _against(self) -> dict[str, Any]:
        assert self.rival is not None
        system, result, compared = self.rival
        return {
            "name": system.name,
            **{name: round(getattr(result, name), 4) for name in NAMES},
            "exact_difference": round(compared.difference, 4),
            "better": compared.better,
            "worse": compared.worse,
            "p": round(compared.p_value, 4),
            **system.to_dict(),
        }


def label_texts(
    task: Multilabeller,
    texts: Sequence[str | Sequence[str]],
    *,
    name: str = "model",
    long: Long = "error",
    where: str = "data",
) -> SetsBy:
    """Give the texts their labels, and count what became of them.

    Args:
        task: The model.
        texts: None of them empty.
        name: Of the system, for the report.
        long: What to do with texts longer than the model's limit; one that is dropped gets no label.
        where: Name of the file, for messages.
    """
    started = time.monotonic()
    found = task.predict(texts, long=long, where=where)
    return SetsBy(
        name, [one.labels or () for one in found], [one.scores for one in found], sum(one.dropped for one in found),
        sum(one.cut > 0 for one in found), sum(one.windows > 0 for one in found), time.monotonic() - started,
        task.drift or None,
    )  # fmt: skip


def evaluate_sets(
    task: Multilabeller,
    texts: Sequence[str | Sequence[str]],
    wanted: Sequence[str],
    *,
    long: Long = "error",
    where: str = "data",
    against: SetsBy | None = None,
) -> SetsReport:
    """Classify texts and score their labels.

    Args:
        task: The model.
        texts: None of them empty.
        wanted: The labels of each, as `onehop.data.label_sets.written` has them; all known to the model.
        long: What to do with texts longer than the model's limit; one that is dropped gets no label.
        where: Name of the file, for messages.
        against: Another system's labels of the same texts, from `label_texts` or from `read_sets`.

    Raises:
        DataError: A text is empty or a label unknown; or there are not as many of one as of the other.
    """
    names = _checked(task, texts, wanted, where)
    system, labels = label_texts(task, texts, long=long, where=where), task.labels
    truth, found = as_table(names, labels), as_table(system.sets, labels)
    rival = None
    if against is not None:
        if len(against.sets) != len(names):
            problem = f"{len(against.sets)} sets of labels for {len(names)} texts"
            raise DataError(problem, "Give one for each text.", against.name)
        theirs = as_table([[label for label in one if label in labels] for one in against.sets], labels)
        ours, right = map(written, system.sets), [written(one) for one in names]
        compared = mcnemar(list(ours), [written(one) for one in against.sets], right)
        rival = against, score_sets(theirs, truth, labels), compared
    return SetsReport(
        score_sets(found, truth, labels), bootstrap_sets(found, truth), labels, system,
        mistakes(found, truth, system.scores or [], labels), rival,
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
    task: Multilabeller, texts: Sequence[str | Sequence[str]], wanted: Sequence[str], where: str
) -> list[list[str]]:
    """Return the names of each text's labels, and refuse texts and labels that cannot be scored."""
    if len(texts) != len(wanted) or not texts:
        raise DataError(f"{len(texts)} texts and {len(wanted)} sets of labels", "Give one for each text.", where)
    names: list[list[str]] = []
    for number, (text, labels) in enumerate(zip(texts, wanted, strict=True), 1):
        if not "".join(text).strip():
            raise DataError("an empty text", "Leave the row out.", f"{where}:row {number}")
        found = (task.label(label, f"{where}:row {number}") for label in read(labels))
        names.append(list(dict.fromkeys(found)))
    return names


def read_sets(path: str) -> SetsBy:
    """Read what another system found: lines of `onehop predict`, or a JSON list of labels a line.

    Raises:
        DataError: A line is neither.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "theirs.jsonl"
        >>> _ = file.write_text('["loud"]' + chr(10) + '{"labels": []}' + chr(10))
        >>> read_sets(str(file)).sets
        [('loud',), ()]
    """
    sets: list[tuple[str, ...]] = []
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
    return SetsBy(path, sets)


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
