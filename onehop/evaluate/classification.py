"""Evaluating classifiers: accuracy and F1 with intervals beside the majority's, label by label, and against another."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from onehop.errors import DataError
from onehop.evaluate.scored import (
    Given,
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
from onehop.metrics.classification import Compared, Labelling, bootstrap, labelling, mcnemar
from onehop.tasks import Classifier
from onehop.tasks.fates import by_own
from onehop.tasks.settings import Long
from onehop.text.places import Where, named, places_of

SHOWN = 10  # of the mistakes that the model was surest of


@dataclass(frozen=True)
class Mistake:
    """A text that got another label than its own.

    Args:
        row: Its number, from 1.
        label: Its own.
        found: What it got.
        score: The probability of that.
        where: Its place.
    """

    row: int
    label: str
    found: str
    score: float
    where: str


@dataclass(frozen=True)
class ClassifyReport:
    """The result of `evaluate_labels`.

    Args:
        result: Of the model.
        intervals: 95 %, of accuracy, macro F1 and MCC; see `onehop.metrics.classification.bootstrap`.
        labels: All that the model knows, in the order of the confusion matrix.
        system: What was scored.
        mistakes: Those that the model was surest of.
        rival: The other system, if one was named: its scores, and the paired test.
    """

    result: Labelling
    intervals: dict[str, Interval]
    labels: tuple[str, ...]
    system: Given[str | None]
    mistakes: list[Mistake]
    rival: tuple[Given[str | None], Labelling, Compared] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: what `onehop evaluate --json` prints of a classifier."""
        values = figures(self.result, self.intervals, ("accuracy", "macro_f1", "mcc"))
        values |= {
            "mcc": rounded(self.result.mcc),
            "majority": rounded(self.result.majority),
            "texts": len(self.system.each),
            "labels": list(self.labels),
            "by_label": [{name: rounded(value) for name, value in asdict(one).items()} for one in self.result.classes],
            "confusion": self.result.confusion,
            "mistakes": [{**asdict(one), "score": rounded(one.score)} for one in self.mistakes],
            **self.system.to_dict("abstained"),
        }
        return {**values, "against": self._against()} if self.rival else values

    def shown(self) -> Shown:
        """Return the report for people."""
        result, count, mcc = self.result, len(self.system.each), self.intervals["mcc"]
        rows = [
            ("accuracy", as_percent(result.accuracy), self.intervals["accuracy"]),
            ("macro F1", as_percent(result.macro_f1), self.intervals["macro_f1"]),
            ("Matthews correlation", f"{result.mcc:.3f}", f"{mcc.low:.3f} to {mcc.high:.3f}"),
            ("always the most frequent label", as_percent(result.majority), None),
        ]
        taken = [self._taken_for(place) for place in range(len(result.classes))]
        labels = label_grid(result.classes, "texts", taken, "most often taken for")
        return Shown([figure_grid(f"{count:,} texts", rows, self.system), labels], self._notes(count))

    def _notes(self, count: int) -> list[str]:
        notes: list[str] = []
        if self.mistakes:
            told = (f"{one.where} {one.found}, truly {one.label} ({one.score:.3f})" for one in self.mistakes)
            notes.append("surest mistakes: " + ", ".join(told))
        if self.rival:
            system, theirs, compared = self.rival
            notes.append(against_note(
                system.name, as_percent(theirs.accuracy), f"{100 * compared.difference:+.1f}", compared.p_value,
                f" ({compared.better:,} texts better, {compared.worse:,} worse)",
            ))  # fmt: skip
            if unknown := sorted({label for label in system.each if label is not None} - set(self.labels)):
                some = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
                notes.append(f"{system.name} gives labels that this model does not know, which count as wrong: {some}")
        if self.system.abstained:
            answered = count - self.system.abstained
            share = as_percent(round(self.result.accuracy * count) / answered) if answered else "none"
            given = f"{self.system.abstained:,} texts got no label, by the threshold"
            notes.append(f"{given}; of the others {share} are right")
        return [*notes, *length_notes(self.system, "texts")]

    def _taken_for(self, place: int) -> str:
        """Return the label that texts of one label were most often given instead, with their number."""
        names = [*self.labels, "no label"]
        wrong = [(count, -other) for other, count in enumerate(self.result.confusion[place]) if other != place]
        count, other = max(wrong)
        return f"{names[-other]} {count:,}" if count else ""

    def _against(self) -> dict[str, Any]:
        assert self.rival is not None
        system, result, compared = self.rival
        return {
            "name": system.name,
            "accuracy": rounded(result.accuracy),
            "macro_f1": rounded(result.macro_f1),
            "accuracy_difference": rounded(compared.difference),
            "better": compared.better,
            "worse": compared.worse,
            "p": rounded(compared.p_value),
            **system.to_dict("abstained"),
        }


