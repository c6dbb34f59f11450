"""Learning-rate schedules: from the number of the update, from 1, to a rate.

`fraction` is the share of the run that is over, from 0 to 1, by updates or by minutes, whichever is further.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from onehop.errors import ConfigError

Schedule = Callable[[int, float], float]


def noam(dim: int, warmup: int, factor: float = 1.0) -> Schedule:
    """Return `factor * dim^-0.5 * min(step^-0.5, step * warmup^-1.5)` (Vaswani 2017, equation 3).

    Example:
        >>> round(noam(512, 4000)(4000, 0.0), 10)
        0.0006987712
    """

    def rate(step: int, fraction: float) -> float:
        return factor * dim**-0.5 * min(step**-0.5, step * warmup**-1.5)

    return rate


def inverse_sqrt(peak: float, warmup: int) -> Schedule:
    """Rise linearly to `peak` at `warmup` updates, then fall with the square root of the step."""

    def rate(step: int, fraction: float) -> float:
        return peak * min(step / warmup, (warmup / step) ** 0.5)

    return rate


def cosine(peak: float, warmup: int) -> Schedule:
    """Rise linearly to `peak` at `warmup` updates and fall as a cosine to 0 at the end (Loshchilov 2017)."""

    def rate(step: int, fraction: float) -> float:
        return peak * min(step / warmup, 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0))))

    return rate


def linear(peak: float, warmup: int) -> Schedule:
    """Rise linearly to `peak` at `warmup` updates and fall linearly to 0 at the end (Devlin 2019)."""

    def rate(step: int, fraction: float) -> float:
        return peak * min(step / warmup, max(0.0, 1 - fraction))

    return rate


def constant(peak: float, warmup: int) -> Schedule:
    """Rise linearly to `peak` at `warmup` updates and stay there."""

    def rate(step: int, fraction: float) -> float:
        return peak * min(step / warmup, 1.0)

    return rate


SCHEDULES = ("noam", "inverse_sqrt", "cosine", "linear", "constant")


def schedule(name: str, *, rate: float, warmup: int, dim: int) -> Schedule:
    """Return the schedule of that name; for `noam`, `rate` is the factor and `dim` the model's width.

    Example:
        >>> rate = schedule("cosine", rate=0.003, warmup=100, dim=512)
        >>> rate(50, 0.01), rate(1_000, 0.5), rate(2_000, 1.0)
        (0.0015, 0.0015, 0.0)
    """
    if name == "noam":
        return noam(dim, warmup, rate)
    makers = {"inverse_sqrt": inverse_sqrt, "cosine": cosine, "linear": linear, "constant": constant}
    if name not in makers:
        raise ConfigError(f"unknown schedule {name!r}", f"Use one of {', '.join(SCHEDULES)}.", "train.schedule")
    return makers[name](rate, warmup)
