"""A model of a whole text: an encoder, a pooling, and one linear map of the pooled vector.

Classes, numbers and embeddings of texts all come this way, whatever the encoder.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from onehop.nn.dropout import Dropout
from onehop.nn.interfaces import Source
from onehop.nn.rows import Rows, together


class Pooled(nn.Module):
    """Encoder, pooling, linear map.

    Args:
        encoder: A `TextEncoder`.
        pooling: From states to a vector; see `onehop.nn.pooling`.
        output: From a vector to a number for each class.
        dropout: On the vector.

    Example:
        >>> from onehop.models.encoders import build_encoder
        >>> from onehop.nn.pooling import build_pooling
        >>> encoder = build_encoder("recurrent", {"hidden_dim": 8}, vocab_size=20)
        >>> model = Pooled(encoder, build_pooling("attention", 8, 6, record="encoder.words"), torch.nn.Linear(8, 3))
        >>> model(onehop.nn.Source(torch.randint(3, 20, (2, 7)))).shape
        torch.Size([2, 3])
    """

    def __init__(self, encoder: Any, pooling: nn.Module, output: nn.Linear, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder, self.pooling, self.output = encoder, pooling, output
        self.dropout = Dropout(dropout)

    def pool(self, source: Source) -> Tensor:
        """Return a vector for each text, `(B, D)`; of packed rows for each of their texts, row by row.

        The states of all windows of a text are pooled together.
        """
        memory = self.encoder.encode(source)
        states, lengths = memory.states, memory.lengths
        if memory.segments is not None:
            rows = Rows(memory.segments)
            states, lengths = rows.split(states), rows.lengths
        if source.groups is not None:
            states, lengths = together(states, memory.known_lengths() if lengths is None else lengths, source.groups)
        return self.pooling(states, lengths)

    def forward(self, source: Source) -> Tensor:
        """Return scores `(B, C)`, not normalised."""
        return self.output(self.dropout(self.pool(source)))
