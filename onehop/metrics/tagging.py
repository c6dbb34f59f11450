"""Precision, recall and F1 of spans, and accuracy of words, with intervals and a paired test over sentences.

A span is right if its first word, its last word and its label are (CoNLL-2002); what is a span is told by
`onehop.metrics.schemes`, as seqeval's strict mode has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onehop.metrics.classification import DRAWS, SEED, Class, labelling
from onehop.metrics.schemes import Scheme, spans
from onehop.metrics.translation import Interval

Rows = Sequence[Sequence[str | None]]
Floats = npt.NDArray[np.float64]
RIGHT, WORDS, COMMON, FOUND, WANTED = range(5)  # columns of a sentence's counts


@dataclass(frozen=True)
class Tagging:
    """How well words were labelled.

    Args:
        accuracy: Share of the words that were given their label.
        precision: Share of the spans found that are right; 0 where none was. Without a scheme, 0.
        recall: Share of the spans that were found.
        f1: Their harmonic mean.
        majority: Share of the most frequent label: the accuracy of who always says that.
        by_label: How well each kind of span is found, or without a scheme each label.
        mcc: Matthews' correlation of the words' labels, 0 for one label throughout.
    """

    accuracy: float
    precision: float
    recall: float
    f1: float
    majority: float
    by_label: list[Class]
    mcc: float = 0.0


def tagging(found: Rows, wanted: Sequence[Sequence[str]], scheme: Scheme, labels: Sequence[str]) -> Tagging:
    """Return how well words were labelled.

    Args:
        found: The label that each word of each sentence was given; None for none, which is wrong.
        wanted: The label that it has.
        scheme: What labels mean; see `onehop.metrics.schemes`.
        labels: All there are.

    Example:
        >>> result = tagging([["B-a", "O", "B-a"]], [["B-a", "O", "O"]], "bio", ["O", "B-a", "I-a"])
        >>> result.precision, result.recall, round(result.f1, 4), round(result.accuracy, 4)
        (0.5, 1.0, 0.6667, 0.6667)
    """
    flat = labelling([x for row in found for x in row], [x for row in wanted for x in row], labels)
    totals = counts(found, wanted, scheme).sum(0)
    precision, recall = _share(totals[COMMON], totals[FOUND]), _share(totals[COMMON], totals[WANTED])
    by_label = flat.classes if scheme == "none" else _by_kind(found, wanted, scheme)
    return Tagging(flat.accuracy, precision, recall, float(_f1(totals)), flat.majority, by_label, flat.mcc)


def counts(found: Rows, wanted: Sequence[Sequence[str]], scheme: Scheme) -> Floats:
    """Return for each sentence: words that are right, words, spans that are right, spans found, spans wanted."""
    rows: list[tuple[int, ...]] = []
    for one, other in zip(found, wanted, strict=True):
        right = sum(a == b for a, b in zip(one, other, strict=True))
        ours, theirs = set(spans(one, scheme)), set(spans(other, scheme))
        rows.append((right, len(other), len(ours & theirs), len(ours), len(theirs)))
    return np.array(rows, np.float64).reshape(-1, 5)


def _by_kind(found: Rows, wanted: Sequence[Sequence[str]], scheme: Scheme) -> list[Class]:
    table: dict[str, list[int]] = {}
    for one, other in zip(found, wanted, strict=True):
        ours, theirs = spans(one, scheme), spans(other, scheme)
        for place, part in enumerate((theirs, ours, set(ours) & set(theirs))):
            for span in part:
                table.setdefault(span.label, [0, 0, 0])[place] += 1
    return [
        Class(name, support, predicted, _share(right, predicted), _share(right, support),
              _share(2 * right, support + predicted))
        for name, (support, predicted, right) in sorted(table.items())
    ]  # fmt: skip


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def _f1(totals: Floats) -> Floats:
    """Return F1 of sums of counts `(..., 5)`."""
    both = totals[..., FOUND] + totals[..., WANTED]
    return np.divide(2 * totals[..., COMMON], both, out=np.zeros_like(both), where=both > 0)


def _accuracy(totals: Floats) -> Floats:
    return totals[..., RIGHT] / np.maximum(totals[..., WORDS], 1)


def bootstrap_tags(
    found: Rows, wanted: Sequence[Sequence[str]], scheme: Scheme, draws: int = DRAWS
) -> dict[str, Interval]:
    """Return 95 % intervals of accuracy and F1, by drawing sentences with replacement.

    Example:
        >>> bootstrap_tags([["a"], ["b"]] * 50, [["a"], ["a"]] * 50, "none")["accuracy"].low > 0.35
        True
    """
    table = counts(found, wanted, scheme)
    size = len(table)
    drawn = np.random.Generator(np.random.PCG64(SEED)).multinomial(size, np.full(size, 1 / size), draws)
    totals = drawn @ table
    return {
        name: Interval(*(float(x) for x in np.percentile(of(totals), [2.5, 97.5])))
        for name, of in (("accuracy", _accuracy), ("f1", _f1))
    }


@dataclass(frozen=True)
class ComparedTags:
    """Two systems on the same sentences.

    Args:
        figure: What was compared: `f1` of spans, or without a scheme the `accuracy` of words.
        difference: Ours less theirs.
        p_value: How often chance alone would give as much, two-sided: an approximate randomisation (Noreen 1989), in
            which the outputs of a sentence change sides.
    """

    figure: str
    difference: float
    p_value: float


def compare_tags(
    ours: Rows, theirs: Rows, wanted: Sequence[Sequence[str]], scheme: Scheme, draws: int = DRAWS
) -> ComparedTags:
    """Compare two systems by exchanging their outputs, sentence by sentence.

    Example:
        >>> compare_tags([["a"]] * 20, [["b"]] * 20, [["a"]] * 20, "none").p_value < 0.01
        True
    """
    figure, of = ("accuracy", _accuracy) if scheme == "none" else ("f1", _f1)
    one, other = counts(ours, wanted, scheme), counts(theirs, wanted, scheme)
    difference = float(of(one.sum(0)) - of(other.sum(0)))
    swapped = np.random.Generator(np.random.PCG64(SEED)).random((draws, len(one))) < 0.5
    moved = swapped.astype(np.float64) @ (other - one)
    drawn = of(one.sum(0) + moved) - of(other.sum(0) - moved)
    as_much = int((np.abs(drawn) >= abs(difference) - 1e-12).sum())
    return ComparedTags(figure, difference, (as_much + 1) / (draws + 1))
