"""AdamW (Loshchilov 2019, "Decoupled Weight Decay Regularization"), by torch's fused kernel.

`torch.optim.AdamW` calls the same kernel, and loads torch's compiler on the way: two seconds and 70 MB before the first
update of every training, for nothing that is used here. Tests hold both to the same bits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Optimizer(Protocol):
    """What the loop and checkpoints need of an optimizer; those of `torch.optim` have it.

    Attributes:
        param_groups: The parameters, with their settings.
        state: What is remembered of each.
    """

    param_groups: list[dict[str, Any]]
    state: defaultdict[Any, Any]

    def step(self) -> Any:
        """Update every parameter that has a gradient."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""


class AdamW:
    """Moving averages of gradients and of their squares, bias corrected (Kingma 2015); decay beside them.

    Args:
        groups: Each with `params` and `weight_decay`; `lr`, from 0, is set before each step.
        betas: Of both averages.
        epsilon: Added to the root of the second.

    Example:
        >>> weight = nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = AdamW([{"params": [weight], "weight_decay": 0.0, "lr": 0.1}], (0.9, 0.999), 1e-8)
        >>> weight.grad = torch.tensor([3.0])
        >>> optimizer.step()
        >>> weight
        Parameter containing:
        tensor([0.9000], requires_grad=True)
    """

    def __init__(self, groups: Iterable[Mapping[str, Any]], betas: tuple[float, float], epsilon: float) -> None:
        self.param_groups: list[dict[str, Any]] = [{"lr": 0.0, **group} for group in groups]
        self.state: defaultdict[nn.Parameter, dict[str, Tensor]] = defaultdict(dict)
        self.betas, self.epsilon = betas, epsilon

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            learnt = [p for p in group["params"] if p.grad is not None]
            if not learnt:
                continue
            states = [self.state[p] or self._begin(p) for p in learnt]
            steps, means, squares = ([one[key] for one in states] for key in ("step", "exp_avg", "exp_avg_sq"))
            torch._foreach_add_(steps, 1)  # pyright: ignore[reportPrivateUsage]
            torch._fused_adamw_(  # pyright: ignore[reportPrivateUsage]
                learnt, [p.grad for p in learnt], means, squares, [], steps, lr=group["lr"], beta1=self.betas[0],
                beta2=self.betas[1], weight_decay=group["weight_decay"], eps=self.epsilon, amsgrad=False,
                maximize=False,
            )  # fmt: skip

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad.zero_()

    def _begin(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """Return the state of a parameter that has not been updated, which is kept."""
        state = self.state[parameter]
        state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        return state
