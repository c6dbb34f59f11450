"""Accuracy, F1 and Matthews' correlation of labels, with intervals, and a paired test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, erfc, sqrt

import numpy as np
import numpy.typing as npt

from onehop.metrics.translation import Interval

DRAWS, SEED = 1_000, 12345
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Class:
    """How well one label is found.

    Args:
        label: Its name.
        support: Texts that have it.
        predicted: Texts that were given it.
        precision: Share of those given it that have it; 0 where none was.
        recall: Share of those that have it that were given it; 0 where none has.
        f1: Their harmonic mean.
    """

    label: str
    support: int
    predicted: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Labelling:
    """How well labels were found.

    Args:
        accuracy: Share of the texts that were given their label.
        macro_f1: Mean of the F1 of the labels that some text has or was given.
        mcc: Matthews' correlation coefficient (Gorodkin 2004), 0 for one label throughout.
        majority: Share of the most frequent label: the accuracy of who always says that.
        classes: How well each label is found.
        confusion: Texts of each label (row) by the label they were given (column); one more column for none.
    """

    accuracy: float
    macro_f1: float
    mcc: float
    majority: float
    classes: list[Class]
    confusion: list[list[int]]


def labelling(found: Sequence[str | None], wanted: Sequence[str], labels: Sequence[str]) -> Labelling:
    """Return how well labels were found.

    Args:
        found: The label that each text was given; None for none, which is wrong.
        wanted: The label that it has.
        labels: All there are.

    Example:
        >>> result = labelling(["a", "b", "b", None], ["a", "b", "a", "a"], ["a", "b"])
        >>> result.accuracy, round(result.macro_f1, 4), result.majority, result.confusion
        (0.5, 0.5833, 0.75, [[1, 1, 1], [0, 1, 0]])
    """
    ids = {label: place for place, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels) + 1), np.int64)
    for one, other in zip(found, wanted, strict=True):
        table[ids[other], len(labels) if one is None else ids[one]] += 1
    right, support, predicted = table.diagonal(), table.sum(1), table.sum(0)[:-1]
    precision, recall = _shares(right, predicted), _shares(right, support)
    f1 = _shares(2 * right, support + predicted)
    seen = (support + predicted) > 0
    total = max(1, int(table.sum()))
    classes = [
        Class(name, int(support[i]), int(predicted[i]), float(precision[i]), float(recall[i]), float(f1[i]))
        for i, name in enumerate(labels)
    ]
    macro = float(f1[seen].mean()) if seen.any() else 0.0
    mcc = _mcc(int(right.sum()), support, table.sum(0))
    majority = int(support.max(initial=0)) / total
    return Labelling(int(right.sum()) / total, macro, mcc, majority, classes, table.tolist())


def _shares(part: Ints, whole: Ints) -> npt.NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _mcc(right: int, support: Ints, predicted: Ints) -> float:
    """Return Matthews' correlation for any number of labels (Gorodkin 2004, equation 8); those given none count as one.

    Args:
        right: Texts that were given their label.
        support: Texts of each label.
        predicted: Texts that were given each label, and last those given none.
    """
    total = float(support.sum())
    spread = (total**2 - float((predicted**2).sum())) * (total**2 - float((support**2).sum()))
    together = right * total - float((support * predicted[:-1]).sum())
    return together / spread**0.5 if spread > 0 else 0.0


def bootstrap(
    found: Sequence[str | None], wanted: Sequence[str], labels: Sequence[str], draws: int = DRAWS
) -> dict[str, Interval]:
    """Return 95 % intervals of accuracy, macro F1 and Matthews' correlation.

    That of accuracy is Wilson's (1927), which has a width also where every text or none is right; the others come of
    drawing texts with replacement.

    Example:
        >>> found = bootstrap(["a"] * 60, ["a"] * 60, ["a", "b"])
        >>> round(found["accuracy"].low, 3), found["accuracy"].high
        (0.94, 1.0)
    """
    values = _resampled(found, wanted, labels, draws)
    right = sum(one == other for one, other in zip(found, wanted, strict=True))
    drawn = {
        name: Interval(*(float(x) for x in np.percentile(column, [2.5, 97.5])))
        for name, column in zip(("macro_f1", "mcc"), values.T, strict=True)
    }
    return {"accuracy": wilson(right, len(wanted)), **drawn}


def wilson(right: int, count: int) -> Interval:
    """Return the 95 % interval of a share (Wilson 1927).

    Example:
        >>> [round(end, 3) for end in (wilson(0, 10).low, wilson(0, 10).high)]
        [0.0, 0.278]
    """
    if not count:
        return Interval(0.0, 1.0)
    z, share = 1.959964, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def _resampled(
    found: Sequence[str | None], wanted: Sequence[str], labels: Sequence[str], draws: int
) -> npt.NDArray[np.float64]:
    """Return macro F1 and Matthews' correlation of each draw, `(draws, 2)`."""
    ids = {label: place for place, label in enumerate(labels)}
    width = len(labels) + 1
    cells = Counter(
        ids[other] * width + (len(labels) if one is None else ids[one])
        for one, other in zip(found, wanted, strict=True)
    )
    places, counts = np.array(sorted(cells)), np.array([cells[place] for place in sorted(cells)])
    drawn = np.random.Generator(np.random.PCG64(SEED)).multinomial(counts.sum(), counts / counts.sum(), draws)
    tables = np.zeros((draws, len(labels) * width))
    tables[:, places] = drawn
    tables = tables.reshape(draws, len(labels), width)
    right = tables[:, range(len(labels)), range(len(labels))]
    both = tables.sum(2) + tables.sum(1)[:, :-1]
    f1 = np.divide(2 * right, both, out=np.zeros_like(right), where=both > 0)
    macro = f1.sum(1) / np.maximum((both > 0).sum(1), 1)
    total, support, predicted = float(counts.sum()), tables.sum(2), tables.sum(1)
    spread = (total**2 - (predicted**2).sum(1)) * (total**2 - (support**2).sum(1))
    together = right.sum(1) * total - (support * predicted[:, :-1]).sum(1)
    mcc = np.divide(together, np.sqrt(spread), out=np.zeros(draws), where=spread > 0)
    return np.stack([macro, mcc], 1)


@dataclass(frozen=True)
class Compared:
    """Two systems on the same texts.

    Args:
        difference: Of their accuracies, ours less theirs.
        better: Texts that only ours gave their label.
        worse: Texts that only theirs did.
        p_value: How often chance alone would give as much: McNemar's exact test (1947), two-sided.
    """

    difference: float
    better: int
    worse: int
    p_value: float


def mcnemar(ours: Sequence[str | None], theirs: Sequence[str | None], wanted: Sequence[str]) -> Compared:
    """Compare two systems by the texts on which only one is right.

    Example:
        >>> mcnemar(["a"] * 8, ["b"] * 8, ["a"] * 8)
        Compared(difference=1.0, better=8, worse=0, p_value=0.0078125)
    """
    pairs = [(one == label, other == label) for one, other, label in zip(ours, theirs, wanted, strict=True)]
    better, worse = pairs.count((True, False)), pairs.count((False, True))
    n, least = better + worse, min(better, worse)
    tail = sum(comb(n, k) for k in range(least + 1)) * 2 / 2**n if n < 1_000 else _normal(better, worse)
    return Compared((better - worse) / max(1, len(wanted)), better, worse, min(1.0, tail))


def _normal(better: int, worse: int) -> float:
    """Return the two-sided tail where so many texts differ that the binomial is normal, corrected for continuity."""
    z = max(0.0, abs(better - worse) - 1) / sqrt(better + worse)
    return erfc(z / sqrt(2))
