"""Checks of a classifier: alone and in batches, packed, its golden lines, and what rounding of weights costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from onehop.data.labelled import LabelColumns, joined, open_labelled
from onehop.errors import DataError
from onehop.tasks import Classifier, Package, Precision
from onehop.tasks.classify_golden import log_probs_of
from onehop.tasks.replay import TOLERANCES
from onehop.verify.margins import NEAR_TIE
from onehop.verify.numeric import ROW_PAIRS, Largest
from onehop.verify.report import Check
from onehop.verify.rows import packed_source
from onehop.verify.stored import ROUNDED
from onehop.verify.subject import GROUP, Lines
from onehop.verify.suites import Known, Suite

LABEL = 1e-4  # nats: what rounding in float32 may do to a label's log-probability


@dataclass(frozen=True)
class LabelSubject:
    """A classifier and texts, with what it makes of each text alone."""

    classifier: Classifier
    lines: Lines

    @cached_property
    def alone(self) -> Tensor:
        """The log-probabilities of each text, classified alone, `(N, C)`."""
        return self.classifier.log_probs(self.lines.sources, 1)

    def groups(self, size: int) -> Iterator[list[int]]:
        """Yield the places of the texts of each batch."""
        for start in range(0, len(self.lines), size):
            yield list(range(start, min(start + size, len(self.lines))))

    def place(self, row: int) -> str:
        """Return a text as messages name it."""
        return self.lines.places[row]


def batched(subject: LabelSubject) -> Check:
    """Batched = single: each text alone, and in a padded batch beside others; the labels too."""
    largest, differences, near, detail = Largest(), 0, 0, ""
    for rows in subject.groups(GROUP):
        together = subject.classifier.log_probs([subject.lines.sources[i] for i in rows], 1 << 40)
        for place, values in zip(rows, together, strict=True):
            alone = subject.alone[place]
            largest.see(values - alone, subject.place(place))
            one, other = int(alone.argmax()), int(values.argmax())
            if one != other and float(alone[one] - alone[other]) < NEAR_TIE:
                near += 1
            elif one != other:
                differences += 1
                labels = subject.classifier.labels
                detail = detail or f"{subject.place(place)}: {labels[other]!r}, not {labels[one]!r}"
    found = largest.check("batched = single", "nats, of a label", LABEL)
    return Check(
        found.name, found.unit, found.tolerance, found.measured, differences, near, found.detail or detail
    )  # fmt: skip


def packed(subject: LabelSubject) -> Check:
    """Packed = padded: four texts in a row, each a segment of its own, and each alone."""
    name, unit = "packed = padded", "nats, of a label"
    if subject.classifier.model.encoder.unit == "sentences":
        return Check(name, unit, LABEL, detail="this encoder reads the segments of a row as sentences of one text")
    largest = Largest()
    for rows in subject.groups(ROW_PAIRS):
        found = _packed(subject.classifier, [subject.lines.sources[i] for i in rows])
        for place, values in zip(rows, found, strict=True):
            largest.see(values - subject.alone[place], subject.place(place))
    return largest.check(name, unit, LABEL)


@torch.inference_mode()
def _packed(classifier: Classifier, rows: Sequence[list[int]]) -> Tensor:
    """Return the log-probabilities of texts that share one row."""
    return classifier.normalised(classifier.model(packed_source(classifier, rows))).cpu()


def golden_lines(package: Package) -> Check:
    """Golden lines: the log-probability of every label, as it was when the package was made."""
    name, unit, tolerance, largest = "golden lines", "nats, of a label", TOLERANCES[package.precision], Largest()
    if not package.golden:
        return Check(name, unit, tolerance, detail="the package has none")
    classifier: Classifier = package.task
    rows = classifier.documents.encode_batch([line["source"] for line in package.golden])
    differences, told = 0, ""
    for number, (line, values) in enumerate(zip(package.golden, classifier.log_probs(rows, 1), strict=True), 1):
        largest.see(values - torch.tensor(log_probs_of(classifier, line)), f"golden line {number}")
        best, claimed = int(values.argmax()), classifier.labels.index(line["label"])
        if float(values[best] - values[claimed]) > tolerance:
            differences += 1
            told = told or f"golden line {number}: {classifier.labels[best]!r}, not {line['label']!r}"
    found = largest.check(name, unit, tolerance)
    return Check(name, unit, tolerance, found.measured, differences, 0, found.detail or told)


def rounding(subject: LabelSubject, rounded: Classifier, precision: Precision) -> Check:
    """Rounded weights against float32: the share of texts that get another label, and accuracy where it is known."""
    full, largest = subject.alone, Largest()
    values = rounded.log_probs(subject.lines.sources, 1)
    largest.see(values - full, "")
    same = values.argmax(1) == full.argmax(1)
    share = 1 - float(same.float().mean()) if largest.value < torch.inf else torch.nan
    figures = {"label_agreement": float(same.float().mean()), "largest_log_prob_difference": largest.value}
    if subject.lines.references:
        wanted = torch.tensor([subject.classifier.labels.index(label) for label in subject.lines.references])
        right = [float((each.argmax(1) == wanted).float().mean()) for each in (values, full)]
        figures |= {"accuracy": right[0], "accuracy_difference": right[0] - right[1]}
    changed = int((~same).sum())
    detail = "" if share <= ROUNDED[precision] else f"{changed:,} of {len(same):,} texts get another label"
    unit = "share of texts with another label"
    return Check(f"{precision} against float32", unit, ROUNDED[precision], share, 0, 0, detail, figures)


def read(classifier: Classifier, path: str) -> Known:
    """Return the texts of a table, and their labels where it has some."""
    texts = tuple(classifier.settings.columns)
    try:
        table = open_labelled(path, LabelColumns(texts))
    except DataError:
        table = open_labelled(path, LabelColumns(texts, labelled=False, numbers=True, many=True))
    rows = list(table.rows)
    labelled = all(row.label.strip() for row in rows)
    named = [classifier.label(row.label.strip(), table.where(row)) for row in rows] if labelled else None
    return Known([joined(row.texts) for row in rows], named, [table.where(row) for row in rows])


def _subject(classifier: Any, lines: Lines) -> LabelSubject:
    return LabelSubject(classifier, lines)


SUITE = Suite(
    lambda classifier: classifier.documents, read, _subject, golden_lines, (batched, packed), rounding
)  # fmt: skip
