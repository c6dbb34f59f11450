"""Evaluating models that answer: exact match and F1 of SQuAD's scorer with intervals, and against another."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onehop.data.labelled import objects
from onehop.data.questions import Question
from onehop.errors import DataError
from onehop.metrics.answers import Answering, answering, compare_answers
from onehop.tasks.answering import Answerer
from onehop.tasks.fates import Fates, by_own, fates_of, to_dict
from onehop.tasks.settings import Long


@dataclass(frozen=True)
class AnsweredBy:
    """What a system answered, and how; where only a file of its answers is known, the rest is None.

    Args:
        name: For the report.
        answers: To each question; empty for none.
        fates: What became of those that were longer than the model's limit.
        seconds: Of answering.
        drift: What the model does otherwise than when it was made, where that was allowed.
    """

    name: str
    answers: list[str]
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
    system: AnsweredBy
    rival: tuple[AnsweredBy, Answering, float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: what `onehop evaluate --json` prints of a model that answers."""
        values: dict[str, Any] = {}
        for name in ("exact", "f1"):
            found = self.result.intervals[name]
            values[name] = _round(getattr(self.result, name))
            values[f"{name}_interval"] = [_round(found.low), _round(found.high)]
        values |= {
            "questions": len(self.system.answers),
            "by_kind": {
                name: {"questions": count, "exact": _round(exact), "f1": _round(mean)}
                for name, (count, exact, mean) in self.result.by_kind.items()
            },
            "threshold": self.threshold,
            **self.system.to_dict(),
        }
        if not self.rival:
            return values
        system, result, difference, chance = self.rival
        return {**values, "against": {
            "name": system.name, "exact": _round(result.exact), "f1": _round(result.f1),
            "f1_difference": _round(difference), "p": _round(chance), **system.to_dict(),
        }}  # fmt: skip


def _round(value: float) -> float:
    return round(value, 4)


def answer(
    answerer: Answerer, questions: Sequence[Question], *, name: str = "model", long: Long = "error", where: str = "data"
) -> AnsweredBy:
    """Answer questions, and count what became of them.

    Args:
        answerer: The model.
        questions: With their contexts.
        name: Of the system, for the report.
        long: What to do where question and context are longer than the model's limit.
        where: Name of the file, for messages.
    """
    started = time.monotonic()
    found = answerer.predict([(one.question, one.context) for one in questions], long=long, where=where)
    return AnsweredBy(
        name,
        [one.answer for one in found],
        fates_of(found, by_own(found, ["answered" if one.answers else "unanswerable" for one in questions])),
        time.monotonic() - started,
        answerer.drift or None,
    )


def evaluate_answers(
    answerer: Answerer,
    questions: Sequence[Question],
    *,
    long: Long = "error",
    where: str = "data",
    against: AnsweredBy | None = None,
) -> AnswerReport:
    """Answer questions and score the answers.

    Args:
        answerer: The model.
        questions: With the answers that are right.
        long: What to do where question and context are longer than the model's limit; one dropped has no answer.
        where: Name of the file, for messages.
        against: Another system's answers to the same questions, from `answer` or from `read_answers`.

    Raises:
        DataError: There is no question; or the other system has not an answer for each.
    """
    if not questions:
        raise DataError("no question to evaluate on", "Check that this is the file you meant.", where)
    wanted = [[one.text for one in question.answers or ()] for question in questions]
    system = answer(answerer, questions, long=long, where=where)
    rival = None
    if against is not None:
        if len(against.answers) != len(wanted):
            problem = f"{len(against.answers)} answers to {len(wanted)} questions"
            raise DataError(problem, "Give one for each question.", against.name)
        rival = against, answering(against.answers, wanted), *compare_answers(system.answers, against.answers, wanted)
    threshold = answerer.settings.threshold if answerer.settings.unanswerable else None
    return AnswerReport(answering(system.answers, wanted), threshold, system, rival)


def read_answers(path: str) -> AnsweredBy:
    """Return the answers of a file that `onehop predict` wrote, or `evaluate --output`.

    Raises:
        DataError: A line has no answer.
    """
    rows: list[str] = []
    for number, value in objects(path):
        if not isinstance(value.get("answer"), str):
            raise DataError("no answer", 'Write an object for each question: {"answer": "..."}.', f"{path}:{number}")
        rows.append(value["answer"])
    return AnsweredBy(path, rows)


def to_line(text: str) -> str:
    """Return an answer as `read_answers` reads it."""
    return json.dumps({"answer": text}, ensure_ascii=False) + "\n"
