"""Checks of a model that chooses: alone, in batches, packed, its golden lines, and what rounding of weights costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from onehop.data.choices import ChoiceColumns, open_choices
from onehop.tasks import Package, Precision
from onehop.tasks.choosing import Chooser
from onehop.tasks.replay import TOLERANCES
from onehop.verify.numeric import ROW_PAIRS, Largest
from onehop.verify.report import Check
from onehop.verify.rows import packed_source
from onehop.verify.stored import ROUNDED
from onehop.verify.subject import GROUP, Lines
from onehop.verify.suites import Known, Suite

UNIT = "of an option's score"
SCORE = 1e-4  # what rounding in float32 may do to the score of an option


@dataclass(frozen=True)
class ChoiceSubject:
    """A model and choices, with what it makes of each alone."""

    chooser: Chooser
    lines: Lines

    @cached_property
    def alone(self) -> list[Tensor]:
        """The score of each option of each choice, read alone."""
        return self.chooser.scores(self.lines.sources, 1)

    def groups(self, size: int) -> Iterator[list[int]]:
        """Yield the places of the choices of each batch."""
        for start in range(0, len(self.lines), size):
            yield list(range(start, min(start + size, len(self.lines))))

    def place(self, row: int) -> str:
        """Return a choice as messages name it."""
        return self.lines.places[row]


def batched(subject: ChoiceSubject) -> Check:
    """Batched = single: each option alone, and in a padded batch beside others."""
    largest = Largest()
    for rows in subject.groups(GROUP):
        together = subject.chooser.scores([subject.lines.sources[i] for i in rows], 1 << 40)
        for place, values in zip(rows, together, strict=True):
            largest.see(values - subject.alone[place], subject.place(place))
    return largest.check("batched = single", UNIT, SCORE)


@torch.inference_mode()
def packed(subject: ChoiceSubject) -> Check:
    """Packed = padded: all options of four choices in a row, each a segment of its own, and each alone."""
    largest, chooser = Largest(), subject.chooser
    for rows in subject.groups(ROW_PAIRS):
        flat = [one for i in rows for one in chooser.documents.expand(subject.lines.sources[i])]
        found = chooser.model(packed_source(chooser, flat)).float().squeeze(-1).cpu()
        for place, values in zip(rows, found.split([len(subject.alone[i]) for i in rows]), strict=True):
            largest.see(values - subject.alone[place], subject.place(place))
    return largest.check("packed = padded", UNIT, SCORE)


def golden_lines(package: Package) -> Check:
    """Golden lines: the log-probability of every option, as it was when the package was made."""
    name, unit, tolerance, largest = "golden lines", "nats, of an option", TOLERANCES[package.precision], Largest()
    if not package.golden:
        return Check(name, unit, tolerance, detail="the package has none")
    chooser: Chooser = package.task
    rows = chooser.documents.encode_batch([line["source"] for line in package.golden])
    for number, (line, scores) in enumerate(zip(package.golden, chooser.scores(rows, 1), strict=True), 1):
        stored = torch.tensor(line["log_probs"])
        same = len(stored) == len(scores)  # as many options
        largest.see(scores.log_softmax(0) - stored if same else torch.tensor(torch.inf), f"golden line {number}")
    return largest.check(name, unit, tolerance)


def rounding(subject: ChoiceSubject, rounded: Chooser, precision: Precision) -> Check:
    """Rounded weights against float32: the share of choices that come out otherwise."""
    full, values, largest = subject.alone, rounded.scores(subject.lines.sources, 1), Largest()
    for one, other in zip(values, full, strict=True):
        largest.see(one - other, "")
    same = [int(one.argmax()) == int(other.argmax()) for one, other in zip(values, full, strict=True)]
    share = 1 - sum(same) / max(1, len(same)) if largest.value < torch.inf else torch.nan
    figures = {"choice_agreement": 1 - share, "largest_score_difference": largest.value}
    detail = "" if share <= ROUNDED[precision] else f"{same.count(False):,} of {len(same):,} choices come out otherwise"
    unit = "share of other choices"
    return Check(f"{precision} against float32", unit, ROUNDED[precision], share, 0, 0, detail, figures)


def read(chooser: Chooser, path: str) -> Known:
    """Return the choices of a table."""
    columns = ChoiceColumns(tuple(chooser.settings.columns), labelled=False)
    found = list(open_choices(path, columns).rows)
    return Known([one.text for one in found], None, [one.where for one in found])


def _subject(chooser: Any, lines: Lines) -> ChoiceSubject:
    return ChoiceSubject(chooser, lines)


SUITE = Suite(
    lambda chooser: chooser.documents, read, _subject, golden_lines, (batched, packed), rounding,
    (".tsv", ".csv", ".jsonl"),
)  # fmt: skip
