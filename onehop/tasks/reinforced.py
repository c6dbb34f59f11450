"""The loss of models that draw where they look: the cross-entropy, and what the draws learn from."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import Any

import torch
from torch import Tensor

from onehop.data import Batch
from onehop.nn.attention.selects import choices
from onehop.nn.interfaces import Source
from onehop.nn.loss import linear_cross_entropy, token_losses
from onehop.nn.reinforce import Reinforce
from onehop.nn.rows import Rows
from onehop.tasks.translation_loss import shift_right


def reinforced_loss_sum(model: Any, batch: Batch, reinforce: Reinforce, smoothing: float = 0.0) -> Tensor:
    """Return what `loss_sum` returns for a model with hard attention, with the gradient of its draws.

    Args:
        model: Encoder and decoder, in training.
        batch: Pairs; a packed batch is taken apart, since a draw is judged by the rest of its own sentence.
        reinforce: How draws are judged.
        smoothing: See `onehop.nn.cross_entropy`.

    Example:
        >>> model = onehop.models.build("recurrent", {"select": "hard", "dim": 8, "hidden_dim": 8}, source_vocab=20)
        >>> line = torch.tensor([[7, 8, 2]])
        >>> batch = onehop.data.Batch(line, torch.tensor([3]), line, torch.tensor([3]), (0,), 3)
        >>> loss = reinforced_loss_sum(model.train(), batch, Reinforce())
        >>> loss.backward()
        >>> bool(model.attention.score.query_map.weight.grad.any())
        True
    """
    batch = _apart(batch)
    with choices() as made:
        memory = model.encode(Source(batch.source, batch.source_lengths))
        hidden, _ = model.decode(shift_right(batch.target), model.start(memory))
    real = torch.arange(batch.target.size(1), device=hidden.device) < batch.target_lengths.unsqueeze(1)
    output, targets = model.output, batch.target[real]
    loss = linear_cross_entropy(hidden[real], output.weight, output.bias, targets, smoothing)
    if not made:  # in evaluation
        return loss
    each = token_losses(hidden[real], output.weight, output.bias, targets, smoothing)
    losses = each.new_zeros(real.shape).index_put((real,), each)
    return loss + reinforce.term(made, losses, real, guess=-log(len(output.weight)))


def _apart(batch: Batch) -> Batch:
    """Return a packed batch with a row for each pair."""
    if batch.source_segments is None or batch.target_segments is None:
        return batch
    source, target = Rows(batch.source_segments), Rows(batch.target_segments)
    return replace(
        batch, source=source.split(batch.source), source_lengths=source.lengths, source_segments=None,
        target=target.split(batch.target), target_lengths=target.lengths, target_segments=None,
    )  # fmt: skip
