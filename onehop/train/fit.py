"""A whole run: the for-loop around `loop`, with evaluation, checkpoints, limits and the package."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn

from onehop.data import Batch
from onehop.errors import ConfigError
from onehop.files import Run, os_errors, write_text
from onehop.tasks.package import new_package, save_package
from onehop.tasks.translation import loss_sum
from onehop.train.averaging import Average, LastCheckpoints, MovingAverage, Newest, lent
from onehop.train.card import model_card
from onehop.train.flops import flops_per_cell
from onehop.train.listener import Evaluation, Listener, Status
from onehop.train.loop import Update, loop
from onehop.train.optimizer import adamw
from onehop.train.prepare import Prepared
from onehop.train.progress import Progress, load_checkpoint, save_checkpoint
from onehop.train.recipe import TrainConfig
from onehop.train.recompute import recompute
from onehop.train.schedule import schedule
from onehop.train.validation import Validation

EVALUATIONS = 10  # in a run, where the recipe does not say how many updates lie between two
GOLDEN = 8


class Fit:
    """One sitting of a run.

    Args:
        prepared: Data and model.
        run: The folder; its checkpoints are continued if there are any.
        listener: Hears how it goes.
        device: Where to train.
    """

    def __init__(self, prepared: Prepared, run: Run, listener: Listener, device: str = "cpu") -> None:
        self.prepared, self.run, self.listener, self.device = prepared, run, listener, device
        self.recipe, self.translator = prepared.recipe, prepared.translator
        self.model = self.translator.model.to(device)
        self.validation = Validation(self.translator, prepared.validation, self.recipe)
        train = self.recipe.train
        betas = (train.betas[0], train.betas[1])
        self.optimizer = adamw(self.model, weight_decay=train.weight_decay, betas=betas, epsilon=train.epsilon)
        self.schedule = schedule(
            train.schedule,
            rate=train.learning_rate or 1.0,
            warmup=train.warmup or 1,
            dim=self.recipe.model["dim"],
        )
        self.average = _average(train, self.model, run)
        if train.activation_checkpointing and not recompute(self.model):
            raise ConfigError("this family has no blocks", "Leave it out.", "train.activation_checkpointing")
        self.progress = Progress(due=prepared.parent is not None)  # a model that is continued is the best so far
        self.stop_signal = 0  # a signal's number, set by a handler: save and leave
        self._began = 0.0
        self._loss = 0.0
        self._evaluated = -1
        self._rest = 0.0
        self._cells = self._tokens = 0  # of both sides, since the last update
        self._flops = 0.0  # operations of a cell

    # -------------------------------------------------------------------------------------------- the loop

    def fit(self) -> Progress:
        """Train until a limit is reached; return how far it came."""
        self._resume()
        self._began = time.monotonic() - self.progress.seconds
        batches = self._batches()
        train = self.recipe.train
        steps = loop(
            self.model, self._loss_sum, batches, self.optimizer, self._rate,
            accumulate=train.accumulate, max_norm=train.max_norm,
        )  # fmt: skip
        with os_errors(self.run.log, "write"), self.run.open_log() as log:
            self._log = log
            if self.progress.due:
                self._evaluate()
            clock = Clock()
            while not self._over():
                update = next(steps)
                self._after(update, clock)
                self.progress.due = self._evaluation_due()
                if self.stop_signal:
                    self._save()
                    return self.progress
                if self.progress.due:
                    self._evaluate()
                    clock.skip()
                if self.progress.update % train.save_every == 0:
                    self._save()
            if self._evaluated != self.progress.update:
                self._evaluate()
            self._save()
        if summary := self.prepared.batches.ledger.summary():
            self.listener.tell(summary)
        return self.progress

    def _after(self, update: Update, clock: Clock) -> None:
        """Count an update, and tell and log it."""
        progress = self.progress
        progress.update += 1
        self.average.updated(progress.update)
        progress.targets += update.num_targets
        progress.position = self._position
        progress.seconds = time.monotonic() - self._began
        if not update.skipped:
            self._loss = 0.95 * self._loss + 0.05 * update.loss if self._loss else update.loss
        speed, cells = clock.tick(update.num_targets, self._cells)
        fraction = self._fraction()
        left = progress.seconds / fraction * (1 - fraction) if fraction else 0.0
        if update.skipped:
            self._note(f"update {progress.update}: the gradient is not finite; skipped")
        if progress.update == 20 and left:
            self._note(f"about {left / 60:.1f} minutes to go")
        self.listener.updated(Status(progress.update, fraction, update, self._loss, speed, self._flops * cells, left))
        padding = round(1 - self._tokens / self._cells, 4) if self._cells else 0.0
        self._cells = self._tokens = 0
        speeds = {"tokens_per_second": round(speed), "gflops": round(self._flops * cells / 1e9, 1)}
        row = {**asdict(update), "padding": padding, **speeds, "seconds": round(progress.seconds, 2)}
        self._write("update", row)

    def _batches(self) -> Iterator[Batch]:
        """Yield training batches from where the run stands; `_position` is that behind the last one."""
        source = self.prepared.batches
        source.seek(self.progress.position)
        for batch in source:
            self._position = source.position
            self._cells += batch.num_cells
            self._tokens += batch.num_tokens
            batch = batch.to(self.device)
            self._flops = self._flops or flops_per_cell(self.model, self._loss_sum, batch)
            yield batch

    def _loss_sum(self, model: Any, batch: Batch) -> torch.Tensor:
        train = self.recipe.train
        narrow = train.precision == "bfloat16"
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=narrow):
            return loss_sum(model, batch, train.label_smoothing, train.r_drop)

    # -------------------------------------------------------------------------------------------- limits

    def _rate(self) -> float:
        return self.schedule(self.progress.update + 1, self._fraction())

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
        with lent(self.model, self.average.weights(progress.update)):
            loss, score, best = self._judge()
        progress.due = False
        seconds = time.monotonic() - started
        evaluation = Evaluation(progress.update, loss, score, seconds, best)
        self._evaluated = progress.update
        progress.seconds = time.monotonic() - self._began
        self._rest = time.monotonic() + 4 * seconds  # where minutes are short, most of them are for training
        self.listener.evaluated(evaluation)
        self._write("evaluation", {**asdict(evaluation), "seconds": round(seconds, 2)})

    def _judge(self) -> tuple[float, float, bool]:
        """Return loss and BLEU of the weights to be shipped, and whether they are the best so far; if so, ship them."""
        progress = self.progress
        loss, score = self.validation.loss(), self.validation.bleu()
        figure = -loss if self.recipe.train.best == "loss" else score
        before = None if progress.best is None else (progress.best, -progress.best_loss)
        best = before is None or (figure, -loss) > before or not self.validation.pairs
        if best:
            progress.best, progress.best_loss = figure, loss
            progress.best_update, progress.stale = progress.update, 0
            self._save_package(loss, score)
        else:
            progress.stale += 1
        return loss, score, best

    # -------------------------------------------------------------------------------------------- files

    def _save_package(self, loss: float, score: float) -> None:
        sources = self.validation.sources(GOLDEN)
        card = model_card(self.translator, self.prepared, self.progress, loss, score)
        save_package(new_package(self.translator, sources, card), self.run.model)

    def _save(self) -> None:
        train = self.recipe.train
        keep = max(train.keep, train.average)
        save_checkpoint(self.run, self.model, self.optimizer, self.progress, keep, self.average.tensors())

    def _resume(self) -> None:
        """Continue from the newest checkpoint, if there is one; the log forgets what came after it."""
        saved = self.run.saved()
        self._part, self._position = 0, self.progress.position
        if saved:
            self.progress = load_checkpoint(saved[-1], self.model, self.optimizer, self.average.load)
            self._part = int(self._fraction() * EVALUATIONS)
            self._position = self.progress.position
            self.listener.tell(f"resumed after update {self.progress.update:,}")
            _cut_log(self.run.log, self.progress.update)

    def _note(self, text: str) -> None:
        self.listener.tell(text)
        self._write("note", {"text": text})

    def _write(self, kind: str, row: dict[str, Any]) -> None:
        row = {"kind": kind, "update": self.progress.update, **row}
        finite = {key: None if isinstance(item, float) and not isfinite(item) else item for key, item in row.items()}
        line = json.dumps(finite, ensure_ascii=False)
        self._log.write(line + "\n")

    _log: IO[str]
    _part: int
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


def _cut_log(path: Path, update: int) -> None:
    """Drop the rows behind `update`: they are trained again."""
    if path.exists():
        rows = path.read_text("utf-8", errors="replace").split("\n")
        write_text(path, "".join(row + "\n" for row in rows if _is_row(row, update)))


def _is_row(row: str, update: int) -> bool:
    """Whether a line of the log is whole, and not behind `update`."""
    try:
        return int(json.loads(row)["update"]) <= update
    except (ValueError, KeyError, TypeError):
        return False
