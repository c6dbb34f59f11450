"""Optimizers: AdamW (Loshchilov 2019) over parameter groups, and its state by the parameters' names."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from onehop.nn.embedding import TokenEmbedding
from onehop.train.adamw import AdamW, Optimizer


def adamw(
    model: nn.Module, *, weight_decay: float, betas: tuple[float, float], epsilon: float,
    scales: Mapping[str, float] | None = None,
) -> AdamW:  # fmt: skip
    """Return AdamW that decays matrices only: no bias, no normalisation, no embedding.

    Args:
        model: Those of its parameters are trained that require a gradient.
        weight_decay: Of matrices, for a rate of 1.
        betas: Of the moving averages, whose bias is corrected (Kingma 2015).
        epsilon: Added to the root of the second.
        scales: By the names of parameters, their rate as a share of that of the others.

    Example:
        >>> optimizer = adamw(nn.Linear(4, 2), weight_decay=0.01, betas=(0.9, 0.98), epsilon=1e-9)
        >>> [(len(group["params"]), group["weight_decay"]) for group in optimizer.param_groups]
        [(1, 0.01), (1, 0.0)]
    """
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, TokenEmbedding)}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.dim() > 1 and id(parameter) not in embeddings
            groups.setdefault(((scales or {}).get(name, 1.0), weight_decay if decays else 0.0), []).append(parameter)
    made = [{"params": found, "weight_decay": decay, "scale": scale} for (scale, decay), found in groups.items()]
    return AdamW(made, betas, epsilon)


def optimizer_tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as tensors named `parameter/entry`."""
    return {
        f"{name}/{entry}": value.detach().contiguous()
        for name, parameter in model.named_parameters()
        for entry, value in optimizer.state[parameter].items()
    }


def load_optimizer_tensors(model: nn.Module, optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned."""
    for name, parameter in model.named_parameters():
        entries = {key.rsplit("/", 1)[1]: value for key, value in tensors.items() if key.rsplit("/", 1)[0] == name}
        optimizer.state[parameter] = {key: value.to(parameter.device) for key, value in entries.items()}
