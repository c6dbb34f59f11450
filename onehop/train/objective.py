"""What training minimises: the loss of a batch, in the precision and with the regularisation of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from onehop.data import Batch
from onehop.errors import ConfigError
from onehop.nn.reinforce import Reinforce, draws
from onehop.tasks.reinforced import reinforced_loss_sum
from onehop.tasks.translation_loss import loss_sum
from onehop.train.recipe import TrainConfig

Loss = Callable[[Any, Batch], Tensor]


class Objective(Protocol):
    """`(model, batch) -> loss`, summed over the batch's targets, in nats; it may remember something."""

    def __call__(self, model: Any, batch: Batch) -> Tensor:
        """Return the loss of a batch that is learned from."""
        ...

    def measured(self, model: Any, batch: Batch) -> Tensor:
        """Return the same where nothing is learned: to see what a step takes."""
        ...

    def updated(self) -> None:
        """Hear that the weights were updated by the batches since the last time."""
        ...

    def check(self, model: nn.Module) -> None:
        """Raise a `ConfigError` for what does not go together with the model."""
        ...

    def state_dict(self) -> dict[str, float]:
        """Return what a resumed run must know."""
        ...

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Put back what `state_dict` returned."""
        ...


class Forgetful:
    """An `Objective` that remembers nothing: a function as it is."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss

    def __call__(self, model: Any, batch: Batch) -> Tensor:
        """See `Objective`."""
        return self.loss(model, batch)

    def measured(self, model: Any, batch: Batch) -> Tensor:
        """See `Objective`."""
        return self.loss(model, batch)

    def updated(self) -> None:
        """See `Objective`."""

    def check(self, model: nn.Module) -> None:
        """See `Objective`."""

    def state_dict(self) -> dict[str, float]:
        """See `Objective`."""
        return {}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """See `Objective`."""


class Translating:
    """The `Objective` of translation: cross-entropy, and for hard attention what its draws learn from.

    Args:
        train: Precision, smoothing and what hard attention learns by.
        device: Where the model is.
    """

    def __init__(self, train: TrainConfig, device: str) -> None:
        self.train, self.kind = train, torch.device(device).type
        self.reinforce = Reinforce(train.reinforce_reward, train.reinforce_entropy, train.reinforce_decay)

    def __call__(self, model: Any, batch: Batch) -> Tensor:
        """Return the loss of a batch that is learned from."""
        with torch.autocast(self.kind, torch.bfloat16, enabled=self.train.precision == "bfloat16"):
            if draws(model):
                return reinforced_loss_sum(model, batch, self.reinforce, self.train.label_smoothing)
            return loss_sum(model, batch, self.train.label_smoothing, self.train.r_drop)

    def measured(self, model: Any, batch: Batch) -> Tensor:
        """Return the same where nothing is learned, so that no baseline moves."""
        with self.reinforce.unheard():
            return self(model, batch)

    def updated(self) -> None:
        """Hear that the weights were updated by the batches since the last time."""
        self.reinforce.updated()

    def check(self, model: nn.Module) -> None:
        """Refuse what does not go together with the model.

        Raises:
            ConfigError: Hard attention, which draws, and what would need the same draws twice.
        """
        for key in ("r_drop", "activation_checkpointing") if draws(model) else ():
            if getattr(self.train, key):
                raise ConfigError(
                    f"{key} passes a batch twice, and hard attention draws where it looks",
                    "Leave it out, or use 'gumbel' or 'straight_through' as select (of a Transformer: cross_select).",
                    f"train.{key}",
                )

    def state_dict(self) -> dict[str, float]:
        """Return what a resumed run must know."""
        return self.reinforce.state_dict()

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Put back what `state_dict` returned."""
        self.reinforce.load_state_dict(state)


def objective(train: TrainConfig, device: str) -> Objective:
    """Return what the recipe of a translation model minimises."""
    return Translating(train, device)
