"""Copying weights from layers of torch.nn into ours."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from onehop.nn import Attention, FeedForward, Residual


def attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    """Copy the joined projections of multi-head attention, and its output map."""
    parts = ours.projections
    weights, biases = theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3)
    for part, weight, bias in zip((parts.query, parts.key, parts.value), weights, biases, strict=True):
        part.load_state_dict({"weight": weight, "bias": bias})
    assert isinstance(ours.out, nn.Linear)
    ours.out.load_state_dict(theirs.out_proj.state_dict())


def feedforward(ours: FeedForward, theirs: Any) -> None:
    ours.up.load_state_dict(theirs.linear1.state_dict())
    ours.down.load_state_dict(theirs.linear2.state_dict())


def norms(ours: Sequence[Residual], theirs: Any) -> None:
    """Copy each sublayer's normalisation to where ours stands: before it or after the sum."""
    for number, residual in enumerate(ours, 1):
        norm = residual.before if isinstance(residual.before, nn.LayerNorm) else residual.after
        norm.load_state_dict(getattr(theirs, f"norm{number}").state_dict())


def encoder_block(ours: Any, theirs: Any) -> None:
    attention(ours.attention, theirs.self_attn)
    feedforward(ours.feedforward, theirs)
    norms((ours.attention_residual, ours.feedforward_residual), theirs)


def decoder_block(ours: Any, theirs: Any) -> None:
    attention(ours.attention, theirs.self_attn)
    attention(ours.cross, theirs.multihead_attn)
    feedforward(ours.feedforward, theirs)
    norms((ours.attention_residual, ours.cross_residual, ours.feedforward_residual), theirs)


def transformer(ours: Any, theirs: nn.Transformer) -> None:
    for block, layer in zip(ours.encoder, theirs.encoder.layers, strict=True):
        encoder_block(block, layer)
    for block, layer in zip(ours.decoder, theirs.decoder.layers, strict=True):
        decoder_block(block, layer)
    for name in ("encoder", "decoder"):
        norm = getattr(theirs, name).norm
        if norm is not None:
            getattr(ours, f"{name}_norm").load_state_dict(norm.state_dict())


def randomise(module: nn.Module) -> None:
    """Move every weight, so that none is at its neutral value."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
