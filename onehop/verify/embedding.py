"""Checks of an embedder: alone and in batches, its golden lines, and what rounding of weights costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from onehop.data.labelled import LabelColumns, open_labelled
from onehop.nn.rows import Rows
from onehop.tasks import Package, Precision
from onehop.tasks.embedding import Embedder
from onehop.tasks.replay import TOLERANCES
from onehop.verify.numeric import ROW_PAIRS, Largest
from onehop.verify.report import Check
from onehop.verify.rows import of_table, packed_source
from onehop.verify.stored import ROUNDED
from onehop.verify.subject import GROUP, Lines
from onehop.verify.suites import Known, Suite

NUMBER = 1e-4  # what rounding in float32 may do to a number of a vector of length 1


@dataclass(frozen=True)
class VectorSubject:
    """An embedder and texts, with the vector of each text alone."""

    embedder: Embedder
    lines: Lines

    @cached_property
    def alone(self) -> Tensor:
        """The vector of each text, embedded alone, `(N, D)`."""
        return self.embedder.vectors(self.lines.sources, 1)

    def groups(self, size: int) -> Iterator[list[int]]:
        """Yield the places of the texts of each batch."""
        for start in range(0, len(self.lines), size):
            yield list(range(start, min(start + size, len(self.lines))))

    def place(self, row: int) -> str:
        """Return a text as messages name it."""
        return self.lines.places[row]


def batched(subject: VectorSubject) -> Check:
    """Batched = single: each text alone, and in a padded batch beside others."""
    largest = Largest()
    for rows in subject.groups(GROUP):
        together = subject.embedder.vectors([subject.lines.sources[i] for i in rows], 1 << 40)
        for place, values in zip(rows, together, strict=True):
            largest.see(values - subject.alone[place], subject.place(place))
    return largest.check("batched = single", "of a number of a vector", NUMBER)


@torch.inference_mode()
def packed(subject: VectorSubject) -> Check:
    """Packed = padded: four texts in a row, each a segment of its own, and each alone."""
    largest, embedder = Largest(), subject.embedder
    for rows in subject.groups(ROW_PAIRS):
        source = packed_source(embedder, [subject.lines.sources[i] for i in rows])
        apart = Rows(source.segments)  # type: ignore[arg-type]
        states = apart.split(embedder.model.encoder.encode(source).states)
        found = embedder.vector(embedder.pooling(states, apart.lengths))
        for place, values in zip(rows, found, strict=True):
            largest.see(values - subject.alone[place], subject.place(place))
    return largest.check("packed = padded", "of a number of a vector", NUMBER)


def golden_lines(package: Package) -> Check:
    """Golden lines: every number of each vector, as it was when the package was made."""
    name, unit, tolerance, largest = "golden lines", "of a number", TOLERANCES[package.precision], Largest()
    if not package.golden:
        return Check(name, unit, tolerance, detail="the package has none")
    embedder: Embedder = package.task
    rows = embedder.encode([line["source"] for line in package.golden])
    for number, (line, values) in enumerate(zip(package.golden, embedder.vectors(rows, 1), strict=True), 1):
        largest.see(values - torch.tensor(line["embedding"]), f"golden line {number}")
    return largest.check(name, unit, tolerance)


def rounding(subject: VectorSubject, rounded: Embedder, precision: Precision) -> Check:
    """Rounded weights against float32: the largest distance of a cosine from 1."""
    values, full, largest = rounded.vectors(subject.lines.sources, 1), subject.alone, Largest()
    largest.see(values - full, "")
    least = float(torch.nn.functional.cosine_similarity(values, full, dim=1).min())
    name, tolerance = f"{precision} against float32", ROUNDED[precision]
    figures = {"least_cosine": least, "largest_difference": largest.value}
    return Check(name, "distance of a cosine from 1", tolerance, 1 - least, values=figures)


def read(embedder: Any, path: str) -> Known:
    """Return the texts of a table of one column of texts."""
    return of_table(open_labelled(path, LabelColumns(labelled=False, numbers=True, many=True)))


def _subject(embedder: Any, lines: Lines) -> VectorSubject:
    return VectorSubject(embedder, lines)


SUITE = Suite(lambda embedder: embedder.documents, read, _subject, golden_lines, (batched, packed), rounding)
