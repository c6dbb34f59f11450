"""Optimizers: AdamW (Loshchilov 2019) over parameter groups, and its state by the parameters' names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from onehop.nn.embedding import TokenEmbedding


def adamw(model: nn.Module, *, weight_decay: float, betas: tuple[float, float], epsilon: float) -> torch.optim.AdamW:
    """Return AdamW that decays matrices only: no bias, no normalisation, no embedding.

    Example:
        >>> optimizer = adamw(nn.Linear(4, 2), weight_decay=0.01, betas=(0.9, 0.98), epsilon=1e-9)
        >>> [(len(group["params"]), group["weight_decay"]) for group in optimizer.param_groups]
        [(1, 0.01), (1, 0.0)]
    """
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, TokenEmbedding)}
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in model.parameters():
        (decayed if parameter.dim() > 1 and id(parameter) not in embeddings else others).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, betas=betas, eps=epsilon, fused=True)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as tensors named `parameter/entry`."""
    return {
        f"{name}/{entry}": value.detach().contiguous()
        for name, parameter in model.named_parameters()
        for entry, value in optimizer.state[parameter].items()
    }


def load_optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned."""
    for name, parameter in model.named_parameters():
        entries = {key.rsplit("/", 1)[1]: value for key, value in tensors.items() if key.rsplit("/", 1)[0] == name}
        optimizer.state[parameter] = {key: value.to(parameter.device) for key, value in entries.items()}
