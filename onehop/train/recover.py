"""What a process that was killed, or a disk that failed, left in a run's folder, put in order before it goes on."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from onehop.errors import FileError, OnehopError
from onehop.files import Run, os_errors
from onehop.tasks.manifest import read_manifest
from onehop.train.progress import averaged, check_checkpoint
from onehop.train.recipe import TrainConfig

LEFTOVER = re.compile(r"\.(?P<name>.+)\.\d+\.(?P<kind>tmp|old)")  # what files.py writes beside a place


def leftover(path: Path) -> bool:
    """Whether a file or folder was being written, or being replaced, when its process ended.

    Example:
        >>> leftover(Path("run/.model.4711.tmp")), leftover(Path("run/model"))
        (True, False)
    """
    return LEFTOVER.fullmatch(path.name) is not None


def tidy(run: Run) -> None:
    """Remove what was being written; put back what had been moved aside for something that never came."""
    for folder in (run.folder, run.checkpoints):
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            found = LEFTOVER.fullmatch(path.name)
            if found is None:
                continue
            with os_errors(path, "remove"):
                if found["kind"] == "old" and not (place := path.with_name(found["name"])).exists():
                    path.rename(place)
                elif path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def last_good(run: Run, train: TrainConfig, tell: Callable[[str], None]) -> None:
    """Make the newest checkpoint that is whole the newest of all; those behind it are told, and moved aside.

    Where checkpoints are averaged, those that the next mean takes must be whole, too.

    Raises:
        FileError: There are checkpoints, and none of them is whole.
    """
    saved = run.saved()
    for place in range(len(saved) - 1, -1, -1):
        faults = [_fault(path) for path in {saved[place], *_with(run, saved[place], train)}]
        if not any(faults):
            break
    else:
        if saved:
            problem = f"no checkpoint can be used; the newest is {_fault(saved[-1]) or 'whole, but its average is not'}"
            raise FileError(problem, _instead(run), str(run.checkpoints))
        return
    for path in saved[place + 1 :]:
        aside = path.with_name(f"{path.name}.damaged")
        tell(f"warning: {path}: {_fault(path) or 'its average is damaged'}; moved to {aside.name}")
        with os_errors(path, "move aside"):
            if aside.exists():
                shutil.rmtree(aside)
            for older in set(run.checkpoints.glob("*.damaged")) - {aside}:
                shutil.rmtree(older)
            path.rename(aside)
    if place + 1 < len(saved):
        tell(f"the checkpoint before it is used: {saved[place]}")


def _instead(run: Run) -> str:
    """Return what is left to do where no checkpoint can be used."""
    try:
        read_manifest(run.model)
    except OnehopError:
        return "Begin anew with --overwrite."
    return f"The model of its best update is whole: continue it in a new run, with --init {run.model}."


def _with(run: Run, folder: Path, train: TrainConfig) -> list[Path]:
    return averaged(run, int(folder.name), train.save_every, train.average - 1) if train.average > 1 else []


def _fault(folder: Path) -> str:
    """Return what is wrong with a checkpoint, or the empty string."""
    try:
        check_checkpoint(folder)
    except FileError as error:
        return error.problem
    return ""
