"""Whether a probability can be believed: calibration by one temperature (Guo 2017), and when to say nothing."""

from __future__ import annotations

from math import exp, floor, log

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
BINS = 15
FEWEST = 100  # texts that a temperature is found on
SURE = 20  # texts that a probability from which on labels are given rests on
LOW, HIGH = log(0.05), log(20.0)


def expected_error(log_probs: Floats, wanted: Ints, bins: int = BINS) -> float:
    """Return the expected calibration error: how far the probability of the label given is from the share right.

    Texts are put into bins of equal width by that probability (Guo 2017, equation 3).

    Args:
        log_probs: Of every label for each text, `(N, C)`.
        wanted: The label of each, `(N,)`.
        bins: Their number.

    Example:
        >>> sure = np.log(np.array([[0.9, 0.1]] * 10))
        >>> round(expected_error(sure, np.array([0] * 6 + [1] * 4)), 4)
        0.3
    """
    if not len(wanted):
        return 0.0
    best = log_probs.max(1)
    right = log_probs.argmax(1) == wanted
    places = np.minimum((np.exp(best) * bins).astype(int), bins - 1)
    sums = np.bincount(places, np.exp(best) - right, bins)
    return float(np.abs(sums).sum() / len(wanted))


def tempered(log_probs: Floats, temperature: float) -> Floats:
    """Return log-probabilities as a softmax at a temperature gives them."""
    scores = log_probs / temperature
    top = scores.max(1, keepdims=True)
    return scores - top - np.log(np.exp(scores - top).sum(1, keepdims=True))


def temperature_of(log_probs: Floats, wanted: Ints) -> float:
    """Return the temperature that gives texts' labels the least loss, from 0.05 to 20, by golden section.

    The loss is convex in the inverse of the temperature, so its logarithm has one valley.

    Example:
        >>> sure = np.log(np.array([[0.99, 0.01]] * 10))
        >>> temperature_of(sure, np.array([0] * 7 + [1] * 3)) > 3
        True
    """
    rows, ratio = np.arange(len(wanted)), (5**0.5 - 1) / 2

    def loss(place: float) -> float:
        return -float(tempered(log_probs, exp(place))[rows, wanted].mean())

    low, high = LOW, HIGH
    one, two = high - ratio * (high - low), low + ratio * (high - low)
    at_one, at_two = loss(one), loss(two)
    while high - low > 1e-3:
        if at_one < at_two:
            high, two, at_two = two, one, at_one
            one = high - ratio * (high - low)
            at_one = loss(one)
        else:
            low, one, at_one = one, two, at_two
            two = low + ratio * (high - low)
            at_two = loss(two)
    return round(exp((low + high) / 2), 4)


def calibrated_error(log_probs: Floats, wanted: Ints) -> float:
    """Return the calibration error with a temperature, each half of the texts by the temperature of the other half.

    A temperature that was found on the texts it is judged by would flatter itself.
    """
    halves = np.arange(len(wanted)) % 2 == 0
    after = log_probs.copy()
    for half in (halves, ~halves):
        after[half] = tempered(log_probs[half], temperature_of(log_probs[~half], wanted[~half]))
    return expected_error(after, wanted)


def threshold_for(log_probs: Floats, wanted: Ints, accuracy: float, fewest: int = SURE) -> float | None:
    """Return the least probability from which on labels are right in so large a share of the texts; None if never.

    Args:
        log_probs: Of every label for each text, `(N, C)`.
        wanted: The label of each.
        accuracy: The share, among the texts whose likeliest label has that probability or more.
        fewest: Such texts that there must be: a share of a handful is luck.

    Example:
        >>> found = np.log(np.array([[0.95, 0.05], [0.90001, 0.09999], [0.6, 0.4], [0.55, 0.45]]))
        >>> threshold_for(found, np.array([0, 0, 1, 0]), 0.9, fewest=2)
        0.9
        >>> threshold_for(found, np.array([0, 0, 1, 0]), 0.9) is None
        True
    """
    best, right = np.exp(log_probs.max(1)), log_probs.argmax(1) == wanted
    order = np.argsort(-best, kind="stable")
    shares = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    ends = np.append(best[order][1:] < best[order][:-1], True)  # texts of equal probability stand or fall together
    good = np.flatnonzero((shares >= accuracy) & ends & (np.arange(1, len(order) + 1) >= fewest))
    return floor(1e4 * float(best[order][good[-1]])) / 1e4 if len(good) else None  # so that rounding changes nothing
