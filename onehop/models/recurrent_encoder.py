"""A recurrent encoder: embeddings, and a recurrence over them in one direction or two (Schuster 1997)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from onehop.config import Table
from onehop.models.encoders import EncoderFamily
from onehop.nn.dropout import Dropout, word_dropout
from onehop.nn.embedding import TokenEmbedding
from onehop.nn.interfaces import Memory, Source
from onehop.nn.masks import padding
from onehop.nn.recurrent import Recurrence
from onehop.nn.rows import Rows


class RecurrentEncoderConfig(Table):
    """Settings of a recurrent encoder."""

    dim: int = Field(default=128, ge=1, description="Width of the embeddings.")
    hidden_dim: int = Field(default=128, ge=1, description="Width of a layer, of both directions together.")
    cell: Literal["gru", "lstm", "elman"] = Field(default="gru", description="The recurrence.")
    num_layers: int = Field(default=1, ge=1, description="Recurrent layers.")
    bidirectional: bool = Field(default=True, description="Whether it reads in both directions.")
    dropout: float = Field(default=0.2, ge=0, lt=1, description="On embeddings and between layers.")
    word_dropout: float = Field(default=0.0, ge=0, lt=1, description="Of whole words, in the embeddings.")

    @model_validator(mode="after")
    def _fits(self) -> RecurrentEncoderConfig:
        if self.bidirectional and self.hidden_dim % 2:
            raise ValueError(f"hidden_dim={self.hidden_dim} must be even: each direction takes half")
        return self


class RecurrentEncoder(nn.Module):
    """Reads a text from left to right, or from both ends.

    Args:
        embedding: Of tokens.
        recurrence: Over their embeddings.
        dropout: On the embeddings.
        word_dropout: Of whole words.
    """

    unit = "words"

    def __init__(
        self, embedding: TokenEmbedding, recurrence: Recurrence, dim: int, two_ways: bool, dropout: float,
        word_dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding, self.recurrence = embedding, recurrence
        self.dim, self.two_ways = dim, two_ways
        self.dropout, self.word_dropout = Dropout(dropout), word_dropout

    def encode(self, source: Source) -> Memory:
        """Read `source.tokens (B, S)`: states `(B, S, D)`, zeros where there is padding."""
        x = self.dropout(word_dropout(self.embedding(source.tokens), self.word_dropout, self.training))
        if source.segments is not None:
            rows = Rows(source.segments)
            states, _ = self.recurrence(rows.split(x), None, rows.lengths)
            return Memory(rows.join(states), None, source.segments)
        return Memory(read(self.recurrence, x, source.lengths), source.lengths)


def read(recurrence: Recurrence, x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return what a recurrence makes of `x (B, S, D)`, with zeros behind `lengths`."""
    lengths = padding(lengths, x.size(1))
    states, _ = recurrence(x, None, lengths)
    if lengths is None:
        return states
    return states * (torch.arange(x.size(1), device=x.device) < lengths.unsqueeze(1)).unsqueeze(2)


def build_recurrent_encoder(config: RecurrentEncoderConfig, vocab_size: int) -> RecurrentEncoder:
    """Turn settings into modules."""
    c = config
    recurrence = Recurrence(
        c.cell, c.dim, c.hidden_dim, num_layers=c.num_layers, bidirectional=c.bidirectional, dropout=c.dropout
    )
    embedding = TokenEmbedding(vocab_size, c.dim)
    return RecurrentEncoder(embedding, recurrence, c.hidden_dim, c.bidirectional, c.dropout, c.word_dropout)


PRESETS: dict[str, dict[str, Any]] = {}

AXES = {"cell": ("gru", "lstm", "elman"), "num_layers": (1, 2), "bidirectional": (True, False)}

ENCODER = EncoderFamily(RecurrentEncoderConfig, build_recurrent_encoder, PRESETS, AXES)
