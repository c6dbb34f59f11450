"""Everything a resumed run needs besides weights and optimizer, and the checkpoints that hold all three."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from onehop.data import Position
from onehop.errors import FileError
from onehop.files import Run, file_error, new_folder, to_json
from onehop.train.optimizer import load_optimizer_tensors, optimizer_tensors


@dataclass
class Progress:
    """How far a run is.

    Args:
        update: Updates done.
        seconds: Of training, evaluations included, over all sittings.
        targets: Target tokens learned from.
        position: Of the next batch.
        best: The best validation figure so far; None before the first.
        best_loss: The validation loss beside it, which decides between equals; nats a token.
        best_update: When it was reached.
        stale: Evaluations since then.
        due: Whether an evaluation was due when a signal ended the sitting; it comes first in the next.
        finished: Why the run ended; empty while it has not.
    """

    update: int = 0
    seconds: float = 0.0
    targets: int = 0
    position: Position = field(default_factory=lambda: Position(0, 0, 0))
    best: float | None = None
    best_loss: float = 0.0
    best_update: int = 0
    stale: int = 0
    due: bool = False
    finished: str = ""


WEIGHTS, OPTIMIZER, PROGRESS = "weights.safetensors", "optimizer.safetensors", "progress.json"
AVERAGE = "average/"


def save_checkpoint(
    run: Run,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    keep: int,
    average: Mapping[str, Tensor],
) -> None:
    """Write a checkpoint beside its place, rename it there, and drop those beyond the newest `keep`."""
    beside = {AVERAGE + name: tensor for name, tensor in average.items()}
    with new_folder(run.checkpoints / f"{progress.update:06d}") as new:
        # not `save_file`, whose errors are no OSError and do not tell a full disk
        (new / WEIGHTS).write_bytes(save({name: p.detach().contiguous() for name, p in model.named_parameters()}))
        (new / OPTIMIZER).write_bytes(save({**optimizer_tensors(model, optimizer), **beside, **_random_state()}))
        (new / PROGRESS).write_text(to_json(asdict(progress)))
    for old in run.saved()[:-keep]:
        shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: Callable[[Mapping[str, Tensor]], None]
) -> Progress:
    """Put a checkpoint back: weights, optimizer, average, random generators; return its progress."""
    progress = load_progress(folder)
    with _damage(folder):
        weights, rest = load_file(folder / WEIGHTS), load_file(folder / OPTIMIZER)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(weights[name])
        torch.set_rng_state(rest.pop("random/cpu"))
        if "random/cuda" in rest:
            torch.cuda.set_rng_state(rest.pop("random/cuda"))
        load_optimizer_tensors(model, optimizer, rest)
        average({name.removeprefix(AVERAGE): tensor for name, tensor in rest.items() if name.startswith(AVERAGE)})
    return progress


def load_progress(folder: Path) -> Progress:
    """Return how far the run was at a checkpoint."""
    with _damage(folder):
        stored: dict[str, Any] = json.loads((folder / PROGRESS).read_text())
        position = Position(**stored.pop("position"))
        return Progress(**stored, position=position)


@contextmanager
def _damage(folder: Path) -> Generator[None]:
    """Turn what a damaged file brings up into one error."""
    damage = SafetensorError, FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RuntimeError
    try:
        yield
    except damage as error:
        raise FileError(
            f"a damaged checkpoint: {error}", "Remove it, to resume from the one before.", str(folder)
        ) from error
    except OSError as error:
        raise file_error(error, folder, "read") from error


def _random_state() -> dict[str, Tensor]:
    state = {"random/cpu": torch.get_rng_state()}
    return {**state, "random/cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else state
