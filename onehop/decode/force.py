"""Forced decoding: what a model thinks of a given target."""

from __future__ import annotations

import torch
from torch import Tensor

from onehop.nn.interfaces import Decoder, Memory


def force(decoder: Decoder, memory: Memory, inputs: Tensor, targets: Tensor, lengths: Tensor) -> Tensor:
    """Return the log-probability, in nats, of every target token: float32 `(B, T)`, zero behind `lengths`.

    Args:
        decoder: The model.
        memory: Of B sources.
        inputs: `(B, T)` int64: the targets shifted right behind the begin mark.
        targets: `(B, T)` int64, each with its end mark.
        lengths: `(B,)` int64, real tokens of each target.

    Example:
        >>> model = onehop.models.build("transformer", {"preset": "transformer-tiny"}, source_vocab=50).eval()
        >>> memory = model.encode(onehop.nn.Source(torch.tensor([[7, 8, 2]])))
        >>> scores = force(model, memory, torch.tensor([[1, 9]]), torch.tensor([[9, 2]]), torch.tensor([2]))
        >>> scores.shape, bool((scores < 0).all())
        (torch.Size([1, 2]), True)
    """
    hidden, _ = decoder.decode(inputs, decoder.start(memory))
    real = torch.arange(targets.size(1), device=targets.device) < lengths.unsqueeze(1)
    log_probs = decoder.logits(hidden[real]).float().log_softmax(-1)
    scores = log_probs.new_zeros(targets.shape)
    scores[real] = log_probs.gather(1, targets[real].unsqueeze(1)).squeeze(1)
    return scores
