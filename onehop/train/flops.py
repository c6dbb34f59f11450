"""How much arithmetic training does, counted on the model itself rather than by a formula for one family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from onehop.data import Batch

ROWS = 4  # of a batch: enough to count on


class Counter(TorchDispatchMode):
    """Inside, matrix products and attention are counted by torch's formulas; `total` is their sum.

    `FlopCounterMode` counts the same, and loads torch's compiler to be told that it is not to be compiled.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket is torch.ops.aten.addmm_:  # unknown to torch; the fused loss learns the vocabulary so
            self.total += 2 * args[1].size(0) * args[1].size(1) * args[2].size(1)
        found = func(*args, **kwargs)
        if formula := flop_registry.get(func.overloadpacket):
            self.total += formula(*args, **kwargs, out_val=found)
        return found


def flops_per_cell(model: nn.Module, loss_sum: Callable[[nn.Module, Batch], Tensor], batch: Batch) -> float:
    """Return the floating-point operations of learning from one cell of a batch, source or target, padding included.

    Counted are the matrix products, forward and backward, of a few rows; neither weights nor random numbers change.
    """
    few = batch.map(lambda rows: rows[:ROWS])
    with torch.random.fork_rng(), Counter() as counter:
        loss = loss_sum(model, few)
        torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], allow_unused=True)
    return counter.total / few.num_cells
