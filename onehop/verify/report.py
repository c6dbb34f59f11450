"""What the checks found."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Check:
    """What one check measured, and whether that is good enough.

    Args:
        name: Such as `batched = single`.
        unit: Of `measured`, in words.
        tolerance: The largest value that passes.
        measured: The largest that was found; None where there was nothing to check.
        differences: Outputs or files that are others where they must not be; any fails the check.
        near_ties: Outputs that are others because two choices were as good as equal, which is told and passes.
        detail: Where the first difference is, or why there was nothing to check.
        values: Further figures by name.
    """

    name: str
    unit: str
    tolerance: float
    measured: float | None = None
    differences: int = 0
    near_ties: int = 0
    detail: str = ""
    values: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def passed(self) -> bool | None:
        """Whether it holds; None where there was nothing to check. A value that is not a number fails."""
        if self.measured is None:
            return None
        return not self.differences and self.measured <= self.tolerance

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values; what is not a finite number becomes null, and has not passed."""
        finite = self.measured is not None and math.isfinite(self.measured)
        return {
            "name": self.name,
            "passed": self.passed,
            "measured": self.measured if finite else None,
            "unit": self.unit,
            "tolerance": self.tolerance,
            "differences": self.differences,
            "near_ties": self.near_ties,
            "detail": self.detail,
            "values": dict(self.values),
        }


@dataclass(frozen=True)
class Report:
    """What all checks found.

    Args:
        path: The package folder, if it was loaded from one.
        task: Of the model.
        precision: In which the weights are stored.
        data: Name of the lines, empty for the golden sources and the fixed ones.
        lines: How many there were.
        dropped: Further lines that were too long and left out.
        cut: Lines that were too long and shortened, as asked.
        checks: In the order in which they ran.
        seconds: That it took.
    """

    path: str
    task: str
    precision: str
    data: str
    lines: int
    dropped: int
    cut: int
    checks: tuple[Check, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.passed is not False for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values.

        Example:
            >>> Report("", "translation", "float32", "", 0, 0, 0, (), 0.0).to_dict()["passed"]
            True
        """
        return {
            "path": self.path,
            "task": self.task,
            "precision": self.precision,
            "passed": self.passed,
            "data": self.data or None,
            "lines": self.lines,
            "dropped": self.dropped,
            "cut": self.cut,
            "checks": [check.to_dict() for check in self.checks],
            "seconds": round(self.seconds, 2),
        }
