"""A run as a folder: begin, resume or redo it."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from onehop.errors import DataError, FileError, Stopped
from onehop.files import Run, free_aside, os_errors, to_json, write_text
from onehop.tasks.names import MANIFEST
from onehop.train.fit import Fit
from onehop.train.jobs import job
from onehop.train.listener import Listener, Silent
from onehop.train.parent import Parent, parent_of
from onehop.train.progress import Progress
from onehop.train.recipe import AnyRecipe, load_recipe, relative_to, to_toml
from onehop.train.record import data_hashes, package_record, run_record
from onehop.train.recover import last_good, leftover, tidy
from onehop.train.resume import continued, finished, read_record, resumed, same_recipe, whole_package
from onehop.train.tensorboard import boards, needs_tensorboard

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None


@dataclass(frozen=True)
class Trained:
    """How a run ended.

    Args:
        model: The package folder.
        progress: How far it came.
        num_pairs: Training pairs.
    """

    model: Path
    progress: Progress
    num_pairs: int


def train(
    recipe: str | Path | AnyRecipe,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
    device: str = "cpu",
) -> Trained:
    """Train what a recipe describes into a run folder; its package is `out/model`.

    Args:
        recipe: A file or its content.
        out: The run. It must be empty or new, unless one of the next two says otherwise.
        resume: Continue from the newest checkpoint; begin where there is none.
        overwrite: Move what is there aside, to `out.1`, and begin anew.
        listener: Hears how it goes.
        device: As torch names it.

    Raises:
        OnehopError: Data, recipe or folder cannot be used.
        Stopped: SIGINT, SIGTERM or SIGHUP came; a checkpoint was written.

    Example:
        >>> trained = onehop.train("recipe.toml", "runs/second")
        >>> onehop.load("runs/second").translate(["Hello."])[0].text != ""
        True
    """
    given: AnyRecipe = load_recipe(recipe) if isinstance(recipe, str | Path) else recipe
    return _train(given, Run(out), resume, overwrite, listener or Silent(), device)


def _train(recipe: AnyRecipe, run: Run, resume: bool, overwrite: bool, listener: Listener, device: str) -> Trained:
    _refuse(run, resume, overwrite)
    if resume and run.folder.is_dir():
        with _alone(run):
            tidy(run)
            last_good(run, recipe.train, listener.tell)
        if run.saved() and not run.record.is_file():
            raise FileError("missing: nothing tells what this run was", "Put it back, or begin anew.", str(run.record))
    before = read_record(run) if resume and run.record.is_file() else None
    _refuse_data(recipe, run, overwrite)
    given = recipe
    if before:
        same_recipe(recipe, before, run)
        if progress := finished(recipe, run):
            whole_package(run)
            return Trained(run.model, progress, before["pairs"])
        recipe = resumed(recipe, before, run)
    if recipe.train.tensorboard:
        needs_tensorboard()
    recipe, parent = _continued(recipe, run, before)
    with _folder(run, overwrite):
        prepared = job(recipe.task).prepare(recipe, run.folder, listener.tell, device, parent)
    if parent:
        parent.let_go(prepared.task)
    with _alone(run), boards(recipe, run, listener) as heard:
        hashes = data_hashes(prepared.recipe)
        entry = run_record(given, prepared, run, hashes)
        if before:
            continued(entry, before, run, listener.tell)
        write_text(run.recipe, to_toml(relative_to(prepared.recipe, run.folder)))
        write_text(run.record, to_json(entry))
        progress = _fit(Fit(prepared, run, heard, package_record(prepared, run, hashes), device))
    return Trained(run.model, progress, prepared.num_pairs)


def _continued(recipe: AnyRecipe, run: Run, before: dict[str, Any] | None) -> tuple[AnyRecipe, Parent | None]:
    """Return the recipe with what it inherits, and the model that it continues, if it does."""
    parent = parent_of(recipe, run, before)
    return (job(recipe.task).inherit(recipe, parent), parent) if parent else (recipe, None)


def _fit(fit: Fit) -> Progress:
    """Train; a signal that ended it is raised, and a disk that failed says how to go on."""
    command = f"onehop train --out {fit.run.folder} --resume"
    try:
        with signals(fit):
            progress = fit.fit()
    except FileError as error:
        saved = fit.run.saved()
        kept = f"Update {int(saved[-1].name):,} is safe; then go on" if saved else "Then begin again"
        raise FileError(error.problem, f"{error.remedy} {kept} with: {command}".lstrip(), error.where) from error
    finally:
        fit.prepared.batches.close()
    if fit.stop_signal:
        raise Stopped(fit.stop_signal, f"Go on with: {command}")
    return progress


def _refuse_data(recipe: AnyRecipe, run: Run, overwrite: bool) -> None:
    """Refuse files that cannot be read twice, or that would be moved aside with the old run."""
    files = [Path(file) for name in recipe.data.FILES for file in getattr(recipe.data, name)]
    for file in [*files, *([Path(recipe.train.init, MANIFEST)] if recipe.train.init else [])]:
        if file.exists() and not file.is_file() and not file.is_dir():
            raise DataError("a pipe or device, which can be read but once", "Save it to a file first.", str(file))
        if overwrite and run.folder.resolve() in file.resolve().parents:
            raise FileError("lies in the folder that --overwrite moves aside", "Move it elsewhere.", str(file))


@contextmanager
def _alone(run: Run) -> Generator[None]:
    """Hold the folder against a second run; the system lets go of it however this one ends."""
    if fcntl is None:
        yield
        return
    handle = os.open(run.folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FileError("in use by another run", "Wait for it, or name another folder.", str(run.folder)) from error
    else:
        yield
    finally:
        os.close(handle)


def _refuse(run: Run, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that holds something else than what is wanted."""
    if run.folder.is_file():
        raise FileError("is a file", "Name a folder for the run.", str(run.folder))
    if overwrite or not run.folder.is_dir() or all(leftover(path) for path in run.folder.iterdir()):
        return
    if not resume:
        raise FileError(
            "is not empty", "Use --resume to continue it, or --overwrite to move it aside.", str(run.folder)
        )
    if not run.recipe.is_file():
        raise FileError("is not empty, and no run of Onehop", "Name another folder.", str(run.folder))


@contextmanager
def _folder(run: Run, overwrite: bool) -> Generator[None]:
    """Make the folder, and move what was there aside once the block has shown that the run can begin."""
    fresh = not run.folder.exists()
    with os_errors(run.folder, "make the folder"):
        run.folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if fresh:
            run.folder.rmdir()
        raise
    if overwrite and any(run.folder.iterdir()):
        with os_errors(run.folder, "move aside"):
            run.folder.rename(free_aside(run.folder))
            run.folder.mkdir()


@contextmanager
def signals(fit: Fit) -> Generator[None]:
    """Let the first SIGINT, SIGTERM or SIGHUP end the run after the present update; a second one ends it at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        fit.stop_signal = number
        for each, handler in before.items():
            signal.signal(each, handler)

    before: dict[int, Any] = {}
    try:
        for number in filter(None, (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", None))):
            before[number] = signal.signal(number, stop)
    except ValueError:  # not in the main thread: whoever runs threads stops them
        pass
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
