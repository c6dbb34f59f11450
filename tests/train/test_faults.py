"""Killed at any moment, or on a disk that fails, a run keeps what it had and ends with the same bits."""

import errno
import os
import random
import re
import signal
import time
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from onehop.errors import FileError, Stopped
from onehop.files import Run
from onehop.tasks import load_package, tensor_file
from onehop.train import train
from onehop.train.jobs import JOBS
from onehop.train.progress import load_progress
from onehop.train.recover import tidy
from tests.fixtures.killed import KINDS, OTHERS, Kills, inside, kind_of, moments, sitting
from tests.fixtures.tiny import number_pairs, write_pairs
from tests.train.test_resume import FIRST, Heard, Stop, assert_same_run, recipe

INSIDE_A_CHECKPOINT, INSIDE_THE_PACKAGE, BETWEEN_RENAMES = 1, 2, 3


def test_a_run_killed_inside_each_kind_of_writing_ends_as_one_that_was_not(tmp_path):
    wanted, kills, slow = kind_of(tmp_path, "average"), Kills(), 0.05
    train(wanted, tmp_path / "whole")
    out = Run(tmp_path / "parts")
    for moment in (
        inside(out.folder, ".model.", ".tmp", 1, slow),
        inside(out.checkpoints, ".", ".tmp", 2, slow),
        inside(out.folder, ".model.", ".old", 1, 0),
    ):
        if sitting(wanted, out.folder, moment, slow):
            kills.count(out)
    sitting(wanted, out.folder, lambda: False, 0)
    assert_same_run(tmp_path / "whole", out.folder)
    assert (kills.while_writing_the_package, kills.while_writing_a_checkpoint) >= (1, 1)
    assert not [path.name for path in (*out.folder.iterdir(), *out.checkpoints.iterdir()) if path.name.startswith(".")]


@pytest.mark.parametrize("name", OTHERS)
def test_a_run_of_each_other_task_killed_inside_a_checkpoint_ends_as_one_that_was_not(tmp_path, name):
    wanted, kills, out = kind_of(tmp_path, name), Kills(), Run(tmp_path / "parts")
    train(wanted, tmp_path / "whole")
    if sitting(wanted, out.folder, inside(out.checkpoints, ".", ".tmp", 2, 0.02)):
        kills.count(out)
    assert kills.all == 1
    sitting(wanted, out.folder, lambda: False, 0)
    assert_same_run(tmp_path / "whole", out.folder)


def test_a_run_of_every_task_is_killed(tmp_path):
    made = {kind_of(tmp_path, name).task for name in ("plain", "classify", *OTHERS)}
    assert made == set(JOBS)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_run_killed_at_random_moments_ends_as_one_that_was_not(tmp_path, name):
    draw, wanted = random.Random(f"{name}"), kind_of(tmp_path, name)
    began = time.monotonic()
    sitting(wanted, tmp_path / "whole", lambda: False)
    seconds = time.monotonic() - began
    for turn in range(2):
        out = tmp_path / f"parts{turn}"
        for moment in (0, INSIDE_A_CHECKPOINT, 0, INSIDE_THE_PACKAGE, BETWEEN_RENAMES):
            sitting(wanted, out, moments(Run(out), draw, seconds)[moment]())
        sitting(wanted, out, lambda: False)
        assert_same_run(tmp_path / "whole", out)


# ------------------------------------------------------------------------------------------------ what is left behind


