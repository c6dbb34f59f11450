"""A whole run: the for-loop around `loop`, with evaluation, checkpoints, limits and the package."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn

from onehop.data import Batch
from onehop.errors import ConfigError, OnehopError, TrainingError
from onehop.files import Run, os_errors, write_text
from onehop.nn.kernels import kernels
from onehop.tasks.manifest import read_manifest
from onehop.tasks.package import new_package, save_package
from onehop.train.averaging import Average, LastCheckpoints, MovingAverage, Newest, lent
from onehop.train.flops import flops_per_cell
from onehop.train.jobs import Found, Paged, Ready
from onehop.train.listener import Evaluation, Listener, Status
from onehop.train.loop import Update, loop
from onehop.train.memory import Memory, memory_errors, need
from onehop.train.optimizer import adamw
from onehop.train.progress import Progress, averaged, load_checkpoint, prune, save_checkpoint
from onehop.train.recipe import TrainConfig
from onehop.train.recompute import recompute
from onehop.train.record import truncations
from onehop.train.schedule import schedule
from onehop.train.stability import LOWER, Alarm
from onehop.train.tune import freeze, layer_scales
from onehop.train.tune_recipe import TuneConfig

EVALUATIONS = 10  # in a run, where the recipe does not say how many updates lie between two
GOLDEN = 8
NAMED = 5  # examples of a batch that are named to people; the log names all


class Fit:
    """One sitting of a run.

    Args:
        prepared: Data and model.
        run: The folder; its checkpoints are continued if there are any.
        listener: Hears how it goes.
        record: What the package shall say of the run.
        device: Where to train.
    """

    def __init__(
        self, prepared: Ready, run: Run, listener: Listener, record: Mapping[str, Any], device: str = "cpu"
    ) -> None:
        self.prepared, self.run, self.listener, self.device = prepared, run, listener, device
        self.record = record
        self.recipe, self.task = prepared.recipe, prepared.task
        self.model = self.task.model.to(device)
        self.validation = prepared.validator()
        train = self.recipe.train
        betas = (train.betas[0], train.betas[1])
        tune = train if isinstance(train, TuneConfig) else None
        if tune and (tune.frozen or tune.lora_rank):
            freeze(self.model)
        self.optimizer = adamw(
            self.model, weight_decay=train.weight_decay, betas=betas, epsilon=train.epsilon,
            scales=layer_scales(self.model, tune.layer_decay) if tune and tune.layer_decay else None,
        )  # fmt: skip
        self.schedule = schedule(
            train.schedule,
            rate=train.learning_rate or 1.0,
            warmup=train.warmup or 1,
            dim=self.recipe.model["dim"],
        )
        self.average = _average(train, self.model, run)
        if train.activation_checkpointing and not recompute(self.model):
            raise ConfigError("this family has no blocks", "Leave it out.", "train.activation_checkpointing")
        self._objective = prepared.objective(device)
        self._objective.check(self.model)
        continued = prepared.parent is not None and prepared.parent.task.task == self.task.task
        self.progress = Progress(due=continued)  # a model that is continued is the best so far
        self.stop_signal = 0  # a signal's number, set by a handler: save and leave
        self._began = 0.0
        self._rest = 0.0
        self._group: list[Batch] = []  # of the update that is being made
        self._cells = self._tokens = 0  # of both sides, since the last update
        self._flops = 0.0  # operations of a cell

    # -------------------------------------------------------------------------------------------- the loop

    def fit(self) -> Progress:
        """Train until a limit is reached; return how far it came."""
        self._resume()
        if torch.device(self.device).type == "cpu":
            kernels(self.listener.tell)
        limit = self.task.settings.text.max_length
        with memory_errors(self.progress.update + 1, lambda: None):
            needed = need(self.model, self._objective.measured, self.recipe.train, limit, self.prepared.sample_batch)
        if warning := needed.warning(Memory(torch.device(self.device)).free()):
            self.listener.tell(warning)
        self._began = time.monotonic() - self.progress.seconds
        batches = self._batches()
        train = self.recipe.train
        steps = loop(
            self.model, self._objective, batches, self.optimizer, self._rate,
            accumulate=train.accumulate, max_norm=train.max_norm,
        )  # fmt: skip
        with os_errors(self.run.log, "write"), self.run.open_log() as log:
            self._log = log
            if not self.progress.rows:
                self._write("truncation", truncations(self.prepared)["valid"])
                self._write_whole()
            if self.progress.due:
                self._evaluate()
            clock = Clock()
            while not self._over():
                with memory_errors(self.progress.update + 1, lambda: self._group[-1] if self._group else None):
                    update = next(steps)
                alarm = self._after(update, clock)
                self.progress.due = self._evaluation_due()
                if alarm and alarm.ends:
                    self._save()
                    raise self._ended(alarm)
                if self.stop_signal:
                    self._save()
                    return self.progress
                if self.progress.due:
                    self._evaluate()
                    clock.skip()
                if self.progress.update % train.save_every == 0:
                    self._save()
            if self.progress.evaluated != self.progress.update:
                self._evaluate()
            if not self._whole:
                self._write("truncation", truncations(self.prepared)["train"])
            self._save()
        if self.progress.best is None:
            raise TrainingError("no evaluation was finite, so there is no model", f"Begin anew, and {LOWER}.")
        if not self.progress.best_update and self.progress.update and len(self.validation):
            self.listener.tell(
                "no update made it better by validation: the model kept is the one that training began with"
            )
        if summary := self.prepared.batches.ledger.summary():
            self.listener.tell(summary if self._whole else f"{summary}, of {self.prepared.num_pairs} in all")
        return self.progress

    def _after(self, update: Update, clock: Clock) -> Alarm | None:
        """Count an update, and tell and log it; return what is wrong with it."""
        progress = self.progress
        progress.update += 1
        self.average.updated(progress.update)
        self._objective.updated()
        progress.targets += update.num_targets
        progress.position = self._position
        progress.seconds = time.monotonic() - self._began
        alarm = progress.stability.heard(update, self.recipe.train.non_finite)
        speed, cells = clock.tick(update.num_targets, self._cells)
        fraction = self._fraction()
        left = progress.seconds / fraction * (1 - fraction) if fraction else 0.0
        if alarm:
            text = f"update {progress.update}: {alarm.text}; its lines: "
            self._note(text + self._lines(NAMED), text + self._lines())
        if progress.update == 20 and left:
            self.listener.tell(f"about {left / 60:.1f} minutes to go")
        loss = progress.stability.loss or 0.0
        gflops, unit = self._flops * cells / 1e9, self.prepared.unit
        self.listener.updated(Status(progress.update, fraction, update, loss, speed, 1e9 * gflops, left, unit))
        padding = round(1 - self._tokens / self._cells, 4) if self._cells else 0.0
        self._cells = self._tokens = 0
        self._group.clear()
        speeds = {f"{unit}_per_second": round(speed), "gflops": round(gflops, 1)}
        row = {**asdict(update), "padding": padding, **speeds, "seconds": round(progress.seconds, 2)}
        self._write("update", row)
        if not self._whole:
            self._write_whole()
        return alarm

    def _lines(self, most: int | None = None) -> str:
        """Return where the examples of the present update stand, as the log calls files or, but the first, for people.

        Args:
            most: Examples to name; None for all, with paths relative to the run, for a record.
        """
        numbers = [number for batch in self._group for number in batch.pairs]
        places = [self.prepared.store.where(number).source for number in numbers[:most]]
        if most is None:
            files = {place.rsplit(":", 1)[0] for place in places}
            here = {file: os.path.relpath(os.path.realpath(file), os.path.realpath(self.run.folder)) for file in files}
            places = [f"{here[file]}:{line}" for file, line in (place.rsplit(":", 1) for place in places)]
        more = len(numbers) - len(places)
        return ", ".join(places) + (f" and {more} more, which the log names" if more else "")

    def _ended(self, alarm: Alarm) -> TrainingError:
        """Return the error that ends training."""
        remedy = (
            f"{LOWER.capitalize()}, and begin anew; --resume goes on without this update, from the checkpoint here."
        )
        return TrainingError(f"update {self.progress.update}: {alarm.text}", remedy, str(self.run.folder))

    def _batches(self) -> Iterator[Batch]:
        """Yield training batches from where the run stands; `_position` is that behind the last one."""
        source = self.prepared.batches
        for batch in source:
            self._position = source.position
            self._cells += batch.num_cells
            self._tokens += batch.num_tokens
            batch = batch.to(self.device)
            self._group.append(batch)
            self._flops = self._flops or flops_per_cell(self.model, self._objective.measured, batch)
            yield batch

    # -------------------------------------------------------------------------------------------- limits

    def _rate(self) -> float:
        return self.progress.stability.scale * self.schedule(self.progress.update + 1, self._fraction())

    def _fraction(self) -> float:
        """Return the share of the run that is over."""
        by_updates, by_minutes = _shares(self.recipe.train, self.progress)
        return min(1.0, max(by_updates, by_minutes))

    def _over(self) -> bool:
        self.progress.finished = limit_reached(self.recipe.train, self.progress)
        return bool(self.progress.finished)

    # -------------------------------------------------------------------------------------------- evaluation

    def _evaluation_due(self) -> bool:
        every = self.recipe.train.evaluate_every
        if every:
            return self.progress.update % every == 0
        if self.recipe.train.max_minutes and time.monotonic() < self._rest:
            return False
        part = int(self._fraction() * EVALUATIONS)
        due, self._part = part > self._part, part
        return due

    def _evaluate(self) -> None:
        """Measure validation, and write the package where it is the best so far."""
        progress, started = self.progress, time.monotonic()
        with lent(self.model, self.average.weights(progress.update)), memory_errors(progress.update, lambda: None):
            loss, found, best = self._judge()
        progress.due = False
        seconds = time.monotonic() - started
        measured = len(self.validation) > 0
        evaluation = Evaluation(progress.update, loss, found.figures, found.told, seconds, best, measured)
        progress.evaluated = progress.update
        progress.seconds = time.monotonic() - self._began
        self._rest = time.monotonic() + 4 * seconds  # where minutes are short, most of them are for training
        self.listener.evaluated(evaluation)
        row = {"update": progress.update, "loss": loss, **found.figures, "seconds": round(seconds, 2), "best": best}
        self._write("evaluation", row)
        if not isfinite(loss) and self.recipe.train.non_finite == "stop":
            self._save()
            raise self._ended(Alarm("the validation loss is not finite", ends=True))

    def _judge(self) -> tuple[float, Found, bool]:
        """Return loss and figures of the weights to be shipped, and whether they are the best; if so, ship them."""
        progress = self.progress
        loss = self.validation.loss()
        if not isfinite(loss):
            self._note(f"update {progress.update}: the validation loss is not finite; {LOWER}")
            progress.stale += 1
            return loss, self.validation.unknown, False
        found = self.validation.measure()
        chosen = self.recipe.train.best or "loss"
        figure = -loss if chosen == "loss" else found.figures[chosen]
        before = None if progress.best is None else (progress.best, -progress.best_loss)
        best = before is None or (figure, -loss) > before or not len(self.validation)
        if best:
            progress.best, progress.best_loss = figure, loss
            progress.best_update, progress.stale = progress.update, 0
            self._save_package(loss, found)
        else:
            progress.stale += 1
        return loss, found, best

    # -------------------------------------------------------------------------------------------- files

    def _save_package(self, loss: float, found: Found) -> None:
        texts = self.validation.texts(GOLDEN)
        card = self.prepared.card(self.progress, loss, found)
        if isinstance(self.validation, Paged) and len(self.validation):
            write_text(self.run.page, self.validation.page(found))
        record = {**self.record, "truncation": truncations(self.prepared)}
        save_package(new_package(self.task, texts, card, record), self.run.model)

    def _save(self) -> None:
        train = self.recipe.train
        if self.run.log.is_file():
            os.fsync(self._log.fileno())
        self.progress.truncation = [ledger.counts() for ledger in self.prepared.batches.ledgers]
        self.progress.objective = self._objective.state_dict()
        save_checkpoint(self.run, self.model, self.optimizer, self.progress, self.average.tensors())
        later = averaged(self.run, self.progress.update, train.save_every, train.average) if train.average > 1 else []
        prune(self.run, train.keep, later)

    def _resume(self) -> None:
        """Continue from the newest checkpoint, if there is one; the log forgets what came after it, or everything."""
        saved = self.run.saved()
        self._part, self._position = 0, self.progress.position
        if saved:
            self.progress = load_checkpoint(saved[-1], self.model, self.optimizer, self.average.load)
            self._objective.load_state_dict(self.progress.objective)
            self._part = int(self._fraction() * EVALUATIONS)
            self._position = self.progress.position
            self.listener.tell(f"resumed after update {self.progress.update:,}")
            self._keep_best()
        self.prepared.batches.seek(self.progress.position, self.progress.truncation)
        rows = _cut_log(self.run.log, self.progress.rows)
        if rows < self.progress.rows:
            self.listener.tell(f"warning: {self.run.log} has {rows:,} of {self.progress.rows:,} rows; the rest is lost")
        self.progress.rows = rows
        self._whole = self.progress.rows > 0 and self.prepared.batches.whole

    def _keep_best(self) -> None:
        """Forget what the best update reached if its package is gone, so that the next evaluation writes one."""
        if self.progress.best is not None:
            try:
                read_manifest(self.run.model, self.task.task)
            except OnehopError as error:
                self.listener.tell(f"warning: {error.where}: {error.problem}; the package is written anew")
                self.progress.best, self.progress.due = None, True

    def _write_whole(self) -> None:
        """Log what the length limit did to the training pairs, once all have been read."""
        self._whole = self.prepared.batches.whole
        if self._whole:
            self._write("truncation", truncations(self.prepared)["train"])

    def _note(self, text: str, logged: str = "") -> None:
        self.listener.tell(text)
        self._write("note", {"text": logged or text})

    def _write(self, kind: str, row: dict[str, Any]) -> None:
        row = {"kind": kind, "update": self.progress.update, **row}
        finite = {key: None if isinstance(item, float) and not isfinite(item) else item for key, item in row.items()}
        line = json.dumps(finite, ensure_ascii=False)
        self._log.write(line + "\n")
        self.progress.rows += 1

    _log: IO[str]
    _part: int
    _whole: bool  # whether the log says what the length limit did to the training pairs
    _position: Any


def _average(train: TrainConfig, model: nn.Module, run: Run) -> Average:
    if train.ema:
        return MovingAverage(model, train.ema)
    return LastCheckpoints(model, run, train.save_every, train.average) if train.average > 1 else Newest()


def limit_reached(train: TrainConfig, progress: Progress) -> str:
    """Return the key of the limit that ends the run here, or the empty string."""
    by_updates, by_minutes = _shares(train, progress)
    if by_updates >= 1:
        return "max_updates"
    if by_minutes >= 1:
        return "max_minutes"
    return "patience" if train.patience and progress.stale >= train.patience else ""


def _shares(train: TrainConfig, progress: Progress) -> tuple[float, float]:
    """Return which share of its updates and of its minutes a run has used; 0 without such a limit."""
    by_updates = progress.update / train.max_updates if train.max_updates else 0.0
    return by_updates, progress.seconds / 60 / train.max_minutes if train.max_minutes else 0.0


class Clock:
    """Speed over the last updates."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._speeds: list[float] = []

    def tick(self, *amounts: int) -> list[float]:
        """Count an update of so much of several things; return how much of each in a second, smoothed."""
        now = time.monotonic()
        speeds = [amount / max(now - self._last, 1e-9) for amount in amounts]
        smooth = zip(self._speeds or speeds, speeds, strict=True)
        self._speeds = [0.95 * before + 0.05 * speed for before, speed in smooth]
        self._last = now
        return self._speeds

    def skip(self) -> None:
        """Leave out the time since the last tick."""
        self._last = time.monotonic()


def _cut_log(path: Path, rows: int) -> int:
    """Keep so many rows, since what comes behind them is trained and written again; return how many there are."""
    if not path.is_file():
        return 0
    lines = path.read_text("utf-8", errors="replace").split("\n")[:-1][:rows]
    write_text(path, "".join(line + "\n" for line in lines))
    return len(lines)
