"""Which weights are validated and shipped: the newest, their moving average, or the mean of the last checkpoints.

Training goes on from the newest weights in any case; the average is only lent to the model while it is looked at.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from onehop.files import Run
from onehop.train.progress import WEIGHTS, averaged, damage


class Average(Protocol):
    """Follows a model while it trains."""

    def updated(self, update: int) -> None:
        """Hear that an update was made."""
        ...

    def weights(self, update: int) -> Mapping[str, Tensor] | None:
        """Return what to validate and ship after that update, by name; None for the newest weights."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint must hold."""
        ...

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` returned."""
        ...


class Newest:
    """No average."""

    def updated(self, update: int) -> None:
        """Ignore it."""

    def weights(self, update: int) -> None:
        """Return None: the newest weights are shipped."""

    def tensors(self) -> dict[str, Tensor]:
        """Return nothing."""
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Ignore it."""


class MovingAverage:
    """An exponential moving average over updates (Polyak 1992; Vaswani's tensor2tensor).

    Over the first updates the decay is `(1 + n) / (10 + n)`, so that the random beginning is soon forgotten.

    Args:
        model: Followed.
        decay: Share of the old average that an update keeps, such as 0.999.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> average = MovingAverage(model, 0.5)
        >>> before = float(model.weight.detach())
        >>> with torch.no_grad():
        ...     _ = model.weight.add_(1)
        >>> average.updated(100)
        >>> round(float(average.weights(100)["weight"].detach()) - before, 4)
        0.5
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self._decay = model, decay
        self._average = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def updated(self, update: int) -> None:
        """Move a little towards the model."""
        decay = min(self._decay, (1 + update) / (10 + update))
        newest = [p.detach() for p in self._model.parameters()]
        torch._foreach_lerp_(list(self._average.values()), newest, 1 - decay)  # pyright: ignore[reportPrivateUsage]

    def weights(self, update: int) -> Mapping[str, Tensor]:
        """Return the average."""
        return self._average

    def tensors(self) -> dict[str, Tensor]:
        """Return the average."""
        return self._average

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put the average back."""
        for name, held in self._average.items():
            held.copy_(tensors[name])


class LastCheckpoints:
    """The mean of the present weights and of the checkpoints before them (Vaswani 2017, section 6.1).

    Args:
        model: Followed.
        run: Whose checkpoints.
        every: Updates between those that count: one that a signal left behind must not change the mean.
        count: How many sets of weights at most, the present one included.
    """

    def __init__(self, model: nn.Module, run: Run, every: int, count: int) -> None:
        self._model, self._run, self._every, self._count = model, run, every, count

    def updated(self, update: int) -> None:
        """Ignore it: checkpoints are on disk."""

    def weights(self, update: int) -> Mapping[str, Tensor]:
        """Return the mean."""
        return mean_weights(self._model, averaged(self._run, update - 1, self._every, self._count - 1))

    def tensors(self) -> dict[str, Tensor]:
        """Return nothing: checkpoints are on disk."""
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Ignore it."""


def mean_weights(model: nn.Module, checkpoints: Sequence[Path]) -> dict[str, Tensor]:
    """Return the mean of a model's weights and those of checkpoints, summed in float64."""
    held = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}
    total = {name: p.detach().double() for name, p in model.named_parameters() if p.requires_grad}
    for folder in checkpoints:
        with damage(folder):
            for name, tensor in load_file(folder / WEIGHTS).items():
                total[name] += tensor.to(total[name].device)
    return held | {name: tensor.div_(len(checkpoints) + 1).float() for name, tensor in total.items()}


@contextmanager
def lent(model: nn.Module, weights: Mapping[str, Tensor] | None) -> Generator[None]:
    """Give the model other weights for a while; None leaves it as it is."""
    if weights is None:
        yield
        return
    held = {name: p.detach().clone() for name, p in model.named_parameters()}
    _copy(model, weights)
    try:
        yield
    finally:
        _copy(model, held)


@torch.no_grad()
def _copy(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])
