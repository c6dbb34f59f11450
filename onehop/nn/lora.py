"""Low-rank changes of linear maps (Hu 2021, "LoRA: Low-Rank Adaptation of Large Language Models").

The weight stays as it is, and what is learnt beside it is a product of two thin matrices, `W x + alpha / r · B A x`
(section 4.1, equation 3). It is linear too, so it can be added to the weight: nothing is slower afterwards.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.errors import ConfigError
from onehop.nn.dropout import Dropout

TARGETS = ("query", "key", "value", "out", "gate", "up", "down")  # maps of a block, by their names in it
OWN = ("lora_a", "lora_b")  # parameters that are not of the map itself


class LowRank(nn.Module):
    """A linear map that is held, and a change of rank r beside it; before training the change is zero.

    Args:
        linear: The map; its weight and bias are shared, under their own names.
        rank: r, at most the smaller width.
        alpha: The change is scaled by `alpha / rank`, so that another rank does not ask for another learning rate.
        dropout: On what the change reads, in training.

    Raises:
        ConfigError: The rank is larger than a width, so that nothing would be saved.

    Example:
        >>> linear = nn.Linear(4, 3)
        >>> part = LowRank(linear, rank=2, alpha=4.0)
        >>> x = torch.randn(5, 4)
        >>> torch.equal(part(x), linear(x)), [name for name, _ in part.named_parameters()]
        (True, ['weight', 'bias', 'lora_a', 'lora_b'])
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float, dropout: float = 0.0) -> None:
        super().__init__()
        if rank > min(linear.in_features, linear.out_features):
            sizes = f"{linear.in_features} to {linear.out_features}"
            raise ConfigError(f"a rank of {rank} for a map from {sizes}", "Give a lower one.", "train.lora_rank")
        self.weight: Tensor = linear.weight
        self.bias: Tensor | None = linear.bias
        self.lora_a = nn.Parameter(linear.weight.new_empty(rank, linear.in_features))
        self.lora_b = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        nn.init.normal_(self.lora_a, std=linear.in_features**-0.5)
        self.scale, self.dropout = alpha / rank, Dropout(dropout)

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """Map `x`."""
        change = F.linear(F.linear(self.dropout(x), self.lora_a), self.lora_b)
        return F.linear(x, self.weight, self.bias) + self.scale * change

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return one map that does the same; the sum is made in float64 and rounded once."""
        weight, has_bias = self.weight, self.bias is not None
        plain: Any = nn.utils.skip_init(
            nn.Linear, weight.size(1), weight.size(0), bias=has_bias, device=weight.device, dtype=weight.dtype
        )
        plain.weight.copy_(weight.double() + self.scale * (self.lora_b.double() @ self.lora_a.double()))
        if has_bias:
            plain.bias.copy_(self.bias)
        return plain


def adapt(model: nn.Module, targets: Collection[str], rank: int, alpha: float, dropout: float = 0.0) -> None:
    """Put a low-rank change beside every linear map of a model that has one of some names, in place.

    Args:
        model: With blocks of attention and feed-forward networks.
        targets: Of `TARGETS`.
        rank: See `LowRank`.
        alpha: See `LowRank`.
        dropout: See `LowRank`.

    Raises:
        ConfigError: No map has one of the names, or the rank is too large.

    Example:
        >>> from onehop.models.encoders import build_encoder
        >>> model = build_encoder("bert", {"preset": "bert-tiny"}, vocab_size=9)
        >>> adapt(model, ["query", "value"], rank=4, alpha=8.0)
        >>> sum(isinstance(part, LowRank) for part in model.modules())
        4
    """
    found = [
        (parent, name, part)
        for parent in model.modules()
        for name, part in parent.named_children()
        if name in targets and type(part) is nn.Linear
    ]
    if missing := [name for name in targets if name not in {name for _, name, _ in found}]:
        there = sorted({n for parent in model.modules() for n, p in parent.named_children() if type(p) is nn.Linear})
        known = [name for name in TARGETS if name in there]
        remedy = f"It has {', '.join(known)}." if known else "Leave train.lora_rank out."
        raise ConfigError(f"this encoder has no linear map named {', '.join(missing)}", remedy, "train.lora_targets")
    for parent, name, part in found:
        setattr(parent, name, LowRank(part, rank, alpha, dropout))


def is_adapted(model: nn.Module) -> bool:
    """Whether a model has low-rank changes that are not merged."""
    return any(isinstance(part, LowRank) for part in model.modules())


def merge(model: nn.Module) -> nn.Module:
    """Return a model whose changes are in its weights; it shares all other weights with the one given, which stays.

    Example:
        >>> model = nn.Sequential(LowRank(nn.Linear(4, 4), rank=1, alpha=1.0))
        >>> merge(model)
        Sequential(
          (0): Linear(in_features=4, out_features=4, bias=True)
        )
    """
    if not is_adapted(model):
        return model
    shared = {id(parameter): parameter for parameter in model.parameters()}
    twin = copy.deepcopy(model, shared)
    if isinstance(twin, LowRank):
        return twin.merged()
    for parent, name, part in list(_parts(twin)):
        setattr(parent, name, part.merged())
    return twin.train(model.training)


def _parts(model: nn.Module) -> Iterator[tuple[nn.Module, str, LowRank]]:
    for parent in model.modules():
        for name, part in parent.named_children():
            if isinstance(part, LowRank):
                yield parent, name, part
