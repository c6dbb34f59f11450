"""Activation checkpointing (Chen 2016): what a part computed is computed again on the way back, to save memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from onehop.nn.block import DecoderBlock, EncoderBlock
from onehop.nn.readout import Readout
from onehop.nn.recurrent import Recurrence

PARTS = (EncoderBlock, DecoderBlock, Recurrence, Readout)


def recompute(model: nn.Module) -> int:
    """Make the parts that hold most forget their activations in training; return how many parts there are.

    Those are Transformer blocks, recurrences over whole sequences, and the readouts of recurrent decoders.

    A step takes about a third longer and gives the same gradients, bit for bit: random numbers are drawn again from
    the same state.

    Example:
        >>> recompute(onehop.models.build("transformer", {"preset": "transformer-tiny"}, source_vocab=50))
        8
    """
    blocks = [module for module in model.modules() if isinstance(module, PARTS)]
    for block in blocks:
        setattr(block, "forward", partial(_again, block.forward))  # noqa: B010 - a type checker sees a method
    return len(blocks)


def _again(forward: Callable[..., Any], *inputs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs)
    return checkpoint(forward, *inputs, use_reentrant=False)
