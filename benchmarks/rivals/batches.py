"""The batches that all systems train on: read by each process from one file, so that none tokenises for itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch

WARM = 3  # steps that are not timed


def load(path: str) -> Any:
    """Return batches of pairs of token lists, each ending with the end mark, 2; or what else the file holds."""
    return json.loads(Path(path).read_text())


def padded(rows: list[list[int]], pad: int) -> torch.Tensor:
    """Return rows as one tensor."""
    width = max(map(len, rows))
    return torch.tensor([row + [pad] * (width - len(row)) for row in rows])


def measure(batches: Iterable[Any], steps: int, step: Callable[[Any], float], count: Callable[[Any], int]) -> None:
    """Train on `steps` batches, after a few to warm up, and print target tokens a second and the last losses."""
    losses: list[float] = []
    targets, began = 0, 0.0
    for number, batch in enumerate(islice(cycle(batches), WARM + steps)):
        if number == WARM:
            began = time.perf_counter()
        losses.append(step(batch))
        targets += count(batch) if number >= WARM else 0
    report(targets, time.perf_counter() - began, loss=round(sum(losses[-5:]) / 5, 4))


def report(tokens: int, seconds: float, **more: float) -> None:
    """Print what was measured."""
    print(json.dumps({"tokens_per_second": round(tokens / seconds), **more}))
