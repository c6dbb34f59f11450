"""Who hears how a run goes: the command line draws it, a script may ignore it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from onehop.train.loop import Update


@dataclass(frozen=True)
class Status:
    """After an update.

    Args:
        update: Its number.
        fraction: Share of the run that is over, by updates or minutes, whichever is further.
        last: What it did.
        loss: Training loss, smoothed over the last updates; nats for each token.
        tokens_per_second: Targets learned from, over the last updates, evaluations not counted.
        flops: Floating-point operations a second, over the last updates: the matrix products, padding included.
        seconds_left: Expected, evaluations not counted.
        unit: What a target is: `tokens`, or `texts` that are classified.
    """

    update: int
    fraction: float
    last: Update
    loss: float
    tokens_per_second: float
    flops: float
    seconds_left: float
    unit: str = "tokens"


@dataclass(frozen=True)
class Evaluation:
    """What validation said.

    Args:
        update: After which update.
        loss: Nats for each target token, or for each text that is classified, without smoothing.
        figures: What else was measured, by name: of a translation `bleu`, of how many `sentences`, and how many of
            their translations were `incomplete`; of a classifier `accuracy`, `macro_f1` and how many `texts`.
        told: The same in words.
        seconds: That it took.
        best: Whether it is the best so far, so that the package was written.
        measured: Whether anything is held out; where nothing is, loss and figures are 0 and say nothing.
    """

    update: int
    loss: float
    figures: Mapping[str, float | int]
    told: str
    seconds: float
    best: bool
    measured: bool = True


class Listener(Protocol):
    """Called by `fit`, in its own thread."""

    def tell(self, text: str) -> None:
        """Hear a line for people: what was chosen, dropped, saved."""
        ...

    def updated(self, status: Status) -> None:
        """Hear of an update."""
        ...

    def evaluated(self, evaluation: Evaluation) -> None:
        """Hear of an evaluation."""
        ...


class Silent:
    """Hears everything and does nothing."""

    def tell(self, text: str) -> None:
        """Ignore it."""

    def updated(self, status: Status) -> None:
        """Ignore it."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """Ignore it."""