def test_a_run_without_a_checkpoint_begins_its_log_again(pairs, tmp_path):
    train(recipe(pairs), tmp_path / "whole")
    with pytest.raises(Stopped):
        train(recipe(pairs), tmp_path / "parts", listener=Stop(3))
    for folder in Run(tmp_path / "parts").saved():  # as if it had been killed instead
        folder.rename(tmp_path / "gone")
    train(recipe(pairs), tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_package_that_had_been_moved_aside_is_put_back_and_what_was_half_written_removed(pairs, tmp_path):
    train(recipe(pairs), tmp_path / "run")
    run = Run(tmp_path / "run")
    run.model.rename(run.folder / ".model.4711.old")
    (run.folder / ".model.4711.tmp").mkdir()
    (run.folder / ".recipe.toml.4711.tmp").write_text("[da")
    (run.checkpoints / ".000009.4711.tmp").mkdir()
    tidy(run)
    assert load_package(run.folder).manifest
    assert not list(run.folder.rglob(".*"))


def test_a_run_killed_before_it_wrote_anything_whole_can_be_begun_and_resumed(pairs, tmp_path):
    for resume in (False, True):
        folder = tmp_path / f"run{resume}"
        folder.mkdir()
        (folder / ".recipe.toml.4711.tmp").write_text("[da")
        assert train(recipe(pairs), folder, resume=resume).progress.finished == "max_updates"


# ------------------------------------------------------------------------------------------------ disks


class Broken:
    """A file whose first write fails, after half of the data or before."""

    def __init__(self, stream: Any, number: int, how: str) -> None:
        self.stream, self.number, self.how = stream, number, how

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        self.stream.close()

    def write(self, data: Any) -> int:
        if self.how == "short":
            self.stream.write(memoryview(data)[: len(data) // 2])
        raise OSError(self.number, os.strerror(self.number))


def broken_disk(monkeypatch, place: str, number: int, good: int, how: str) -> None:
    """Make writing below some path fail after so many good calls: at once, after half of the data, or in fsync."""
    write, sync, calls = Path.write_bytes, os.fsync, 0

    def due(path: str) -> bool:
        nonlocal calls
        calls += place in path
        return place in path and calls > good

    def failing_write(self: Path, data: bytes) -> int:
        if how == "fsync" or not due(str(self)):
            return write(self, data)
        if how == "short":
            write(self, data[: len(data) // 2])
        raise OSError(number, os.strerror(number))

    def failing_open(path: Path, mode: str) -> Any:
        stream = FileIO(path, mode)
        return Broken(stream, number, how) if how != "fsync" and due(str(path)) else stream

    def failing_sync(handle: int) -> None:
        if how == "fsync" and due(os.readlink(f"/proc/self/fd/{handle}")):
            raise OSError(number, os.strerror(number))
        sync(handle)

    monkeypatch.setattr(Path, "write_bytes", failing_write)
    monkeypatch.setattr(tensor_file, "open", failing_open, raising=False)  # weights are written part by part
    monkeypatch.setattr(os, "fsync", failing_sync)


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory):
    """Return a recipe and a run of it on a good disk."""
    folder = tmp_path_factory.mktemp("disks")
    pairs = write_pairs(folder / "pairs.tsv", number_pairs(60))
    wanted = recipe(pairs, save_every=2, evaluate_every=1, best="loss", schedule="constant")
    train(wanted, folder / "whole")
    return wanted, folder / "whole"


FAILURES = [
    (errno.ENOSPC, "at once", "The disk is full"),
    (errno.ENOSPC, "short", "The disk is full"),
    (errno.EIO, "fsync", "system's log"),
]


@pytest.mark.parametrize(("number", "how", "remedy"), FAILURES)
@pytest.mark.parametrize(("place", "good"), [("/checkpoints/", 4), ("/.model.", 14)])
def test_a_disk_that_fails_ends_a_run_with_one_message_and_it_goes_on_from_the_last_checkpoint(
    unharmed, tmp_path, monkeypatch, place, good, number, remedy, how
):
    wanted, whole = unharmed
    run = Run(whole.with_name(tmp_path.name))
    broken_disk(monkeypatch, place, number, good, how)
    with pytest.raises(FileError) as caught:
        train(wanted, run.folder)
    monkeypatch.undo()
    last = int(run.saved()[-1].name)
    told = rf"{remedy}.* Update {last} is safe; then go on with: onehop train --out .*{run.folder.name} --resume"
    assert re.search(told, caught.value.remedy), caught.value
    assert load_package(run.folder).golden  # the package, too, is the one before
    train(wanted, run.folder, resume=True)
    assert_same_run(whole, run.folder)


def test_a_checkpoint_that_the_system_cannot_read_is_passed_over(pairs, tmp_path, monkeypatch):
    wanted, heard = recipe(pairs), Heard()
    train(wanted, tmp_path / "whole")
    train(wanted, tmp_path / "parts")
    last = Run(tmp_path / "parts").saved()[-1] / "weights.safetensors"
    last.unlink()
    last.symlink_to("/proc/self/mem")  # reading it is an EIO
    train(wanted, tmp_path / "parts", resume=True, listener=heard)
    assert any("Input/output error" in text and "moved to 000007.damaged" in text for text in heard.told)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_an_evaluation_is_due_neither_loses_nor_doubles_it(pairs, tmp_path, number):
    train(recipe(pairs), tmp_path / "whole")
    with pytest.raises(Stopped) as caught:
        train(recipe(pairs), tmp_path / "parts", listener=Stop(FIRST["evaluate_every"], number))
    assert caught.value.status == 128 + number
    assert load_progress(Run(tmp_path / "parts").saved()[-1]).due
    train(recipe(pairs), tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
