"""Checks of a tagger: alone and in batches, packed, its golden lines, and what rounding of weights costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from onehop.data.tagged import TagColumns, open_tagged
from onehop.errors import DataError
from onehop.metrics.schemes import mended
from onehop.tasks import Package, Precision
from onehop.tasks.replay import TOLERANCES
from onehop.tasks.tagging import Tagger
from onehop.tasks.wordwise import joined_words
from onehop.verify.margins import NEAR_TIE
from onehop.verify.numeric import ROW_PAIRS, Largest
from onehop.verify.report import Check
from onehop.verify.rows import packed_source
from onehop.verify.stored import ROUNDED
from onehop.verify.subject import GROUP, Lines
from onehop.verify.suites import Known, Suite

SENTENCES = (".conll", ".conllu", ".jsonl")
LABEL = 1e-4  # nats: what rounding in float32 may do to what a word says of a label


@dataclass(frozen=True)
class TagSubject:
    """A tagger and sentences, with what it makes of each alone."""

    tagger: Tagger
    lines: Lines

    @cached_property
    def alone(self) -> list[Tensor]:
        """What each word says of every label, sentence by sentence, `(W, C)`."""
        return self.tagger.emissions(self.lines.sources, 1)

    def groups(self, size: int) -> Iterator[list[int]]:
        """Yield the places of the sentences of each batch."""
        for start in range(0, len(self.lines), size):
            yield list(range(start, min(start + size, len(self.lines))))

    def place(self, row: int) -> str:
        """Return a sentence as messages name it."""
        return self.lines.places[row]

    def score(self, emissions: Tensor, ids: Sequence[int]) -> float:
        """Return how likely the tagger finds a sequence of labels, not normalised."""
        crf = self.tagger.model.crf
        if not crf:
            return float(emissions[range(len(ids)), ids].sum())
        size, labels = torch.tensor([len(ids)]), torch.tensor([ids])
        given = (one.to(self.tagger.device) for one in (emissions[None], labels, size))
        with torch.inference_mode():
            return float(crf.score(*given))


def batched(subject: TagSubject) -> Check:
    """Batched = single: each sentence alone, and in a padded batch beside others; the labels too."""
    largest, differences, near, detail = Largest(), 0, 0, ""
    for rows in subject.groups(GROUP):
        together = subject.tagger.emissions([subject.lines.sources[i] for i in rows], 1 << 40)
        paths = subject.tagger.decode(together)
        for place, values, path in zip(rows, together, paths, strict=True):
            alone = subject.alone[place]
            largest.see(values - alone, subject.place(place))
            own = subject.tagger.decode([alone])[0]
            if own == path:
                continue
            if subject.score(alone, own) - subject.score(alone, path) < NEAR_TIE:
                near += 1
            else:
                differences += 1
                detail = detail or f"{subject.place(place)}: other labels"
    found = largest.check("batched = single", "nats, of a label of a word", LABEL)
    return Check(
        found.name, found.unit, found.tolerance, found.measured, differences, near, found.detail or detail
    )  # fmt: skip


def packed(subject: TagSubject) -> Check:
    """Packed = padded: four sentences in a row, each a segment of its own, and each alone."""
    name, unit = "packed = padded", "nats, of a label of a word"
    largest = Largest()
    for rows in subject.groups(ROW_PAIRS):
        values = _packed(subject.tagger, [subject.lines.sources[i] for i in rows])
        sizes = [len(subject.alone[i]) for i in rows]
        for place, own in zip(rows, values.split(sizes), strict=True):
            largest.see(own - subject.alone[place], subject.place(place))
    return largest.check(name, unit, LABEL)


@torch.inference_mode()
def _packed(tagger: Tagger, rows: Sequence[list[int]]) -> Tensor:
    """Return what each word of sentences that share one row says of every label, `(M, C)`."""
    before = 1 if tagger.documents.frame else 0  # begin marks of a text
    places: list[int] = []
    start = 0
    for row in rows:
        first = (place for place, token in enumerate(row) if token >= tagger.documents.offset)
        places += [start + before + place for place in first]
        start += before + len(row) + 1
    where = torch.tensor(places, device=tagger.device)
    logits = tagger.model(packed_source(tagger, rows), torch.zeros_like(where), where).float()
    return (logits if tagger.model.crf else logits.log_softmax(-1)).cpu()


def golden_lines(package: Package) -> Check:
    """Golden lines: the log-probability of each word's label, as it was when the package was made."""
    name, unit, tolerance, largest = "golden lines", "nats, of a label", TOLERANCES[package.precision], Largest()
    if not package.golden:
        return Check(name, unit, tolerance, detail="the package has none")
    tagger: Tagger = package.task
    values = tagger.log_probs(tagger.emissions(tagger.encode([line["source"] for line in package.golden]), 1))
    for number, (line, each) in enumerate(zip(package.golden, values, strict=True), 1):
        claimed = [tagger.labels.index(label) for label in line["labels"]]
        own = each[range(len(claimed)), claimed]
        largest.see(own - torch.tensor(line["log_probs"]), f"golden line {number}")
    return largest.check(name, unit, tolerance)


def rounding(subject: TagSubject, rounded: Tagger, precision: Precision) -> Check:
    """Rounded weights against float32: the share of words that get another label, and accuracy where it is known."""
    full, values = subject.alone, rounded.emissions(subject.lines.sources, 1)
    largest = Largest()
    for one, other in zip(values, full, strict=True):
        largest.see(one - other, "")
    ours, theirs = rounded.decode(values), subject.tagger.decode(full)
    flat = [a == b for row, other in zip(ours, theirs, strict=True) for a, b in zip(row, other, strict=True)]
    share = 1 - sum(flat) / max(1, len(flat)) if largest.value < torch.inf else torch.nan
    figures = {"label_agreement": 1 - share, "largest_log_prob_difference": largest.value}
    changed = len(flat) - sum(flat)
    detail = "" if share <= ROUNDED[precision] else f"{changed:,} of {len(flat):,} words get another label"
    unit = "share of words with another label"
    return Check(f"{precision} against float32", unit, ROUNDED[precision], share, 0, 0, detail, figures)


def read(tagger: Tagger, path: str) -> Known:
    """Return the sentences of a file, and their labels where it has some that the tagger knows."""
    try:
        found = list(open_tagged(path).sentences)
        labels = [mended(one.labels, tagger.settings.scheme) for one in found]
        known = all(label in tagger.labels for row in labels for label in row)
    except DataError:
        found, labels, known = list(open_tagged(path, TagColumns(labelled=False)).sentences), [], False
    named = [joined_words(row) for row in labels] if known else None
    return Known([joined_words(one.words) for one in found], named, [one.where for one in found])


def _subject(tagger: Any, lines: Lines) -> TagSubject:
    return TagSubject(tagger, lines)


SUITE = Suite(lambda tagger: tagger.documents, read, _subject, golden_lines, (batched, packed), rounding, SENTENCES)
