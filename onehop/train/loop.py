"""The training loop: a generator that yields after each update.

Evaluation, logging, checkpoints and limits belong to the caller's for-loop. Losses are sums, divided by the count of
the whole accumulated group, so `accumulate` changes memory and not the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

from torch import Tensor, nn

from onehop.train.adamw import Optimizer


class Counted(Protocol):
    """A batch that knows how many targets its loss is summed over."""

    @property
    def num_targets(self) -> int:
        """Number of targets."""
        ...


B = TypeVar("B", bound=Counted)


@dataclass(frozen=True)
class Update:
    """What one update did.

    Args:
        loss: Mean over its targets, in nats.
        norm: Length of the gradient before clipping.
        learning_rate: That was used.
        num_targets: Targets it learned from.
        skipped: True where the loss or gradient was not finite and the weights were left as they were.
    """

    loss: float
    norm: float
    learning_rate: float
    num_targets: int
    skipped: bool


def loop(
    model: nn.Module,
    loss_sum: Callable[[nn.Module, B], Tensor],
    batches: Iterator[B],
    optimizer: Optimizer,
    learning_rate: Callable[[], float],
    *,
    accumulate: int = 1,
    max_norm: float = 1.0,
) -> Iterator[Update]:
    """Yield after each update, for as long as there are batches.

    Args:
        model: Trained in place.
        loss_sum: Loss of a batch, summed over its targets.
        batches: A last group of fewer than `accumulate` is used as it is.
        optimizer: Its learning rate is set before each step.
        learning_rate: Asked before each step.
        accumulate: Batches for each update.
        max_norm: Longer gradients are scaled to this length; 0 for no clipping.

    Example:
        >>> from types import SimpleNamespace as Batch
        >>> model = torch.nn.Linear(1, 1)
        >>> batch = Batch(x=torch.ones(4, 1), num_targets=4)
        >>> sgd = torch.optim.SGD(model.parameters())
        >>> updates = loop(model, lambda m, b: (m(b.x) ** 2).sum(), iter([batch] * 3), sgd, lambda: 0.1)
        >>> len(list(updates))
        3
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    while group := list(islice(batches, accumulate)):
        model.train()
        count, total = sum(batch.num_targets for batch in group), 0.0
        for batch in group:
            loss = loss_sum(model, batch) / count
            loss.backward()
            total += float(loss.detach())
        norm = float(nn.utils.clip_grad_norm_(parameters, max_norm or float("inf")))
        rate = learning_rate()
        finite = norm == norm and norm != float("inf")  # a loss that is not finite has no finite gradient
        if finite:
            for param_group in optimizer.param_groups:
                param_group["lr"] = rate * param_group.get("scale", 1.0)
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield Update(total, norm, rate, count, not finite)
