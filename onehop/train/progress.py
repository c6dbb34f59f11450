"""Everything a resumed run needs besides weights and optimizer, and the checkpoints that hold all three.

`progress.json` carries the SHA-256 of the two files beside it, and its own, so a checkpoint that was cut short or
changed is known for one before anything of it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from onehop.data import Position
from onehop.errors import FileError
from onehop.files import Run, file_error, new_folder, to_json
from onehop.tasks.tensor_file import write_tensors
from onehop.text import Counts
from onehop.train.adamw import Optimizer
from onehop.train.optimizer import load_optimizer_tensors, optimizer_tensors
from onehop.train.stability import Stability


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
        evaluated: After which update the last evaluation was; -1 before the first.
        rows: Lines of the log so far; what a resumed run finds behind them is written again.
        truncation: For each file of the training data, the figures of its ledger so far; empty before the first batch.
        stability: How steady training was.
        objective: What the loss remembers.
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
    evaluated: int = -1
    rows: int = 0
    truncation: list[Counts] = field(default_factory=list[Counts])
    stability: Stability = field(default_factory=Stability)
    objective: dict[str, float] = field(default_factory=dict[str, float])
    finished: str = ""


WEIGHTS, OPTIMIZER, PROGRESS = "weights.safetensors", "optimizer.safetensors", "progress.json"
AVERAGE = "average/"


def save_checkpoint(
    run: Run,
    model: nn.Module,
    optimizer: Optimizer,
    progress: Progress,
    average: Mapping[str, Tensor],
) -> None:
    """Write a checkpoint beside its place and rename it there; weights that are held are those the run began with."""
    beside = {AVERAGE + name: tensor for name, tensor in average.items()}
    tensors = {
        WEIGHTS: {name: p.detach() for name, p in model.named_parameters() if p.requires_grad},
        OPTIMIZER: {**optimizer_tensors(model, optimizer), **beside, **_random_state()},
    }
    with new_folder(run.checkpoints / f"{progress.update:06d}") as new:
        files = {name: write_tensors(new / name, held) for name, held in tensors.items()}
        body = {**asdict(progress), "files": files}
        (new / PROGRESS).write_text(to_json({**body, "sha256": _own(body)}))


def prune(run: Run, keep: int, needed: Collection[Path] = ()) -> None:
    """Remove checkpoints beyond the newest `keep`, but for those that are needed; none is ever seen half removed."""
    for old in run.saved()[:-keep]:
        if old not in needed:
            aside = old.with_name(f".{old.name}.{os.getpid()}.old")
            with suppress(OSError):
                os.replace(old, aside)
            shutil.rmtree(aside, ignore_errors=True)


def averaged(run: Run, update: int, every: int, count: int) -> list[Path]:
    """Return the newest `count` checkpoints up to an update, of those that lie `every` updates apart."""
    found = [path for path in run.saved() if int(path.name) % every == 0 and int(path.name) <= update]
    return found[max(0, len(found) - count) :]


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: Optimizer, average: Callable[[Mapping[str, Tensor]], None]
) -> Progress:
    """Put a checkpoint back: weights, optimizer, average, random generators; return its progress."""
    progress = load_progress(folder)
    with damage(folder):
        weights, rest = load_file(folder / WEIGHTS), load_file(folder / OPTIMIZER)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(weights[name])
        torch.set_rng_state(rest.pop("random/cpu"))
        if "random/cuda" in rest:
            torch.cuda.set_rng_state(rest.pop("random/cuda"))
        load_optimizer_tensors(model, optimizer, rest)
        average({name.removeprefix(AVERAGE): tensor for name, tensor in rest.items() if name.startswith(AVERAGE)})
    return progress


def load_progress(folder: Path) -> Progress:
    """Return how far the run was at a checkpoint."""
    body = _body(folder)
    with damage(folder):
        del body["files"]
        position, stability = Position(**body.pop("position")), Stability(**body.pop("stability"))
        return Progress(**body, position=position, stability=stability)


def check_checkpoint(folder: Path) -> None:
    """Read a whole checkpoint and compare every hash.

    Raises:
        FileError: It cannot be read, or is not what was written.
    """
    files = _body(folder)["files"]
    with damage(folder):
        changed = [name for name in (WEIGHTS, OPTIMIZER) if _digest(folder / name) != files[name]]
        if changed:
            raise ValueError(f"{', '.join(changed)} changed since it was written")


def _body(folder: Path) -> dict[str, Any]:
    """Return what `progress.json` holds, less its own hash."""
    with damage(folder):
        text = (folder / PROGRESS).read_text()
        body: dict[str, Any] = json.loads(text)
        if to_json(body) != text or body.pop("sha256") != _own(body):
            raise ValueError(f"{PROGRESS} changed since it was written")
        return body


def _digest(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _own(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(to_json(body).encode()).hexdigest()


@contextmanager
def damage(folder: Path) -> Generator[None]:
    """Turn what a damaged file brings up into one error."""
    faults = SafetensorError, FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RuntimeError
    try:
        yield
    except faults as error:
        raise FileError(f"a damaged checkpoint: {error}", DAMAGED, str(folder)) from error
    except OSError as error:
        raise file_error(error, folder, "read") from error


DAMAGED = "Remove it, to resume from the one before."


def _random_state() -> dict[str, Tensor]:
    state = {"random/cpu": torch.get_rng_state()}
    return {**state, "random/cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else state
