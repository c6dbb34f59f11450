"""How much arithmetic training does, counted on the model itself rather than by a formula for one family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from onehop.data import Batch

ROWS = 4  # of a batch: enough to count on


def _product_added(added: Sequence[int], one: Sequence[int], two: Sequence[int], **_: Any) -> int:
    """Count a product that is added in place, by its shapes: so the fused loss comes to the vocabulary's gradient."""
    return 2 * one[0] * one[1] * two[1]


UNKNOWN = {torch.ops.aten.addmm_: _product_added}  # to torch's counter


def flops_per_cell(model: nn.Module, loss_sum: Callable[[nn.Module, Batch], Tensor], batch: Batch) -> float:
    """Return the floating-point operations of learning from one cell of a batch, source or target, padding included.

    Counted are the matrix products, forward and backward, of a few rows; neither weights nor random numbers change.
    """
    few = batch.map(lambda rows: rows[:ROWS])
    with torch.random.fork_rng(), FlopCounterMode(display=False, custom_mapping=UNKNOWN) as counter:
        loss = loss_sum(model, few)
        torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], allow_unused=True)
    return counter.get_total_flops() / few.num_cells
