"""Whether training is steady: updates that are not finite, and a loss that leaves its best for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onehop.train.loop import Update

Policy = Literal["skip", "lower", "stop"]

IN_A_ROW = 20  # updates without a finite gradient: the weights, which do not move meanwhile, are beyond repair
MARGIN = 1.0  # nats for each target token above the lowest smoothed loss: no batch is by chance so much harder
LONG = 200  # updates above that margin
SMOOTH = 0.95  # of the smoothed loss, the share that an update keeps
LOWER = "lower train.learning_rate or raise train.warmup"


@dataclass(frozen=True)
class Alarm:
    """What is wrong.

    Args:
        text: For people, with a remedy.
        ends: Whether training must end here.
    """

    text: str
    ends: bool


@dataclass
class Stability:
    """How steady training was so far; a part of `Progress`.

    Args:
        loss: Training loss, smoothed over the last updates; nats for each target token; None before the first.
        lowest: The lowest it has been.
        above: Updates in a row with a loss far above that.
        skipped: Updates in a row without a finite gradient, which changed no weight.
        scale: Factor of the learning rate; the policy `lower` halves it.

    Example:
        >>> stability = Stability()
        >>> stability.heard(Update(4.0, 1.0, 1e-3, 100, skipped=False), "lower") is None
        True
        >>> alarm = stability.heard(Update(float("nan"), float("nan"), 1e-3, 100, skipped=True), "lower")
        >>> alarm.ends, stability.scale
        (False, 0.5)
    """

    loss: float | None = None
    lowest: float | None = None
    above: int = 0
    skipped: int = 0
    scale: float = 1.0

    def heard(self, update: Update, policy: Policy) -> Alarm | None:
        """Take in an update; return what is wrong, if something is."""
        if update.skipped:
            self.skipped += 1
            return self._alarm("the gradient is not finite; skipped", policy, self.skipped >= IN_A_ROW)
        self.skipped = 0
        self.loss = update.loss if self.loss is None else SMOOTH * self.loss + (1 - SMOOTH) * update.loss
        self.lowest = self.loss if self.lowest is None else min(self.lowest, self.loss)
        self.above = self.above + 1 if self.loss > self.lowest + MARGIN else 0
        if self.above != LONG:
            return None
        if policy == "lower":
            self.above = 0  # another such stretch lowers the rate again
        diverged = f"diverged: the loss has been above {self.lowest + MARGIN:.2f} for {LONG} updates, and was at best "
        return self._alarm(f"{diverged}{self.lowest:.2f}", policy, False)

    def _alarm(self, problem: str, policy: Policy, beyond: bool) -> Alarm:
        if beyond:
            return Alarm(f"{problem}, as the {self.skipped - 1} before it; {LOWER}", True)
        if policy == "lower":
            self.scale /= 2
            return Alarm(f"{problem}; the learning rate is now {self.scale:g} of the schedule's", False)
        return Alarm(f"{problem}; {LOWER}" if policy == "stop" or self.above else problem, policy == "stop")
