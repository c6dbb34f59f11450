"""What a check hands back, and what becomes of it beside its thresholds."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onehop.lab.thresholds import Threshold

COMPARES = {"==": operator.eq, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


@dataclass(frozen=True)
class Figure:
    """Curves to draw: each name has points `(x, y)`.

    Args:
        title: What is seen.
        x: Name of the axis.
        y: Name of the other.
        curves: Points by the name of their curve, in order.
        log_x: Whether x is on a logarithmic scale.
        log_y: Whether y is.
    """

    title: str
    x: str
    y: str
    curves: Mapping[str, Sequence[tuple[float, float]]]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Grid:
    """A table to print: a title, a head, and rows of cells."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Measured:
    """What a check found.

    Args:
        values: Measured, by the names of their thresholds.
        grids: Tables worth reading beside them.
        figures: Curves worth seeing.

    Example:
        >>> Measured({"sums": 0.0}).values
        {'sums': 0.0}
    """

    values: Mapping[str, float]
    grids: tuple[Grid, ...] = ()
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class Finding:
    """A measured value beside its threshold; not a number where the check could not measure it."""

    name: str
    measured: float
    threshold: Threshold

    @property
    def passed(self) -> bool:
        """Whether the value compares as it must; what is not a number does not."""
        return not math.isnan(self.measured) and COMPARES[self.threshold.compare](self.measured, self.threshold.value)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values; a value that is not finite is null."""
        return {
            "name": self.name,
            "what": self.threshold.what,
            "measured": self.measured if math.isfinite(self.measured) else None,
            "compare": self.threshold.compare,
            "threshold": self.threshold.value,
            "passed": self.passed,
            "reference": self.threshold.reference,
            "why": self.threshold.why,
        }


@dataclass(frozen=True)
class Result:
    """What a check of one row came to.

    Args:
        row: Such as `R-01`.
        tier: `T0` or `T1`.
        findings: One for each threshold, in the order of their file.
        seconds: That it took.
        error: What it ended with, where it did not come to its end.
        grids: Its tables.
        figures: Its curves.
    """

    row: str
    tier: str
    findings: tuple[Finding, ...]
    seconds: float
    error: str = ""
    grids: tuple[Grid, ...] = ()
    figures: tuple[Figure, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every value is as it must be."""
        return not self.error and all(finding.passed for finding in self.findings)
