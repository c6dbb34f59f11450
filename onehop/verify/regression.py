"""Checks of a regressor: alone and in batches, packed, its golden lines, and what rounding of weights costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from onehop.data.labelled import LabelColumns, open_labelled
from onehop.tasks import Package, Precision
from onehop.tasks.regression import WIDER, Regressor
from onehop.tasks.replay import TOLERANCES
from onehop.verify.numeric import ROW_PAIRS, Largest
from onehop.verify.report import Check
from onehop.verify.rows import of_table, packed_source
from onehop.verify.stored import ROUNDED
from onehop.verify.subject import GROUP, Lines
from onehop.verify.suites import Known, Suite

UNIT = "deviations of the training numbers"
NUMBER = 1e-4  # deviations: what rounding in float32 may do to a number


@dataclass(frozen=True)
class NumberSubject:
    """A regressor and texts, with the number of each text alone."""

    regressor: Regressor
    lines: Lines

    @cached_property
    def alone(self) -> Tensor:
        """The number of each text, read alone, `(N,)`."""
        return self.regressor.values(self.lines.sources, 1)

    def groups(self, size: int) -> Iterator[list[int]]:
        """Yield the places of the texts of each batch."""
        for start in range(0, len(self.lines), size):
            yield list(range(start, min(start + size, len(self.lines))))

    def place(self, row: int) -> str:
        """Return a text as messages name it."""
        return self.lines.places[row]

    def difference(self, values: Tensor, others: Tensor) -> Tensor:
        """Return how far numbers are from others, in deviations."""
        return (values - others) / self.regressor.settings.deviation


def batched(subject: NumberSubject) -> Check:
    """Batched = single: each text alone, and in a padded batch beside others."""
    largest = Largest()
    for rows in subject.groups(GROUP):
        together = subject.regressor.values([subject.lines.sources[i] for i in rows], 1 << 40)
        for place, value in zip(rows, together, strict=True):
            largest.see(subject.difference(value, subject.alone[place]), subject.place(place))
    return largest.check("batched = single", UNIT, NUMBER)


@torch.inference_mode()
def packed(subject: NumberSubject) -> Check:
    """Packed = padded: four texts in a row, each a segment of its own, and each alone."""
    largest, regressor = Largest(), subject.regressor
    if regressor.model.encoder.unit == "sentences":
        detail = "this encoder reads the segments of a row as sentences of one text"
        return Check("packed = padded", UNIT, NUMBER, detail=detail)
    for rows in subject.groups(ROW_PAIRS):
        source = packed_source(regressor, [subject.lines.sources[i] for i in rows])
        found = regressor.scaled(regressor.model(source)).cpu()
        for place, value in zip(rows, found, strict=True):
            largest.see(subject.difference(value, subject.alone[place]), subject.place(place))
    return largest.check("packed = padded", UNIT, NUMBER)


def golden_lines(package: Package) -> Check:
    """Golden lines: the number of each text, as it was when the package was made."""
    name, tolerance, largest = "golden lines", WIDER * TOLERANCES[package.precision], Largest()
    if not package.golden:
        return Check(name, UNIT, tolerance, detail="the package has none")
    regressor: Regressor = package.task
    rows = regressor.documents.encode_batch([line["source"] for line in package.golden])
    for place, (line, value) in enumerate(zip(package.golden, regressor.values(rows, 1), strict=True), 1):
        largest.see((value - line["value"]) / regressor.settings.deviation, f"golden line {place}")
    return largest.check(name, UNIT, tolerance)


def rounding(subject: NumberSubject, rounded: Regressor, precision: Precision) -> Check:
    """Rounded weights against float32: by how much the numbers differ in the mean."""
    difference, largest = subject.difference(rounded.values(subject.lines.sources, 1), subject.alone), Largest()
    largest.see(difference, "")
    mean = float(difference.abs().mean())
    figures = {"mean_difference": mean, "largest_difference": largest.value}
    name, unit = f"{precision} against float32", f"{UNIT}, in the mean"
    return Check(name, unit, 2 * ROUNDED[precision], mean, values=figures)


def read(regressor: Any, path: str) -> Known:
    """Return the texts of a table."""
    columns = LabelColumns(tuple(regressor.settings.columns), labelled=False, numbers=True, many=True)
    return of_table(open_labelled(path, columns))


def _subject(regressor: Any, lines: Lines) -> NumberSubject:
    return NumberSubject(regressor, lines)


SUITE = Suite(lambda regressor: regressor.documents, read, _subject, golden_lines, (batched, packed), rounding)
