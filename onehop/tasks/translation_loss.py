"""What a translation model is trained by: inputs shifted to the right, and the cross-entropy of a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onehop.data import Batch
from onehop.nn.interfaces import Source
from onehop.nn.loss import linear_cross_entropy, linear_r_drop
from onehop.text import BOS


def shift_right(target: Tensor, segments: Tensor | None = None) -> Tensor:
    """Return decoder inputs: the begin mark, then the target without its last token; so for each segment of a row."""
    shifted = torch.cat([torch.full_like(target[:, :1], BOS), target[:, :-1]], 1)
    if segments is not None:
        shifted[:, 1:].masked_fill_(segments[:, 1:] != segments[:, :-1], BOS)
    return shifted


def loss_sum(model: Any, batch: Batch, smoothing: float = 0.0, r_drop: float = 0.0) -> Tensor:
    """Return the summed cross-entropy of a batch's target tokens, in nats; padding meets no vocabulary.

    Args:
        model: Encoder and decoder.
        batch: Pairs, packed or a row each.
        smoothing: See `onehop.nn.cross_entropy`.
        r_drop: The alpha of `onehop.nn.linear_r_drop`, for which each pair passes twice; 0 for once.
    """
    if r_drop:
        batch = batch.map(lambda rows: rows.repeat_interleave(2, 0))
    memory = model.encode(Source(batch.source, batch.source_lengths, batch.source_segments))
    inputs, segments = shift_right(batch.target, batch.target_segments), batch.target_segments
    hidden, _ = model.decode(inputs, model.start(memory), segments=segments)
    real = torch.arange(batch.target.size(1), device=hidden.device) < batch.target_lengths.unsqueeze(1)
    output = model.output
    if r_drop:
        both = hidden.unflatten(0, (-1, 2)).transpose(1, 2)[real[::2]]  # (N, 2, D)
        targets = batch.target[::2][real[::2]]
        return linear_r_drop(both, output.weight, output.bias, targets, smoothing, r_drop)
    return linear_cross_entropy(hidden[real], output.weight, output.bias, batch.target[real], smoothing)
