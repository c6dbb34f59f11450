"""The one function that search sees: a token for each row and a state in, logits and the next state out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from onehop.nn.interfaces import Decoder

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]
"""`(tokens (B,), state) -> (logits (B, V), state)`; the state given is used up."""


def stepper(decoder: Decoder) -> Step:
    """Narrow a decoder to a step.

    Example:
        >>> model = onehop.models.build("transformer", {"preset": "transformer-tiny"}, source_vocab=50)
        >>> state = model.start(model.encode(onehop.nn.Source(torch.tensor([[7, 8, 2]]))))
        >>> logits, state = stepper(model)(torch.tensor([1]), state)
        >>> logits.shape
        torch.Size([1, 50])
    """

    def step(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        hidden, state = decoder.decode(tokens.unsqueeze(1), state)
        return decoder.logits(hidden[:, -1]), state

    return step
