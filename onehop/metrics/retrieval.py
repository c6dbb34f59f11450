"""How well texts are found among others: mean reciprocal rank, accuracy, recall; with intervals and a paired test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from onehop.metrics.translation import Interval

DRAWS, SEED = 1_000, 12345
NEAR = 10  # places that the hit rate looks at
FIGURES = ("mrr", "accuracy", "hit_rate")


@dataclass(frozen=True)
class Found:
    """How well texts were found.

    Args:
        mrr: Mean of one over the place at which the right text stands (Voorhees 1999, TREC-8).
        accuracy: Share whose right text stands first.
        hit_rate: Share whose right text is among the first ten.
    """

    mrr: float
    accuracy: float
    hit_rate: float

    def to_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


def retrieval(places: Sequence[int]) -> Found:
    """Return figures of the places, from 1, at which right texts stand; 0 where one was not looked for.

    Example:
        >>> retrieval([1, 2, 20, 0])
        Found(mrr=0.3875, accuracy=0.25, hit_rate=0.5)
    """
    values = _values(places)
    return Found(*map(float, values.mean(1))) if len(places) else Found(0.0, 0.0, 0.0)


def _values(places: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return of each text what the three figures are means of, `(3, N)`."""
    found = np.asarray(places, np.float64)
    known = found > 0
    return np.array([known / np.maximum(found, 1), found == 1, known & (found <= NEAR)], np.float64)


def bootstrap(places: Sequence[int], draws: int = DRAWS) -> dict[str, Interval]:
    """Return 95 % intervals, by drawing texts with replacement.

    Example:
        >>> bootstrap([1] * 50)["mrr"]
        Interval(low=1.0, high=1.0)
    """
    values = _drawn(_values(places), draws)
    low, high = np.percentile(values, [2.5, 97.5], axis=0)
    return {name: Interval(float(low[n]), float(high[n])) for n, name in enumerate(FIGURES)}


def _drawn(values: npt.NDArray[np.float64], draws: int) -> npt.NDArray[np.float64]:
    draw, size = np.random.Generator(np.random.PCG64(SEED)), values.shape[1]
    return np.array([values[:, draw.integers(0, size, size)].mean(1) for _ in range(draws)])


def compare(ours: Sequence[int], theirs: Sequence[int], draws: int = DRAWS) -> tuple[float, float]:
    """Return the difference of two systems' mean reciprocal ranks, and its two-sided p value by a paired bootstrap.

    Example:
        >>> difference, chance = compare([1] * 40, [2] * 40)
        >>> difference, chance < 0.01
        (0.5, True)
    """
    found = _values(ours)[:1] - _values(theirs)[:1]
    drawn = _drawn(found, draws)
    beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return float(found.mean()), min(1.0, 2 * (beyond + 1) / (draws + 1))
