"""Running checks: each from a seed of its own, its values beside their thresholds."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from onehop.lab.measured import Finding, Measured, Result
from onehop.lab.rows import ROWS, choose, load_check
from onehop.lab.thresholds import Threshold, thresholds


@dataclass(frozen=True)
class Report:
    """What all checks of a run came to.

    Args:
        results: In the order in which they ran.
        seconds: That they took.
    """

    results: tuple[Result, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(result.passed for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values.

        Example:
            >>> Report((), 0.0).to_dict()["passed"]
            True
        """
        from onehop.tasks.package import versions

        return {
            "passed": self.passed,
            "checks": [_result(result) for result in self.results],
            "not_built": {name: row.missing for name, row in ROWS.items() if not row.checks},
            "seconds": round(self.seconds, 2),
            "versions": versions(),
        }


def _result(result: Result) -> dict[str, Any]:
    row = ROWS[result.row]
    return {
        "id": result.row,
        "tier": result.tier,
        "title": row.title,
        "source": row.source,
        "passed": result.passed,
        "findings": [finding.to_dict() for finding in result.findings],
        "error": result.error or None,
        "missing": row.missing or None,
        "seconds": round(result.seconds, 2),
    }


def run(rows: Sequence[str] = (), tier: str | None = None) -> Report:
    """Run the checks of some rows, or of a whole tier.

    Args:
        rows: Identifiers; none for all of the tier.
        tier: `T0` or `T1`; None for T0.

    Raises:
        ConfigError: A row or tier that is not known, or not built.

    Example:
        >>> report = run(["T-07"])
        >>> report.passed, report.results[0].findings[2].name
        (True, 'pointers')
    """
    began = time.monotonic()
    results = tuple(each(rows, tier))
    return Report(results, time.monotonic() - began)


def each(rows: Sequence[str], tier: str | None) -> Iterator[Result]:
    """Run the same one after the other, and yield what each came to as soon as it is known."""
    for row, wanted in choose(rows, tier):
        yield check(row, wanted)


def check(row: str, tier: str) -> Result:
    """Run one check; the numbers it draws are the same every time, and the caller's are left alone.

    Example:
        >>> [finding.passed for finding in check("L-04", "T0").findings]
        [True]
    """
    limits, began = thresholds()[tier, row], time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(f"{tier}.{row}".encode()))
        try:
            measured, error = load_check(row, tier)(), ""
        except Exception as fault:  # a mechanism that cannot even be measured has failed its check
            measured, error = Measured({}), f"{type(fault).__name__}: {fault}"
    findings = _beside(measured, limits, error)
    return Result(row, tier, findings, time.monotonic() - began, error, measured.grids, measured.figures)


def _beside(measured: Measured, limits: Mapping[str, Threshold], error: str) -> tuple[Finding, ...]:
    """Put each value beside its threshold; none may be without."""
    if not error and measured.values.keys() != limits.keys():
        apart = ", ".join(sorted(measured.values.keys() ^ limits.keys()))
        raise LookupError(f"values and thresholds do not belong together: {apart}")
    return tuple(Finding(name, float(measured.values.get(name, math.nan)), limit) for name, limit in limits.items())
