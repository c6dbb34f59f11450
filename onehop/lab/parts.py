"""What several checks are made of: small layers and models with random weights, distances, torch's weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from onehop.models import build
from onehop.nn import Attention, Mask, Projections, Source
from onehop.nn.attention import scaled_dot

SMALL: dict[str, Any] = {
    "dim": 16, "ffn_dim": 32, "num_heads": 4, "num_encoder_layers": 3, "num_decoder_layers": 3, "dropout": 0.0,
}  # fmt: skip
RECURRENT: dict[str, Any] = {"dim": 6, "hidden_dim": 8, "dropout": 0.0}


def gap(one: Tensor, two: Tensor) -> float:
    """Return the largest difference of two tensors of one shape.

    Example:
        >>> gap(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.5]))
        0.5
    """
    if one.shape != two.shape:
        raise ValueError(f"shapes differ: {tuple(one.shape)} and {tuple(two.shape)}")
    return float((one - two).detach().abs().max()) if one.numel() else 0.0


def count(wrong: Tensor) -> float:
    """Return how many entries are true."""
    return float(wrong.sum())


def where(x: Tensor) -> Tensor:
    """Return the positions `(B, T)` of states `x (B, T, D)`, from 0 in each row."""
    return torch.arange(x.size(1)).expand(x.shape[:2])


def heads(dim: int, num_heads: int, groups: int | None = None, *, bias: bool = False) -> Attention:
    """Return an attention with as many heads and key/value heads, `dim` wide, with random weights."""
    groups, width = groups or num_heads, dim // num_heads
    return Attention(
        Projections(dim, dim, num_heads, groups, width, bias=bias), nn.Linear(dim, dim, bias=bias),
        num_heads=num_heads, num_kv_heads=groups, score=scaled_dot(width),
    )  # fmt: skip


def maps(layer: Attention) -> Projections:
    """Return the maps of an attention that has some."""
    assert isinstance(layer.projections, Projections)
    return layer.projections


def read(layer: Attention, x: Tensor, memory: Tensor, mask: Mask | None = None) -> Tensor:
    """Let states `x (B, T, D)` read `memory (B, S, D)`; with `x` twice it is self-attention."""
    return layer.read(x, layer.project(memory, where(memory)), mask or Mask(), where(x))


def model(family: str, settings: Mapping[str, Any] | None = None, vocab: int = 20) -> Any:
    """Return a small model of a family, in evaluation; the same weights wherever settings leave the same parts.

    Its weights are drawn anew from the same seed, so that two settings can be compared.
    """
    small = SMALL if family == "transformer" else RECURRENT
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return build(family, {**small, **(settings or {})}, vocab).eval()


def size(module: nn.Module) -> int:
    """Return how many numbers a module learns; tied ones count once."""
    return sum(p.numel() for p in module.parameters())


def slopes(f: Callable[[], Tensor], parameters: Sequence[Tensor], step: float = 1e-5) -> tuple[float, float]:
    """Compare the gradient of `f()`, a float64 scalar, by `parameters` with central differences.

    Returns:
        The largest difference as a share of the longest gradient's largest entry, and the gradient's length.
    """
    found = torch.autograd.grad(f(), list(parameters))
    worst = 0.0
    for parameter, gradient in zip(parameters, found, strict=True):
        flat, numeric = parameter.detach().view(-1), torch.empty(parameter.numel(), dtype=torch.float64)
        for i in range(len(flat)):
            kept = flat[i].item()
            with torch.no_grad():
                flat[i] = kept + step
                above = f().item()
                flat[i] = kept - step
                below = f().item()
                flat[i] = kept
            numeric[i] = (above - below) / (2 * step)
        worst = max(worst, gap(gradient.flatten(), numeric))
    largest = max(float(gradient.abs().max()) for gradient in found)
    length = sum(float(gradient.square().sum()) for gradient in found) ** 0.5
    return worst / largest, length


def connected(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return which outputs `f(x) (n, D)` depend on which inputs `x (n, D)`: bool `(n, n)`, by the Jacobian."""
    jacobian: Any = torch.autograd.functional.jacobian(f, x)  # (n, D, n, D)
    return jacobian.abs().amax((1, 3)) > 0


def heard(encoder: Any, table: nn.Module, source: Source) -> Tensor:
    """Return which states of a text depend on which embedded words, bool `(S, S)`; `table` is what embeds them."""
    read: list[Tensor] = []

    def keep(embedding: nn.Module, given: Any, out: Tensor) -> Tensor:
        read.append(out.detach().requires_grad_())
        return read[-1]

    hook = table.register_forward_hook(keep)
    states = encoder.encode(source).states[0]
    hook.remove()
    probe = torch.randn_like(states[0])
    rows = [torch.autograd.grad(state @ probe, read[0], retain_graph=True)[0][0] for state in states]
    return torch.stack(rows).abs().amax(-1) > 0


# ------------------------------------------------------------------------------------------------ torch's weights


def randomise(module: nn.Module) -> nn.Module:
    """Move every weight, so that none is at its neutral value."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return module


def copy_heads(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    """Give `ours` the weights of torch's multi-head attention."""
    parts = maps(ours)
    weights, biases = theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3)
    for part, weight, bias in zip((parts.query, parts.key, parts.value), weights, biases, strict=True):
        part.load_state_dict({"weight": weight, "bias": bias})
    ours.out.load_state_dict(theirs.out_proj.state_dict())


def copy_block(ours: Any, theirs: Any) -> None:
    """Give a block the weights of torch's encoder or decoder layer."""
    copy_heads(ours.attention, theirs.self_attn)
    residuals = [ours.attention_residual, ours.feedforward_residual]
    if hasattr(theirs, "multihead_attn"):
        copy_heads(ours.cross, theirs.multihead_attn)
        residuals.insert(1, ours.cross_residual)
    ours.feedforward.up.load_state_dict(theirs.linear1.state_dict())
    ours.feedforward.down.load_state_dict(theirs.linear2.state_dict())
    for number, residual in enumerate(residuals, 1):
        norm = residual.before if isinstance(residual.before, nn.LayerNorm) else residual.after
        norm.load_state_dict(getattr(theirs, f"norm{number}").state_dict())
