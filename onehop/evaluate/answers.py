"""Evaluating models that answer: exact match and F1 of SQuAD's scorer with intervals, and against another."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onehop.data.labelled import objects
from onehop.data.questions import Question, read_questions
from onehop.errors import ConfigError, DataError
from onehop.evaluate.scored import (
    Given,
    Scored,
    Shown,
    against_note,
    as_percent,
    figure_grid,
    figures,
    given,
    length_notes,
    rounded,
)
from onehop.metrics.answers import Answering, answering, compare_answers
from onehop.tasks.answering import Answerer
from onehop.tasks.fates import by_own
from onehop.tasks.settings import Long
from onehop.text.places import Where, named


@dataclass(frozen=True)
class AnswerReport:
    """The result of `evaluate_answers`.

    Args:
        result: Of the model.
        threshold: By how much an answer's score must be above that of none; None where there always is one.
        system: What was scored.
        rival: The other system, if one was named: its scores, the difference of F1, and how likely chance gives it.
    """

    result: Answering
    threshold: float | None
    system: Given[str]
    rival: tuple[Given[str], Answering, float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: what `onehop evaluate --json` prints of a model that answers."""
        result = self.result
        values = figures(result, result.intervals, ("exact", "f1")) | {
            "questions": len(self.system.each),
            "by_kind": {
                name: {"questions": count, "exact": rounded(exact), "f1": rounded(mean)}
                for name, (count, exact, mean) in result.by_kind.items()
            },
            "threshold": self.threshold,
            **self.system.to_dict(),
        }
        if not self.rival:
            return values
        system, theirs, difference, chance = self.rival
        return {**values, "against": {
            "name": system.name, "exact": rounded(theirs.exact), "f1": rounded(theirs.f1),
            "f1_difference": rounded(difference), "p": rounded(chance), **system.to_dict(),
        }}  # fmt: skip

    def shown(self) -> Shown:
        """Return the report for people."""
        notes = length_notes(self.system, "contexts")
        if self.rival:
            system, theirs, difference, chance = self.rival
            notes.insert(0, against_note(
                system.name, f"F1 {as_percent(theirs.f1)}", f"{100 * difference:+.1f}", chance
            ))  # fmt: skip
        return shown_answers(self.result, len(self.system.each), self.system, notes)


def shown_answers(result: Answering, count: int, system: Given[str] | None = None, notes: Sequence[str] = ()) -> Shown:
    """Return figures of answers to so many questions for people."""
    rows = [("exact match", result.exact, "exact"), ("F1", result.f1, "f1")]
    told = [(title, as_percent(value), result.intervals[name]) for title, value, name in rows]
    kinds = [
        f"{name}: {number:,} questions, exact match {as_percent(exact)}, F1 {as_percent(mean)}"
        for name, (number, exact, mean) in result.by_kind.items()
    ]
    kinds = kinds if len(kinds) > 1 else []
    return Shown([figure_grid(f"{count:,} questions", told, system)], [*kinds, *notes])


def answer(
    answerer: Answerer,
    questions: Sequence[Question],
    *,
    name: str = "model",
    long: Long = "error",
    where: Where = "data",
) -> Given[str]:
    """Answer questions, and count what became of them.

    Args:
        answerer: The model.
        questions: With their contexts.
        name: Of the system, for the report.
        long: What to do where question and context are longer than the model's limit.
        where: Name of the file, or the place of each in it, for messages.
    """
    started = time.monotonic()
    found = answerer.predict([(one.question, one.context) for one in questions], long=long, where=where)
    seconds = time.monotonic() - started
    kinds = by_own(found, ["answered" if one.answers else "unanswerable" for one in questions])
    return given(name, found, [one.answer for one in found], seconds, answerer.drift, kinds)


def evaluate_answers(
    answerer: Answerer,
    questions: Sequence[Question],
    *,
    long: Long = "error",
    where: Where = "data",
    against: Given[str] | None = None,
) -> AnswerReport:
    """Answer questions and score the answers.

    Args:
        answerer: The model.
        questions: With the answers that are right.
        long: What to do where question and context are longer than the model's limit; one dropped has no answer.
        where: Name of the file, or the place of each in it, for messages.
        against: Another system's answers to the same questions, from `answer` or from `read_answers`.

    Raises:
        DataError: There is no question; or the other system has not an answer for each.
    """
    if not questions:
        raise DataError("no question to evaluate on", "Check that this is the file you meant.", named(where))
    wanted = [[one.text for one in question.answers or ()] for question in questions]
    system = answer(answerer, questions, long=long, where=where)
    rival = None
    if against is not None:
        against.check(len(wanted), "answers", "questions")
        rival = against, answering(against.each, wanted), *compare_answers(system.each, against.each, wanted)
    threshold = answerer.settings.threshold if answerer.settings.unanswerable else None
    return AnswerReport(answering(system.each, wanted), threshold, system, rival)


def read_answers(path: str) -> Given[str]:
    """Return the answers of a file that `onehop predict` wrote, or `evaluate --output`.

    Raises:
        DataError: A line has no answer.
    """
    rows: list[str] = []
    for number, value in objects(path):
        if not isinstance(value.get("answer"), str):
            raise DataError("no answer", 'Write an object for each question: {"answer": "..."}.', f"{path}:{number}")
        rows.append(value["answer"])
    return Given(path, rows)


def to_line(text: str) -> str:
    """Return an answer as `read_answers` reads it."""
    return json.dumps({"answer": text}, ensure_ascii=False) + "\n"


def _read(data: str, columns: tuple[tuple[str, ...], str], answerer: Answerer) -> list[Question]:
    if columns[0] or columns[1]:
        raise ConfigError("questions have no columns", "Leave it out.", "--text-column or --label-column")
    return list(read_questions(data))


def _run(answerer: Answerer, questions: Sequence[Question], **how: Any) -> Given[str]:
    return answer(answerer, questions, **how, where=[one.where for one in questions])


def _judge(answerer: Answerer, questions: Sequence[Question], **how: Any) -> AnswerReport:
    return evaluate_answers(answerer, questions, **how, where=[one.where for one in questions])


SCORED = Scored(
    "answer", "questions with answers", _read, _run, _judge,
    lambda path, model: read_answers(path), lambda text, model: to_line(text),
)  # fmt: skip
