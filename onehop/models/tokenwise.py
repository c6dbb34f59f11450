"""A model of each word: an encoder, one linear map of the states of the words, and a CRF over them if one is wanted."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from onehop.nn.crf import Crf
from onehop.nn.dropout import Dropout
from onehop.nn.interfaces import Source


class Tokenwise(nn.Module):
    """Encoder, linear map of chosen states (Devlin 2018, section 5.3: of the first piece of each word).

    Args:
        encoder: A `TextEncoder` with a state for each token.
        output: From a state to a number for each label.
        dropout: On the states.
        crf: Over the labels of a sentence, or None.

    Example:
        >>> from onehop.models.encoders import build_encoder
        >>> model = Tokenwise(build_encoder("recurrent", {"hidden_dim": 8}, vocab_size=20), torch.nn.Linear(8, 3))
        >>> rows, places = torch.tensor([0, 0, 1]), torch.tensor([0, 4, 2])
        >>> model(onehop.nn.Source(torch.randint(3, 20, (2, 7))), rows, places).shape
        torch.Size([3, 3])
    """

    def __init__(self, encoder: Any, output: nn.Linear, dropout: float = 0.0, crf: Crf | None = None) -> None:
        super().__init__()
        self.encoder, self.output, self.crf = encoder, output, crf
        self.dropout = Dropout(dropout)

    def states(self, source: Source, rows: Tensor, places: Tensor) -> Tensor:
        """Return the states at some places, `(M, D)`, without dropout."""
        return self.encoder.encode(source).states[rows, places]

    def forward(self, source: Source, rows: Tensor, places: Tensor) -> Tensor:
        """Return scores `(M, C)` of the tokens at `places (M,)` of `rows (M,)`, not normalised."""
        return self.output(self.dropout(self.states(source, rows, places)))
