"""Evaluating classifiers: accuracy and F1 with intervals beside the majority's, label by label, and against another."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from onehop.errors import DataError
from onehop.files import read_lines
from onehop.metrics import Interval
from onehop.metrics.classification import Compared, Labelling, bootstrap, labelling, mcnemar
from onehop.tasks import Classifier
from onehop.tasks.fates import Fates, by_own, fates_of, to_dict
from onehop.tasks.settings import Long

SHOWN = 10  # of the mistakes that the model was surest of


@dataclass(frozen=True)
class Labelled:
    """What a system made of the texts, and how; where only a file of its labels is known, the rest is None.

    Args:
        name: For the report.
        labels: The label of each text; None where it got none, which counts as wrong.
        scores: The probability of that label.
        fates: What became of those that were longer than the model's limit.
        seconds: Of classifying.
        drift: What the model does otherwise than when it was made, where that was allowed.
        abstained: Texts that got no label because none was likely enough.
    """

    name: str
    labels: list[str | None]
    scores: list[float] | None = None
    fates: Fates | None = None
    seconds: float | None = None
    drift: str | None = None
    abstained: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return counts as JSON values."""
        return {
            **to_dict(self.fates),
            "abstained": self.abstained,
            "seconds": None if self.seconds is None else round(self.seconds, 2),
            "drift": self.drift,
        }


@dataclass(frozen=True)
class Mistake:
    """A text that got another label than its own.

    Args:
        row: Its number, from 1.
        label: Its own.
        found: What it got.
        score: The probability of that.
    """

    row: int
    label: str
    found: str
    score: float


