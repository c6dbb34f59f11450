"""Who hears how a run goes: the command line draws it, a script may ignore it."""

from __future__ import annotations

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
        tokens_per_second: Target tokens learned from, over the last updates, evaluations not counted.
        flops: Floating-point operations a second, over the last updates: the matrix products, padding included.
        seconds_left: Expected, evaluations not counted.
    """

    update: int
    fraction: float
    last: Update
    loss: float
    tokens_per_second: float
    flops: float
    seconds_left: float


@dataclass(frozen=True)
class Evaluation:
    """What validation said.

    Args:
        update: After which update.
        loss: Nats for each target token, without smoothing.
        bleu: sacreBLEU of validation sentences, greedy unless the recipe says otherwise.
        sentences: How many these are.
        incomplete: How many of their translations were ended by the maximum length.
        seconds: That it took.
        best: Whether it is the best so far, so that the package was written.
    """

    update: int
    loss: float
    bleu: float
    sentences: int
    incomplete: int
    seconds: float
    best: bool


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
