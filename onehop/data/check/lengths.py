"""Pairs of very unlike length, by the test of Gale and Church (1993) with mean and variance of the corpus itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LIMIT = 8.0  # standard deviations
FOLD = 3.0  # and times longer than usual, or shorter


@dataclass(frozen=True)
class Ratio:
    """How long targets are for their sources.

    Args:
        mean: Characters of target for one of source, in the median.
        variance: Of the target's length, for each character of source.
    """

    mean: float
    variance: float

    def outliers(self, source: npt.NDArray[np.int64], target: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return which pairs differ too much in their lengths, in characters; empty ones do not."""
        usual = (source + target / self.mean) / 2
        deviation = np.abs(target - source * self.mean) / np.sqrt(np.maximum(usual, 1) * self.variance)
        fold = np.maximum(target, 1) / np.maximum(source * self.mean, 1)
        far = (fold > FOLD) | (fold < 1 / FOLD)
        return (deviation > LIMIT) & far & (source > 0) & (target > 0)


def learn_ratio(source: npt.NDArray[np.int64], target: npt.NDArray[np.int64]) -> Ratio:
    """Learn the ratio from a sample, robustly: median, and median absolute deviation."""
    some = (source > 0) & (target > 0)
    if not some.any():
        return Ratio(1.0, 1.0)
    left, right = source[some], target[some]
    mean = float(np.median(right / left))
    deviation = np.abs(right - left * mean) / np.sqrt(left)
    return Ratio(mean, max((1.4826 * float(np.median(deviation))) ** 2, 0.5))