@dataclass(frozen=True)
class ClassifyReport:
    """The result of `evaluate_labels`.

    Args:
        result: Of the model.
        intervals: 95 %, of accuracy and macro F1, by bootstrap over texts.
        labels: All that the model knows, in the order of the confusion matrix.
        system: What was scored.
        mistakes: Those that the model was surest of.
        rival: The other system, if one was named: its scores, and the paired test.
    """

    result: Labelling
    intervals: dict[str, Interval]
    labels: tuple[str, ...]
    system: Labelled
    mistakes: list[Mistake]
    rival: tuple[Labelled, Labelling, Compared] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: what `onehop evaluate --json` prints of a classifier."""
        values: dict[str, Any] = {}
        for name in ("accuracy", "macro_f1"):
            found = self.intervals[name]
            values[name] = _round(getattr(self.result, name))
            values[f"{name}_interval"] = [_round(found.low), _round(found.high)]
        values |= {
            "mcc": _round(self.result.mcc),
            "majority": _round(self.result.majority),
            "texts": len(self.system.labels),
            "labels": list(self.labels),
            "by_label": [
                {name: _round(value) if isinstance(value, float) else value for name, value in asdict(one).items()}
                for one in self.result.classes
            ],
            "confusion": self.result.confusion,
            "mistakes": [{**asdict(one), "score": _round(one.score)} for one in self.mistakes],
            **self.system.to_dict(),
        }
        return {**values, "against": self._against()} if self.rival else values

    def _against(self) -> dict[str, Any]:
        assert self.rival is not None
        system, result, compared = self.rival
        return {
            "name": system.name,
            "accuracy": _round(result.accuracy),
            "macro_f1": _round(result.macro_f1),
            "accuracy_difference": _round(compared.difference),
            "better": compared.better,
            "worse": compared.worse,
            "p": _round(compared.p_value),
            **system.to_dict(),
        }


def _round(value: float) -> float:
    return round(value, 4)


def classify(
    classifier: Classifier,
    texts: Sequence[str | Sequence[str]],
    *,
    name: str = "model",
    long: Long = "error",
    where: str = "data",
    wanted: Sequence[str] = (),
) -> Labelled:
    """Classify the texts, and count what became of them.

    Args:
        classifier: The model.
        texts: None of them empty.
        name: Of the system, for the report.
        long: What to do with texts longer than the model's limit; one that is dropped counts as wrong.
        where: Name of the file, for messages.
        wanted: Their own labels, if these are known: what was too long is counted under them, too.

    Example:
        >>> len(classify(onehop.load_classifier("runs/reviews"), ["The room was lovely."]).labels)
        1
    """
    started = time.monotonic()
    found = classifier.predict(texts, long=long, where=where)
    return Labelled(
        name,
        [one.label for one in found],
        [one.scores[one.label] if one.label is not None else 0.0 for one in found],
        fates_of(found, by_own(found, wanted)),
        time.monotonic() - started,
        classifier.drift or None,
        sum(one.abstained for one in found),
    )


def evaluate_labels(
    classifier: Classifier,
    texts: Sequence[str | Sequence[str]],
    wanted: Sequence[str],
    *,
    long: Long = "error",
    where: str = "data",
    against: Labelled | None = None,
) -> ClassifyReport:
    """Classify texts and score their labels.

    Args:
        classifier: The model.
        texts: None of them empty.
        wanted: The label of each, one that the model knows.
        long: What to do with texts longer than the model's limit; one that is dropped counts as wrong.
        where: Name of the file, for messages.
        against: Another system's labels of the same texts, from `classify` or from `read_predictions`.

    Raises:
        DataError: A text is empty or a label unknown; or there are not as many of one as of the other.

    Example:
        >>> model = onehop.load_classifier("runs/reviews")
        >>> report = evaluate_labels(model, ["The room was lovely.", "The bath was dirty."], ["good", "bad"])
        >>> 0 <= report.result.accuracy <= 1, report.result.majority
        (True, 0.5)
    """
    wanted = checked(classifier, texts, wanted, where)
    system = classify(classifier, texts, long=long, where=where, wanted=wanted)
    labels = classifier.labels
    rival = None
    if against is not None:
        if len(against.labels) != len(wanted):
            problem = f"{len(against.labels)} labels for {len(wanted)} texts"
            raise DataError(problem, "Give one for each text.", against.name)
        theirs = [label if label in labels else None for label in against.labels]
        rival = against, labelling(theirs, wanted, labels), mcnemar(system.labels, theirs, wanted)
    return ClassifyReport(
        labelling(system.labels, wanted, labels),
        bootstrap(system.labels, wanted, labels),
        labels,
        system,
        _mistakes(system, wanted),
        rival,
    )


def checked(
    classifier: Classifier, texts: Sequence[str | Sequence[str]], wanted: Sequence[str], where: str
) -> list[str]:
    """Return the name of each label, and refuse texts and labels that cannot be scored.

    Raises:
        DataError: A text is empty or a label unknown; or there are not as many of one as of the other, or none.
    """
    if len(texts) != len(wanted) or not texts:
        raise DataError(f"{len(texts)} texts and {len(wanted)} labels", "Give a label for each text.", where)
    names: list[str] = []
    for number, (text, label) in enumerate(zip(texts, wanted, strict=True), 1):
        if not "".join(text).strip():
            raise DataError("an empty text", "Leave the row out.", f"{where}:row {number}")
        names.append(classifier.label(label, f"{where}:row {number}"))
    return names


def read_predictions(path: str) -> Labelled:
    """Read what another system found: lines of `onehop predict`, or a label a line.

    Raises:
        DataError: A line is neither.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "theirs.txt"
        >>> _ = file.write_text("good" + chr(10) + '{"label": "bad"}')
        >>> read_predictions(str(file)).labels
        ['good', 'bad']
    """
    labels: list[str | None] = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.startswith("{"):
            labels.append(line.strip() or None)
            continue
        try:
            labels.append(json.loads(line)["label"])
        except (ValueError, KeyError, RecursionError) as error:
            raise DataError(
                "not a prediction", "Give lines of `onehop predict`, or labels.", f"{path}:{number}"
            ) from error
    return Labelled(path, labels)


def _mistakes(system: Labelled, wanted: Sequence[str]) -> list[Mistake]:
    """Return the mistakes with the highest probabilities."""
    wrong = [
        Mistake(number, label, found, score)
        for number, (label, found, score) in enumerate(zip(wanted, system.labels, system.scores or [], strict=False), 1)
        if found is not None and found != label
    ]
    return sorted(wrong, key=lambda one: -one.score)[:SHOWN]