def classify(
    classifier: Classifier,
    texts: Sequence[str | Sequence[str]],
    *,
    name: str = "model",
    long: Long = "error",
    where: Where = "data",
    wanted: Sequence[str] = (),
) -> Given[str | None]:
    """Classify the texts, and count what became of them.

    Args:
        classifier: The model.
        texts: None of them empty.
        name: Of the system, for the report.
        long: What to do with texts longer than the model's limit; one that is dropped counts as wrong.
        where: Name of the file, or the place of each in it, for messages.
        wanted: Their own labels, if these are known: what was too long is counted under them, too.

    Example:
        >>> len(classify(onehop.load_classifier("runs/reviews"), ["The room was lovely."]).each)
        1
    """
    started = time.monotonic()
    found = classifier.predict(texts, long=long, where=where)
    labels = [one.label for one in found]
    scores = [one.scores[one.label] if one.label is not None else 0.0 for one in found]
    system = given(name, found, labels, time.monotonic() - started, classifier.drift, by_own(found, wanted))
    return replace(system, scores=scores, abstained=sum(one.abstained for one in found))


def evaluate_labels(
    classifier: Classifier,
    texts: Sequence[str | Sequence[str]],
    wanted: Sequence[str],
    *,
    long: Long = "error",
    where: Where = "data",
    against: Given[str | None] | None = None,
) -> ClassifyReport:
    """Classify texts and score their labels.

    Args:
        classifier: The model.
        texts: None of them empty.
        wanted: The label of each, one that the model knows.
        long: What to do with texts longer than the model's limit; one that is dropped counts as wrong.
        where: Name of the file, or the place of each in it, for messages.
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
        against.check(len(wanted), "labels", "texts")
        theirs = [label if label in labels else None for label in against.each]
        rival = against, labelling(theirs, wanted, labels), mcnemar(system.each, theirs, wanted)
    return ClassifyReport(
        labelling(system.each, wanted, labels),
        bootstrap(system.each, wanted, labels),
        labels,
        system,
        _mistakes(system, wanted, places_of(where, len(texts))),
        rival,
    )


def checked(
    classifier: Classifier, texts: Sequence[str | Sequence[str]], wanted: Sequence[str], where: Where
) -> list[str]:
    """Return the name of each label, and refuse texts and labels that cannot be scored.

    Raises:
        DataError: A text is empty or a label unknown; or there are not as many of one as of the other, or none.
    """
    if len(texts) != len(wanted) or not texts:
        raise DataError(f"{len(texts)} texts and {len(wanted)} labels", "Give a label for each text.", named(where))
    names: list[str] = []
    for text, label, place in zip(texts, wanted, places_of(where, len(texts)), strict=True):
        if not "".join(text).strip():
            raise DataError("an empty text", "Leave the row out.", place)
        names.append(classifier.label(label, place))
    return names


def read_predictions(path: str) -> Given[str | None]:
    """Read what another system found: lines of `onehop predict`, or a label a line.

    Raises:
        DataError: A line is neither.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "theirs.txt"
        >>> _ = file.write_text("good" + chr(10) + '{"label": "bad"}')
        >>> read_predictions(str(file)).each
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
    return Given(path, labels)


def _mistakes(system: Given[str | None], wanted: Sequence[str], places: Sequence[str]) -> list[Mistake]:
    """Return the mistakes with the highest probabilities."""
    wrong = [
        Mistake(number, label, found, score, places[number - 1])
        for number, (label, found, score) in enumerate(zip(wanted, system.each, system.scores or [], strict=False), 1)
        if found is not None and found != label
    ]
    return sorted(wrong, key=lambda one: -one.score)[:SHOWN]


def _run(classifier: Classifier, table: LabelledTexts, **how: Any) -> Given[str | None]:
    return classify(classifier, table.texts, **how, where=table.places)


def _judge(classifier: Classifier, table: LabelledTexts, **how: Any) -> ClassifyReport:
    return evaluate_labels(classifier, table.texts, table.wanted, **how, where=table.places)


SCORED = Scored(
    "classify", "texts with labels", read_table, _run, _judge,
    lambda path, model: read_predictions(path), lambda label, model: f"{label or ''}\n",
)  # fmt: skip
