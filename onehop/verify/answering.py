"""Checks of a model that answers: alone, in batches, packed, its golden lines, and what rounding of weights costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from onehop.data.labelled import SEPARATOR
from onehop.data.questions import read_questions
from onehop.tasks import Package, Precision
from onehop.tasks.answer_golden import log_probs
from onehop.tasks.answering import Answerer
from onehop.tasks.replay import TOLERANCES
from onehop.text import EOS
from onehop.verify.margins import NEAR_TIE
from onehop.verify.numeric import ROW_PAIRS, Largest
from onehop.verify.report import Check
from onehop.verify.rows import packed_source
from onehop.verify.stored import ROUNDED
from onehop.verify.subject import GROUP, Lines
from onehop.verify.suites import Known, Suite

QUESTIONS = (".json", ".jsonl")
SCORE = 1e-4  # what rounding in float32 may do to the score of a token


@dataclass(frozen=True)
class AnswerSubject:
    """A model and questions, with what it makes of each alone."""

    answerer: Answerer
    lines: Lines

    @cached_property
    def alone(self) -> list[Tensor]:
        """The scores of the begin mark and of each token of each context, `(N, 2)`."""
        return self.answerer.scores(self.lines.sources, 1)

    def groups(self, size: int) -> Iterator[list[int]]:
        """Yield the places of the questions of each batch."""
        for start in range(0, len(self.lines), size):
            yield list(range(start, min(start + size, len(self.lines))))

    def place(self, row: int) -> str:
        """Return a question as messages name it."""
        return self.lines.places[row]


def batched(subject: AnswerSubject) -> Check:
    """Batched = single: each question alone, and in a padded batch beside others; the answers too."""
    largest, differences, near, detail = Largest(), 0, 0, ""
    for rows in subject.groups(GROUP):
        together = subject.answerer.scores([subject.lines.sources[i] for i in rows], 1 << 40)
        for place, values in zip(rows, together, strict=True):
            alone = subject.alone[place]
            largest.see(values - alone, subject.place(place))
            own, other = subject.answerer.best(alone), subject.answerer.best(values)
            if own[:2] == other[:2]:
                continue
            if own[2] - float(alone[other[0], 0] + alone[other[1], 1]) < NEAR_TIE:
                near += 1
            else:
                differences += 1
                detail = detail or f"{subject.place(place)}: another answer"
    found = largest.check("batched = single", "of a score", SCORE)
    return Check(
        found.name, found.unit, found.tolerance, found.measured, differences, near, found.detail or detail
    )  # fmt: skip


def packed(subject: AnswerSubject) -> Check:
    """Packed = padded: four questions with their contexts in a row, each a segment of its own, and each alone."""
    largest = Largest()
    for rows in subject.groups(ROW_PAIRS):
        values = _packed(subject.answerer, [subject.lines.sources[i] for i in rows])
        sizes = [len(subject.alone[i]) for i in rows]
        for place, own in zip(rows, values.split(sizes), strict=True):
            largest.see(own - subject.alone[place], subject.place(place))
    return largest.check("packed = padded", "of a score", SCORE)


@torch.inference_mode()
def _packed(answerer: Answerer, rows: Sequence[list[int]]) -> Tensor:
    """Return the scores of questions that share one row, `(M, 2)`."""
    places: list[Tensor] = []
    start = 0
    for row in rows:
        tokens = torch.tensor([[*row, EOS]], device=answerer.device)
        own = answerer.documents.places(tokens, torch.tensor([tokens.size(1)], device=answerer.device))[1]
        places.append(own + start)
        start += len(row) + 2  # with a mark before and one behind
    where = torch.cat(places)
    return answerer.model(packed_source(answerer, rows), torch.zeros_like(where), where).float().cpu()


def golden_lines(package: Package) -> Check:
    """Golden lines: the log-probability of the ends of each answer, as it was when the package was made."""
    name, unit, tolerance, largest = "golden lines", "nats, of an end", TOLERANCES[package.precision], Largest()
    if not package.golden:
        return Check(name, unit, tolerance, detail="the package has none")
    answerer: Answerer = package.task
    found = answerer.scores(answerer.encode([line["source"] for line in package.golden]), 1)
    for number, (line, scores) in enumerate(zip(package.golden, found, strict=True), 1):
        again = torch.tensor(log_probs(scores, line["first"], line["last"]))
        largest.see(again - torch.tensor(line["log_probs"]), f"golden line {number}")
    return largest.check(name, unit, tolerance)


def rounding(subject: AnswerSubject, rounded: Answerer, precision: Precision) -> Check:
    """Rounded weights against float32: the share of questions that get another answer."""
    full, values, largest = subject.alone, rounded.scores(subject.lines.sources, 1), Largest()
    for one, other in zip(values, full, strict=True):
        largest.see(one - other, "")
    pairs = zip(values, full, strict=True)
    same = [rounded.best(one)[:2] == subject.answerer.best(other)[:2] for one, other in pairs]
    share = 1 - sum(same) / max(1, len(same)) if largest.value < torch.inf else torch.nan
    figures = {"answer_agreement": 1 - share, "largest_score_difference": largest.value}
    changed = len(same) - sum(same)
    detail = "" if share <= ROUNDED[precision] else f"{changed:,} of {len(same):,} questions get another answer"
    unit = "share of questions with another answer"
    return Check(f"{precision} against float32", unit, ROUNDED[precision], share, 0, 0, detail, figures)


def read(answerer: Answerer, path: str) -> Known:
    """Return the questions of a file with their contexts."""
    found = list(read_questions(path, answered=False))
    return Known([SEPARATOR.join((one.question, one.context)) for one in found], None, [one.where for one in found])


def _subject(answerer: Any, lines: Lines) -> AnswerSubject:
    return AnswerSubject(answerer, lines)


SUITE = Suite(
    lambda answerer: answerer.documents, read, _subject, golden_lines, (batched, packed), rounding, QUESTIONS
)  # fmt: skip
