"""A convolutional encoder (Kim 2014, "Convolutional Neural Networks for Sentence Classification"), with attention.

Each layer looks at a few neighbouring words, by their place; attention looks at all, by what they are. It may stand
before the convolutions, where every word takes in its context first, or behind them (Yin 2016, "ABCNN", has both, for
pairs of texts); the third place of the literature is the pooling `attention`, which follows any encoder.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.config import Table
from onehop.models.encoders import EncoderFamily
from onehop.nn.attention import Attention, Projections, scaled_dot
from onehop.nn.dropout import Dropout, word_dropout
from onehop.nn.embedding import TokenEmbedding
from onehop.nn.interfaces import Memory, Source
from onehop.nn.masks import Mask, padding
from onehop.nn.rows import Rows


class ConvolutionalConfig(Table):
    """Settings of a convolutional encoder."""

    dim: int = Field(default=128, ge=1, description="Width of the embeddings.")
    hidden_dim: int = Field(default=128, ge=1, description="Width of a layer: its filters.")
    width: int = Field(default=3, ge=1, description="Words that a filter spans, an odd number; Kim has 3, 4 and 5.")
    num_layers: int = Field(default=1, ge=1, description="Convolutions, one over the other.")
    attention: Literal["none", "before", "after"] = Field(
        default="none", description="Where words read each other: before the convolutions, after them, or nowhere."
    )
    dropout: float = Field(default=0.2, ge=0, lt=1, description="On embeddings and between layers.")
    word_dropout: float = Field(default=0.0, ge=0, lt=1, description="Of whole words, in the embeddings.")

    @model_validator(mode="after")
    def _fits(self) -> ConvolutionalConfig:
        if self.width % 2 == 0:
            raise ValueError(f"width={self.width} must be odd: as many words on either side")
        return self


class Convolution(nn.Module):
    """`c_i = relu(W [x_(i-r); ...; x_(i+r)] + b)` with zeros beyond the ends (Kim 2014, equation 2).

    Args:
        dim: Width of what it reads.
        hidden_dim: Filters.
        width: 2 r + 1.
    """

    def __init__(self, dim: int, hidden_dim: int, width: int) -> None:
        super().__init__()
        self.width, self.filters = width, nn.Linear(width * dim, hidden_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Read `x (B, S, D)`, which is zero where there is padding: `(B, S, filters)`."""
        if not x.size(1):
            return x.new_zeros(len(x), 0, self.filters.out_features)
        reach = self.width // 2
        windows = F.pad(x, (0, 0, reach, reach)).unfold(1, self.width, 1)  # (B, S, D, width)
        return self.filters(windows.mT.flatten(2)).relu()


class Context(nn.Module):
    """Words read each other, and keep what they were: `x + attention(x)`.

    Args:
        dim: Width of the words.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attention = Attention(
            Projections(dim, dim, 1, 1, dim, bias=False), nn.Linear(dim, dim, bias=False), num_heads=1,
            num_kv_heads=1, score=scaled_dot(dim), name="encoder.self",
        )  # fmt: skip

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Transform `x (B, S, D)`; behind `lengths` nothing is read."""
        places = torch.arange(x.size(1), device=x.device).expand(x.shape[:2])
        q, kv = self.attention.project_all(x, places)
        return x + self.attention(q, kv, Mask(lengths=lengths))


class Convolutional(nn.Module):
    """Reads a text by what stands together.

    Args:
        embedding: Of tokens.
        layers: Convolutions.
        before: Between embeddings and convolutions; None for nothing.
        after: Behind the convolutions; None for nothing.
        dim: Width of the states.
        dropout: On the embeddings and between layers.
        word_dropout: Of whole words.
    """

    unit = "words"
    two_ways = False

    def __init__(
        self, embedding: TokenEmbedding, layers: list[Convolution], before: Context | None, after: Context | None,
        dim: int, dropout: float, word_dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding, self.layers, self.before, self.after = embedding, nn.ModuleList(layers), before, after
        self.dim, self.dropout, self.word_dropout = dim, Dropout(dropout), word_dropout

    def encode(self, source: Source) -> Memory:
        """Read `source.tokens (B, S)`: states `(B, S, D)`, zeros where there is padding."""
        x = word_dropout(self.embedding(source.tokens), self.word_dropout, self.training)
        if source.segments is not None:
            rows = Rows(source.segments)
            return Memory(rows.join(self._read(rows.split(x), rows.lengths)), None, source.segments)
        return Memory(self._read(x, source.lengths), source.lengths)

    def _read(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        lengths = padding(lengths, x.size(1))
        places = torch.arange(x.size(1), device=x.device)
        real = x.new_ones(1, x.size(1), 1) if lengths is None else (places < lengths.unsqueeze(1)).unsqueeze(2)
        x = self.dropout(x)
        if self.before is not None:
            x = self.before(x, lengths)
        for number, layer in enumerate(self.layers):
            x = layer((self.dropout(x) if number else x) * real)
        if self.after is not None:
            x = self.after(x, lengths)
        return x * real


def build_convolutional(config: ConvolutionalConfig, vocab_size: int) -> Convolutional:
    """Turn settings into modules."""
    c = config
    layers = [Convolution(c.hidden_dim if i else c.dim, c.hidden_dim, c.width) for i in range(c.num_layers)]
    before = Context(c.dim) if c.attention == "before" else None
    after = Context(c.hidden_dim) if c.attention == "after" else None
    embedding = TokenEmbedding(vocab_size, c.dim)
    return Convolutional(embedding, layers, before, after, c.hidden_dim, c.dropout, c.word_dropout)


PRESETS: dict[str, dict[str, Any]] = {}

AXES = {"width": (3, 1, 5), "num_layers": (1, 2), "attention": ("none", "before", "after")}

ENCODER = EncoderFamily(ConvolutionalConfig, build_convolutional, PRESETS, AXES)
