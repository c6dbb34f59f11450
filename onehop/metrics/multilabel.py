"""Sets of labels: F1 and exact matches with intervals, and the thresholds by which probabilities become sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onehop.metrics.classification import DRAWS, SEED, Class
from onehop.metrics.translation import Interval

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
MIDDLE = 0.5  # threshold, where nothing better is known
FEWEST = 100  # texts that thresholds are chosen on
RARE = 5  # texts that must have a label for its threshold to be chosen
SAME = 1e-3  # probabilities no farther apart tell no texts from each other
NAMES = ("micro_f1", "macro_f1", "exact")


@dataclass(frozen=True)
class SetScores:
    """How well sets of labels were found.

    Args:
        micro_f1: F1 of all single labels of all texts together.
        macro_f1: Mean of the F1 of the labels that some text has or was given.
        exact: Share of the texts that were given exactly their labels.
        mcc: Mean of Matthews' correlations of those labels, 0 where all texts are given the same set.
        majority: The same of who always gives the most frequent set.
        majority_micro_f1: The micro F1 of that.
        classes: How well each label is found.
    """

    micro_f1: float
    macro_f1: float
    exact: float
    mcc: float
    majority: float
    majority_micro_f1: float
    classes: list[Class]


def score_sets(found: Bools, wanted: Bools, labels: Sequence[str]) -> SetScores:
    """Return how well sets of labels were found.

    Args:
        found: Whether each text was given each label, `(N, C)`.
        wanted: Whether it has it, `(N, C)`.
        labels: Their names.

    Example:
        >>> wanted = np.array([[1, 0], [1, 1], [0, 0]], bool)
        >>> scores = score_sets(np.array([[1, 0], [1, 0], [0, 0]], bool), wanted, ["loud", "dark"])
        >>> round(scores.micro_f1, 4), scores.macro_f1, round(scores.exact, 4), scores.mcc, round(scores.majority, 4)
        (0.8, 0.5, 0.6667, 0.5, 0.3333)
    """
    right, given, support = (found & wanted).sum(0), found.sum(0), wanted.sum(0)
    f1 = _ratio(2 * right, given + support)
    precision, recall = _ratio(right, given), _ratio(right, support)
    classes = [
        Class(name, int(support[i]), int(given[i]), float(precision[i]), float(recall[i]), float(f1[i]))
        for i, name in enumerate(labels)
    ]
    seen = given + support > 0
    macro, mcc = (float(v[seen].mean()) if seen.any() else 0.0 for v in (f1, _correlations(found, wanted)))
    usual = _usual(wanted)
    return SetScores(
        _micro(found, wanted), macro, _exact(found, wanted), mcc, _exact(usual, wanted), _micro(usual, wanted), classes
    )


def _correlations(found: Bools, wanted: Bools) -> Floats:
    """Return Matthews' correlation of each label, `(C,)`; 0 where all texts have it or were given it, or none."""
    texts, right = len(wanted), (found & wanted).sum(0)
    given, support = found.sum(0), wanted.sum(0)
    spread = np.sqrt(1.0 * given * (texts - given) * support * (texts - support))
    return _ratio(texts * right - given * support, spread)


def _usual(wanted: Bools) -> Bools:
    """Return the most frequent set for every text; of several the first in order."""
    if not len(wanted):
        return wanted
    sets, counts = np.unique(wanted, axis=0, return_counts=True)
    return np.broadcast_to(sets[int(counts.argmax())], wanted.shape)


def _micro(found: Bools, wanted: Bools) -> float:
    whole = int(found.sum() + wanted.sum())
    return 2 * int((found & wanted).sum()) / whole if whole else 0.0


def _exact(found: Bools, wanted: Bools) -> float:
    return float((found == wanted).all(1).mean()) if len(wanted) else 0.0


def _ratio(part: npt.NDArray[np.generic], whole: npt.NDArray[np.generic]) -> Floats:
    numbers = np.asarray(part, np.float64)
    return np.divide(numbers, whole, out=np.zeros_like(numbers), where=np.asarray(whole) > 0)  # type: ignore[arg-type]


def bootstrap_sets(found: Bools, wanted: Bools, draws: int = DRAWS) -> dict[str, Interval]:
    """Return 95 % intervals of micro F1, macro F1 and exact matches, by drawing texts with replacement.

    Texts with the same two sets are counted together, so many texts take no more than few.

    Example:
        >>> half = np.array([[1, 0]] * 50 + [[0, 1]] * 50, bool)
        >>> interval = bootstrap_sets(half, np.array([[1, 0]] * 100, bool))["exact"]
        >>> 0.35 < interval.low < 0.5 < interval.high < 0.65
        True
    """
    width = wanted.shape[1]
    kinds, counts = np.unique(np.concatenate([found, wanted], 1), axis=0, return_counts=True)
    ours, theirs = kinds[:, :width], kinds[:, width:]
    drawn = np.random.Generator(np.random.PCG64(SEED)).multinomial(counts.sum(), counts / counts.sum(), draws)
    right = drawn @ (ours & theirs).astype(np.int64)
    whole = drawn @ (ours.astype(np.int64) + theirs)
    f1 = _ratio(2 * right, whole)
    values = {
        "micro_f1": _ratio(2 * right.sum(1), whole.sum(1)),
        "macro_f1": f1.sum(1) / np.maximum((whole > 0).sum(1), 1),
        "exact": drawn @ (ours == theirs).all(1) / counts.sum(),
    }
    return {name: Interval(*(float(x) for x in np.percentile(values[name], [2.5, 97.5]))) for name in NAMES}


# ------------------------------------------------------------------------------------------------ thresholds


def thresholds_for(probabilities: Floats, wanted: Bools) -> Floats:
    """Return for each label the probability from which on giving it has the best F1 on these texts, `(C,)`.

    It lies midway between two texts. Of a label that fewer than `RARE` texts have, or all, or whose probability is the
    same for all texts, it is one half.

    Args:
        probabilities: Of each label for each text, `(N, C)`.
        wanted: Whether the text has it, `(N, C)`.

    Example:
        >>> p = np.array([[0.9], [0.4], [0.35], [0.3], [0.25], [0.24], [0.2], [0.1]])
        >>> thresholds_for(p, p > 0.22)
        array([0.22])
    """
    found = np.full(wanted.shape[1], MIDDLE)
    for label in range(wanted.shape[1]):
        values, has = probabilities[:, label], wanted[:, label]
        total = int(has.sum())
        if total < RARE or total == len(has) or np.ptp(values) < SAME:
            continue
        order = np.argsort(-values, kind="stable")
        values, right = values[order], np.cumsum(has[order])
        f1 = 2 * right / (np.arange(1, len(values) + 1) + total)
        lower = np.append(values[1:], 0.0)
        cut = np.where(values > lower, f1, -1.0)  # equal probabilities cannot be told apart
        best = int(cut.argmax())
        found[label] = float(f"{(values[best] + lower[best]) / 2:.6g}")
    return found


def crossed(probabilities: Floats, wanted: Bools) -> Bools:
    """Return the sets that texts get by thresholds that were chosen on the other half of them: every second text.

    What a threshold reaches on the texts it was chosen on is too good to be told.
    """
    found = np.zeros_like(wanted)
    for half in (0, 1):
        limits = thresholds_for(probabilities[1 - half :: 2], wanted[1 - half :: 2])
        found[half::2] = probabilities[half::2] >= limits
    return found
