"""Evaluating taggers: F1 of spans and accuracy of words with intervals, label by label, and against another."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from onehop.data.labelled import objects
from onehop.data.tagged import Sentence
from onehop.errors import DataError
from onehop.metrics import Interval
from onehop.metrics.schemes import is_legal, mended
from onehop.metrics.tagging import ComparedTags, Tagging, bootstrap_tags, compare_tags, tagging
from onehop.tasks.fates import Fates, by_word, fates_of, to_dict
from onehop.tasks.settings import Long
from onehop.tasks.tagging import Tagger

Labels = tuple[str | None, ...]


@dataclass(frozen=True)
class TaggedBy:
    """What a system made of the sentences, and how; where only a file of its labels is known, the rest is None.

    Args:
        name: For the report.
        labels: Of each word of each sentence; None where it got none, which counts as wrong.
        fates: What became of those that were longer than the model's limit.
        seconds: Of labelling.
        drift: What the model does otherwise than when it was made, where that was allowed.
    """

    name: str
    labels: list[Labels]
    fates: Fates | None = None
    seconds: float | None = None
    drift: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return counts as JSON values."""
        return {
            **to_dict(self.fates),
            "seconds": None if self.seconds is None else round(self.seconds, 2),
            "drift": self.drift,
        }


@dataclass(frozen=True)
class TagReport:
    """The result of `evaluate_tags`.

    Args:
        result: Of the model.
        intervals: 95 %, of accuracy and F1, by bootstrap over sentences.
        scheme: What labels mean.
        words: How many there are.
        mended: Sentences whose own labels did not fit the scheme, and were read so that they do.
        system: What was scored.
        rival: The other system, if one was named: its scores, and the paired test.
    """

    result: Tagging
    intervals: dict[str, Interval]
    scheme: str
    words: int
    mended: int
    system: TaggedBy
    rival: tuple[TaggedBy, Tagging, ComparedTags] | None = None

    @property
    def figures(self) -> tuple[str, ...]:
        """What is reported with an interval."""
        return ("accuracy",) if self.scheme == "none" else ("f1", "accuracy")

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: what `onehop evaluate --json` prints of a tagger."""
        values: dict[str, Any] = {}
        for name in self.figures:
            found = self.intervals[name]
            values[name] = _round(getattr(self.result, name))
            values[f"{name}_interval"] = [_round(found.low), _round(found.high)]
        if self.scheme != "none":
            values |= {"precision": _round(self.result.precision), "recall": _round(self.result.recall)}
        values |= {
            "majority": _round(self.result.majority),
            "scheme": self.scheme,
            "sentences": len(self.system.labels),
            "words": self.words,
            "mended": self.mended,
            "by_label": [
                {name: _round(value) if isinstance(value, float) else value for name, value in asdict(one).items()}
                for one in self.result.by_label
            ],
            **self.system.to_dict(),
        }
        return {**values, "against": self._against()} if self.rival else values

    def _against(self) -> dict[str, Any]:
        assert self.rival is not None
        system, result, compared = self.rival
        return {
            "name": system.name,
            **{name: _round(getattr(result, name)) for name in self.figures},
            f"{compared.figure}_difference": _round(compared.difference),
            "p": _round(compared.p_value),
            **system.to_dict(),
        }


def _round(value: float) -> float:
    return round(value, 4)


def tag(
    tagger: Tagger,
    sentences: Sequence[Sequence[str]],
    *,
    name: str = "model",
    long: Long = "error",
    where: str = "data",
    wanted: Sequence[Sequence[str]] = (),
) -> TaggedBy:
    """Label the words of sentences, and count what became of them.

    Args:
        tagger: The model.
        sentences: The words of each.
        name: Of the system, for the report.
        long: What to do with sentences longer than the model's limit; words that are not read count as wrong.
        where: Name of the file, for messages.
        wanted: The words' own labels, if these are known: what was too long is counted under them, too.
    """
    started = time.monotonic()
    found = tagger.predict(sentences, long=long, where=where)
    return TaggedBy(
        name,
        [one.labels for one in found],
        fates_of(found, [by_word(labels, one.unread) for one, labels in zip(found, wanted, strict=False)]),
        time.monotonic() - started,
        tagger.drift or None,
    )


def evaluate_tags(
    tagger: Tagger,
    sentences: Sequence[Sentence],
    *,
    long: Long = "error",
    where: str = "data",
    against: TaggedBy | None = None,
) -> TagReport:
    """Label the words of sentences and score the labels.

    Args:
        tagger: The model.
        sentences: With the labels of their words.
        long: What to do with sentences longer than the model's limit; words that are not read count as wrong.
        where: Name of the file, for messages.
        against: Another system's labels of the same sentences, from `tag` or from `read_tags`.

    Raises:
        DataError: A label is unknown, or there is no sentence; or the other system has not a label for each word.
    """
    if not sentences:
        raise DataError("no sentence to evaluate on", "Check that this is the file you meant.", where)
    scheme, labels = tagger.settings.scheme, tagger.labels
    wanted = [tuple(tagger.check_label(label, one.where) for label in mended(one.labels, scheme)) for one in sentences]
    changed = sum(not is_legal(one.labels, scheme) for one in sentences)
    system = tag(tagger, [one.words for one in sentences], long=long, where=where, wanted=wanted)
    rival = None
    if against is not None:
        _same_words(against, wanted)
        theirs = [tuple(label if label in labels else None for label in row) for row in against.labels]
        compared = compare_tags(system.labels, theirs, wanted, scheme)
        rival = against, tagging(theirs, wanted, scheme, labels), compared
    return TagReport(
        tagging(system.labels, wanted, scheme, labels),
        bootstrap_tags(system.labels, wanted, scheme),
        scheme,
        sum(map(len, wanted)),
        changed,
        system,
        rival,
    )


def _same_words(against: TaggedBy, wanted: Sequence[Sequence[str]]) -> None:
    remedy = "Give the labels of the same sentences, a list for each."
    if len(against.labels) != len(wanted):
        raise DataError(f"labels of {len(against.labels)} sentences, not of {len(wanted)}", remedy, against.name)
    for number, (one, other) in enumerate(zip(against.labels, wanted, strict=True), 1):
        if len(one) != len(other):
            raise DataError(f"{len(one)} labels for {len(other)} words", remedy, f"{against.name}:{number}")


def read_tags(path: str) -> TaggedBy:
    """Return the labels of a file that `onehop predict` wrote of a tagger, or `evaluate --output`.

    Raises:
        DataError: A line has no list of labels.
    """
    rows: list[Labels] = []
    for number, value in objects(path):
        labels = value.get("labels")
        if not isinstance(labels, list) or not all(label is None or isinstance(label, str) for label in labels):
            remedy = 'Write an object for each sentence: {"labels": [...]}.'
            raise DataError("no list of labels", remedy, f"{path}:{number}")
        rows.append(tuple(labels))
    return TaggedBy(path, rows)


def to_line(labels: Labels) -> str:
    """Return labels as `read_tags` reads them."""
    return json.dumps({"labels": list(labels)}, ensure_ascii=False) + "\n"
