"""What training minimises: the loss of a batch, in the precision and with the regularisation of a recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from onehop.data import Batch
from onehop.tasks.translation import loss_sum
from onehop.train.recipe import TrainConfig

Objective = Callable[[Any, Batch], Tensor]


def objective(train: TrainConfig, device: str) -> Objective:
    """Return `(model, batch) -> loss`, summed over the batch's targets, in nats."""
    kind, narrow = torch.device(device).type, train.precision == "bfloat16"

    def loss(model: Any, batch: Batch) -> Tensor:
        with torch.autocast(kind, torch.bfloat16, enabled=narrow):
            return loss_sum(model, batch, train.label_smoothing, train.r_drop)

    return loss
