"""Checks of a multi-label classifier: alone and in batches, packed, its golden lines, and what rounding costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from onehop.data.labelled import LabelColumns, open_labelled
from onehop.tasks import Package, Precision
from onehop.tasks.multilabel import Multilabeller
from onehop.tasks.multilabel_golden import differs, log_probs_of
from onehop.tasks.replay import TOLERANCES
from onehop.verify.numeric import ROW_PAIRS, Largest
from onehop.verify.report import Check
from onehop.verify.rows import of_table, packed_source
from onehop.verify.stored import ROUNDED
from onehop.verify.subject import GROUP, Lines
from onehop.verify.suites import Known, Suite

UNIT = "nats, of a label"
LABEL = 1e-4  # nats: what rounding in float32 may do to a label's log-probability


@dataclass(frozen=True)
class SetSubject:
    """A multi-label classifier and texts, with what it makes of each text alone."""

    model: Multilabeller
    lines: Lines

    @cached_property
    def alone(self) -> Tensor:
        """The log-probability of each label for each text, read alone, `(N, C)`."""
        return self.model.log_probs(self.lines.sources, 1)

    def groups(self, size: int) -> Iterator[list[int]]:
        """Yield the places of the texts of each batch."""
        for start in range(0, len(self.lines), size):
            yield list(range(start, min(start + size, len(self.lines))))

    def place(self, row: int) -> str:
        """Return a text as messages name it."""
        return self.lines.places[row]


def batched(subject: SetSubject) -> Check:
    """Batched = single: each text alone, and in a padded batch beside others."""
    largest = Largest()
    for rows in subject.groups(GROUP):
        together = subject.model.log_probs([subject.lines.sources[i] for i in rows], 1 << 40)
        for place, values in zip(rows, together, strict=True):
            largest.see(values - subject.alone[place], subject.place(place))
    return largest.check("batched = single", UNIT, LABEL)


@torch.inference_mode()
def packed(subject: SetSubject) -> Check:
    """Packed = padded: four texts in a row, each a segment of its own, and each alone."""
    largest, model = Largest(), subject.model
    if model.model.encoder.unit == "sentences":
        detail = "this encoder reads the segments of a row as sentences of one text"
        return Check("packed = padded", UNIT, LABEL, detail=detail)
    for rows in subject.groups(ROW_PAIRS):
        source = packed_source(model, [subject.lines.sources[i] for i in rows])
        found = logsigmoid(model.model(source).float()).cpu()
        for place, values in zip(rows, found, strict=True):
            largest.see(values - subject.alone[place], subject.place(place))
    return largest.check("packed = padded", UNIT, LABEL)


def golden_lines(package: Package) -> Check:
    """Golden lines: the log-probability of every label, as it was when the package was made."""
    name, tolerance, largest = "golden lines", TOLERANCES[package.precision], Largest()
    if not package.golden:
        return Check(name, UNIT, tolerance, detail="the package has none")
    model: Multilabeller = package.task
    rows = model.documents.encode_batch([line["source"] for line in package.golden])
    differences, told = 0, ""
    for number, (line, values) in enumerate(zip(package.golden, model.log_probs(rows, 1), strict=True), 1):
        largest.see(values - torch.tensor(log_probs_of(model, line)), f"golden line {number}")
        if label := differs(model, line, values, tolerance):
            differences += 1
            told = told or f"golden line {number}: {label!r}"
    found = largest.check(name, UNIT, tolerance)
    return Check(name, UNIT, tolerance, found.measured, differences, 0, found.detail or told)


def rounding(subject: SetSubject, rounded: Multilabeller, precision: Precision) -> Check:
    """Rounded weights against float32: the share of labels that are given or withheld otherwise."""
    full, largest = subject.alone, Largest()
    values = rounded.log_probs(subject.lines.sources, 1)
    largest.see(values - full, "")
    same = subject.model.chosen(full.exp()) == rounded.chosen(values.exp())
    share = 1 - float(same.float().mean()) if largest.value < torch.inf else torch.nan
    figures = {"label_agreement": float(same.float().mean()), "largest_log_prob_difference": largest.value}
    detail = "" if share <= ROUNDED[precision] else f"{int((~same).sum()):,} of {same.numel():,} labels are others"
    unit = "share of labels given or withheld otherwise"
    return Check(f"{precision} against float32", unit, ROUNDED[precision], share, 0, 0, detail, figures)


def read(model: Any, path: str) -> Known:
    """Return the texts of a table."""
    columns = LabelColumns(tuple(model.settings.columns), labelled=False, numbers=True, many=True)
    return of_table(open_labelled(path, columns))


def _subject(model: Any, lines: Lines) -> SetSubject:
    return SetSubject(model, lines)


SUITE = Suite(lambda model: model.documents, read, _subject, golden_lines, (batched, packed), rounding)
