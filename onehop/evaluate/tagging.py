"""Evaluating taggers: F1 of spans and accuracy of words with intervals, label by label, and against another."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from onehop.data.labelled import objects
from onehop.data.tagged import Sentence, TagColumns, open_tagged
from onehop.errors import ConfigError, DataError
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
from onehop.metrics import Interval
from onehop.metrics.schemes import is_legal, mended
from onehop.metrics.tagging import ComparedTags, Tagging, bootstrap_tags, compare_tags, tagging
from onehop.tasks.fates import by_word
from onehop.tasks.settings import Long
from onehop.tasks.tagging import Tagger
from onehop.text.places import Where, named

Labels = tuple[str | None, ...]


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
    system: Given[Labels]
    rival: tuple[Given[Labels], Tagging, ComparedTags] | None = None

    @property
    def figures(self) -> tuple[str, ...]:
        """What is reported with an interval."""
        return ("accuracy",) if self.scheme == "none" else ("f1", "accuracy")

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: what `onehop evaluate --json` prints of a tagger."""
        values = figures(self.result, self.intervals, self.figures)
        if self.scheme != "none":
            values |= {"precision": rounded(self.result.precision), "recall": rounded(self.result.recall)}
        values |= {
            "majority": rounded(self.result.majority),
            "scheme": self.scheme,
            "sentences": len(self.system.each),
            "words": self.words,
            "mended": self.mended,
            "by_label": [{name: rounded(value) for name, value in asdict(one).items()} for one in self.result.by_label],
            **self.system.to_dict(),
        }
        return {**values, "against": self._against()} if self.rival else values

    def shown(self) -> Shown:
        """Return the report for people."""
        title = f"{len(self.system.each):,} sentences of {self.words:,} words"
        grids = shown_tags(self.result, self.intervals, self.scheme, title, self.system)
        notes = length_notes(self.system, "sentences")
        if self.mended:
            notes.append(f"{self.mended:,} sentences with labels that do not fit {self.scheme.upper()}")
        if self.rival:
            other, theirs, compared = self.rival
            share, difference = as_percent(getattr(theirs, compared.figure)), f"{100 * compared.difference:+.1f}"
            notes.insert(0, against_note(other.name, share, difference, compared.p_value))
        return Shown(grids, notes)

    def _against(self) -> dict[str, Any]:
        assert self.rival is not None
        system, result, compared = self.rival
        return {
            "name": system.name,
            **{name: rounded(getattr(result, name)) for name in self.figures},
            f"{compared.figure}_difference": rounded(compared.difference),
            "p": rounded(compared.p_value),
            **system.to_dict(),
        }


def shown_tags(
    result: Tagging, intervals: dict[str, Interval], scheme: str, title: str, system: Given[Labels] | None = None
) -> list[Grid]:
    """Return figures of tags for people."""
    spans = scheme != "none"
    rows: list[tuple[str, str, Interval | None]] = []
    if spans:
        rows.append(("F1 of spans", as_percent(result.f1), intervals["f1"]))
        rows += [(name, as_percent(getattr(result, name)), None) for name in ("precision", "recall")]
    rows.append(("accuracy of words", as_percent(result.accuracy), intervals["accuracy"]))
    rows.append(("always the most frequent label", as_percent(result.majority), None))
    return [figure_grid(title, rows, system), label_grid(result.by_label, "spans" if spans else "words")]


def tag(
    tagger: Tagger,
    sentences: Sequence[Sequence[str]],
    *,
    name: str = "model",
    long: Long = "error",
    where: Where = "data",
    wanted: Sequence[Sequence[str]] = (),
) -> Given[Labels]:
    """Label the words of sentences, and count what became of them.

    Args:
        tagger: The model.
        sentences: The words of each.
        name: Of the system, for the report.
        long: What to do with sentences longer than the model's limit; words that are not read count as wrong.
        where: Name of the file, or the place of each in it, for messages.
        wanted: The words' own labels, if these are known: what was too long is counted under them, too.
    """
    started = time.monotonic()
    found = tagger.predict(sentences, long=long, where=where)
    seconds = time.monotonic() - started
    words = [by_word(labels, one.unread) for one, labels in zip(found, wanted, strict=False)]
    return given(name, found, [one.labels for one in found], seconds, tagger.drift, words)


def evaluate_tags(
    tagger: Tagger,
    sentences: Sequence[Sentence],
    *,
    long: Long = "error",
    where: Where = "data",
    against: Given[Labels] | None = None,
) -> TagReport:
    """Label the words of sentences and score the labels.

    Args:
        tagger: The model.
        sentences: With the labels of their words.
        long: What to do with sentences longer than the model's limit; words that are not read count as wrong.
        where: Name of the file, or the place of each in it, for messages.
        against: Another system's labels of the same sentences, from `tag` or from `read_tags`.

    Raises:
        DataError: A label is unknown, or there is no sentence; or the other system has not a label for each word.
    """
    if not sentences:
        raise DataError("no sentence to evaluate on", "Check that this is the file you meant.", named(where))
    scheme, labels = tagger.settings.scheme, tagger.labels
    wanted = [tuple(tagger.check_label(label, one.where) for label in mended(one.labels, scheme)) for one in sentences]
    changed = sum(not is_legal(one.labels, scheme) for one in sentences)
    system = tag(tagger, [one.words for one in sentences], long=long, where=where, wanted=wanted)
    rival = None
    if against is not None:
        _same_words(against, wanted)
        theirs = [tuple(label if label in labels else None for label in row) for row in against.each]
        compared = compare_tags(system.each, theirs, wanted, scheme)
        rival = against, tagging(theirs, wanted, scheme, labels), compared
    return TagReport(
        tagging(system.each, wanted, scheme, labels),
        bootstrap_tags(system.each, wanted, scheme),
        scheme,
        sum(map(len, wanted)),
        changed,
        system,
        rival,
    )


def _same_words(against: Given[Labels], wanted: Sequence[Sequence[str]]) -> None:
    against.check(len(wanted), "lists of labels", "sentences")
    for number, (one, other) in enumerate(zip(against.each, wanted, strict=True), 1):
        if len(one) != len(other):
            remedy = "Give the labels of the same sentences, a list for each."
            raise DataError(f"{len(one)} labels for {len(other)} words", remedy, f"{against.name}:{number}")


def read_tags(path: str) -> Given[Labels]:
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
    return Given(path, rows)


def to_line(labels: Labels) -> str:
    """Return labels as `read_tags` reads them."""
    return json.dumps({"labels": list(labels)}, ensure_ascii=False) + "\n"


def _read(data: str, columns: tuple[tuple[str, ...], str], tagger: Tagger) -> list[Sentence]:
    if len(columns[0]) > 1:
        raise ConfigError("several columns of words", "Name one.", "--text-column")
    return list(open_tagged(data, TagColumns("".join(columns[0]), columns[1])).sentences)


def _run(tagger: Tagger, sentences: Sequence[Sentence], **how: Any) -> Given[Labels]:
    return tag(tagger, [one.words for one in sentences], **how, where=[one.where for one in sentences])


def _judge(tagger: Tagger, sentences: Sequence[Sentence], **how: Any) -> TagReport:
    return evaluate_tags(tagger, sentences, **how, where=[one.where for one in sentences])


SCORED = Scored(
    "tag", "sentences with labels", _read, _run, _judge,
    lambda path, model: read_tags(path), lambda labels, model: to_line(labels),
)  # fmt: skip
