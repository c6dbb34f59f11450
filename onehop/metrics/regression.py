"""How well numbers are found: correlations and errors, with intervals beside who always says the mean, and a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onehop.metrics.translation import Interval

DRAWS, SEED = 1_000, 12345
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Numbers:
    """How well numbers were found.

    Args:
        pearson: Pearson's correlation; 0 where one side is constant.
        spearman: That of the ranks, equal ones sharing theirs (Spearman 1904).
        rmse: Root of the mean squared error.
        mae: Mean absolute error.
        mean_rmse: The root error of who always says the mean of the wanted: their deviation.
    """

    pearson: float
    spearman: float
    rmse: float
    mae: float
    mean_rmse: float

    def to_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


def numbers(found: Sequence[float], wanted: Sequence[float]) -> Numbers:
    """Return how well numbers were found.

    Example:
        >>> result = numbers([1.0, 2.0, 3.0, 5.0], [1.0, 2.0, 4.0, 3.0])
        >>> round(result.pearson, 4), round(result.spearman, 4), round(result.rmse, 4)
        (0.6803, 0.8, 1.118)
    """
    one, other = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    error = one - other
    return Numbers(
        pearson(one, other),
        pearson(ranks(one), ranks(other)),
        float(np.sqrt(np.mean(error**2))) if len(error) else 0.0,
        float(np.abs(error).mean()) if len(error) else 0.0,
        float(other.std()) if len(error) else 0.0,
    )


def pearson(one: Floats, other: Floats) -> float:
    """Return the correlation of two series, 0 where one of them is constant."""
    if len(one) < 2:
        return 0.0
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / size if size > 1e-12 else 0.0


def ranks(values: Floats) -> Floats:
    """Return the rank of each value, from 0; equal values have the mean of theirs.

    Example:
        >>> ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist()
        [2.5, 0.0, 2.5, 1.0]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[place]


def bootstrap(found: Sequence[float], wanted: Sequence[float], draws: int = DRAWS) -> dict[str, Interval]:
    """Return 95 % intervals of both correlations and the root error, by drawing texts with replacement."""
    one, other = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    values = [(figures.pearson, figures.spearman, figures.rmse) for figures in _drawn(one, other, draws)]
    low, high = np.percentile(np.array(values), [2.5, 97.5], axis=0)
    return {
        name: Interval(float(low[i]), float(high[i])) for i, name in enumerate(("pearson", "spearman", "rmse"))
    }  # fmt: skip


def _drawn(one: Floats, other: Floats, draws: int) -> list[Numbers]:
    draw = np.random.Generator(np.random.PCG64(SEED))
    places = (draw.integers(0, len(one), len(one)) for _ in range(draws))
    return [numbers(one[chosen], other[chosen]) for chosen in places]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Compared:
    """Two systems on the same texts.

    Args:
        difference: Of their Spearman correlations, ours less theirs.
        p_value: How often resampled texts turn the difference round: a paired bootstrap, two-sided.
    """

    difference: float
    p_value: float


def compare(ours: Sequence[float], theirs: Sequence[float], wanted: Sequence[float], draws: int = DRAWS) -> Compared:
    """Compare two systems by resampling the texts of both alike.

    Example:
        >>> wanted = [float(n) for n in range(40)]
        >>> found = compare(wanted, [-value for value in wanted], wanted, 100)
        >>> found.difference, found.p_value < 0.05
        (2.0, True)
    """
    one, two, other = (np.asarray(values, np.float64) for values in (ours, theirs, wanted))
    pairs = zip(_drawn(one, other, draws), _drawn(two, other, draws), strict=True)
    found = np.array([mine.spearman - yours.spearman for mine, yours in pairs])
    beyond = min(int((found <= 0).sum()), int((found >= 0).sum()))
    difference = numbers(ours, wanted).spearman - numbers(theirs, wanted).spearman
    return Compared(difference, min(1.0, 2 * (beyond + 1) / (draws + 1)))


def rounded(value: Any) -> Any:
    """Return a figure as reports tell it."""
    return round(value, 4) if isinstance(value, float) else value
