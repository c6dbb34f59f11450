"""The batches that all systems train on: read by each process from one file, so that none tokenises for itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

WARM = 3  # steps that are not timed


def load(path: str) -> list[list[tuple[list[int], list[int]]]]:
    """Return batches of pairs of token lists; each ends with the end mark, 2."""
    return json.loads(Path(path).read_text())


def padded(rows: list[list[int]], pad: int) -> torch.Tensor:
    """Return rows as one tensor."""
    width = max(map(len, rows))
    return torch.tensor([row + [pad] * (width - len(row)) for row in rows])


def measure(batches: list[Any], steps: int, step: Callable[[Any], float], count: Callable[[Any], int]) -> None:
    """Train on `steps` batches, time all but the first, and print target tokens a second and the last losses."""
    losses: list[float] = []
    targets, began = 0, 0.0
    for number in range(WARM + steps):
        if number == WARM:
            began = time.perf_counter()
        batch = batches[number % len(batches)]
        losses.append(step(batch))
        targets += count(batch) if number >= WARM else 0
    seconds = time.perf_counter() - began
    print(json.dumps({"tokens_per_second": round(targets / seconds), "loss": round(sum(losses[-5:]) / 5, 4)}))
