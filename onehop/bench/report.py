"""What was measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """A system at one kind of work.

    Args:
        work: `bulk` or `single`.
        system: Its name.
        speed: Median of the rounds, in units of the report for each second.
        least: Of the rounds.
        most: Of the rounds.
        cpu_speed: The same for each second of processor time.
        p50_ms: Median latency, of `single`; else None.
        p95_ms: Latency that one in twenty exceeds, of `single`; else None.
        equal: Share of the outputs that are those of the reference path; of vectors the least cosine with them.
        peak_mb: Most memory its process held; None where the system does not tell.
        load_seconds: That it took to load the model, conversion included.
    """

    work: str
    system: str
    speed: float
    least: float
    most: float
    cpu_speed: float
    p50_ms: float | None
    p95_ms: float | None
    equal: float
    peak_mb: float | None
    load_seconds: float


@dataclass(frozen=True)
class Report:
    """All of it.

    Args:
        path: The model.
        task: Its task.
        unit: What speeds count: `tokens` or `texts`.
        lines: Number of inputs of `bulk`.
        threads: For products.
        rounds: Turns.
        beam: Of translations; else None.
        batch: Inputs of a batch of `bulk`.
        rows: Of each system and work.
        missing: Systems that did not take part, and why.
    """

    path: str
    task: str
    unit: str
    lines: int
    threads: int
    rounds: int
    beam: int | None
    batch: int
    rows: tuple[Row, ...]
    missing: dict[str, str]

    def ratios(self) -> dict[str, float]:
        """Return by work how many times as fast Onehop's best is as the best other system, where there is one."""
        found: dict[str, float] = {}
        for work in dict.fromkeys(row.work for row in self.rows):
            rows = [row for row in self.rows if row.work == work and row.system != "onehop reference"]
            ours = [row.speed for row in rows if row.system.startswith("onehop ")]
            others = [row.speed for row in rows if not row.system.startswith("onehop ")]
            if ours and others:
                found[work] = max(ours) / max(others)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows], "ratios": self.ratios()}


def row(work: str, system: str, answers: Sequence[dict[str, Any]], count: int, equal: float, load: float) -> Row:
    """Return the row of a system's answers, each of so many units."""
    speeds = sorted(count / answer["wall"] for answer in answers)
    each = sorted(1e3 * second for answer in answers for second in answer["each"])
    single = work == "single"
    return Row(
        work, system, statistics.median(speeds), speeds[0], speeds[-1],
        statistics.median(count / max(answer["cpu"], 1e-9) for answer in answers),
        statistics.median(each) if single else None, each[int(0.95 * len(each))] if single else None,
        equal, answers[-1]["peak"], load,
    )  # fmt: skip
