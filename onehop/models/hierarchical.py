"""The hierarchical attention network (Yang et al. 2016, "Hierarchical Attention Networks for Document Classification").

Words are read in both directions, and a learned query makes a vector of each sentence of them; the sentences are read
in both directions, and another query makes a vector of the document. The second query is the pooling `attention` that
follows every encoder, so this file ends with the states of the sentences. Reads top-down like section 2.2.

The sentences of a document are the segments of its one row of tokens, and both levels are the one attention of Onehop.
Where it is recorded, sentences read the whole row: `record["encoder.words"]` is `(B, 1, sentences, tokens)`, each row
the weights of a sentence's own words, and zero elsewhere.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from onehop.config import Table
from onehop.models.encoders import EncoderFamily
from onehop.models.recurrent_encoder import read
from onehop.nn.attention.record import subscriber
from onehop.nn.dropout import Dropout, word_dropout
from onehop.nn.embedding import TokenEmbedding
from onehop.nn.interfaces import Memory, Source
from onehop.nn.masks import Mask
from onehop.nn.pooling import AttentionPooling
from onehop.nn.recurrent import Recurrence
from onehop.nn.rows import Rows, sentences


class HierarchicalConfig(Table):
    """Settings of a hierarchical attention network; the defaults are a size for a processor."""

    dim: int = Field(default=128, ge=1, description="Width of the embeddings.")
    hidden_dim: int = Field(default=128, ge=2, description="Width of both levels, of both directions together; even.")
    attention_dim: int = Field(default=100, ge=1, description="Width of the query that reads words.")
    cell: Literal["gru", "lstm", "elman"] = Field(default="gru", description="The recurrence of both levels.")
    dropout: float = Field(default=0.2, ge=0, lt=1, description="On embeddings and on the vectors of sentences.")
    word_dropout: float = Field(default=0.0, ge=0, lt=1, description="Of whole words, in the embeddings.")

    @model_validator(mode="after")
    def _fits(self) -> HierarchicalConfig:
        if self.hidden_dim % 2:
            raise ValueError(f"hidden_dim={self.hidden_dim} must be even: each direction takes half")
        return self


class Hierarchical(nn.Module):
    """Words to sentences, sentences to the states that the document is read from.

    Args:
        embedding: Of tokens.
        words: Over the words of each sentence by itself.
        attention: From words to a sentence.
        sentences: Over the sentences of a document.
        dim: Width of both levels.
        dropout: On embeddings and on the vectors of sentences.
        word_dropout: Of whole words.
    """

    unit = "sentences"
    two_ways = True

    def __init__(
        self, embedding: TokenEmbedding, words: Recurrence, attention: AttentionPooling, sentences: Recurrence,
        dim: int, dropout: float, word_dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding, self.words, self.attention, self.sentences = embedding, words, attention, sentences
        self.dim, self.dropout, self.word_dropout = dim, Dropout(dropout), word_dropout

    def encode(self, source: Source) -> Memory:
        """Read `source.tokens (B, S)`, of which `source.segments` tells the sentences: states `(B, sentences, D)`."""
        segments = one_sentence(source) if source.segments is None else source.segments
        vectors, counts = self.read_words(source.tokens, segments), sentences(segments)
        return Memory(read(self.sentences, self.dropout(vectors), counts), counts)

    def read_words(self, tokens: Tensor, segments: Tensor) -> Tensor:
        """Return a vector for each sentence, `(B, sentences, D)`; zeros behind a document's last."""
        x = self.dropout(word_dropout(self.embedding(tokens), self.word_dropout, self.training))
        rows = Rows(segments)
        h = self.words(rows.split(x), None, rows.lengths)[0]  # h_it, each sentence from zeros
        count = int(rows.counts.max()) if len(segments) else 0
        asks = torch.arange(count, device=tokens.device).expand(len(tokens), count)
        real = asks < rows.counts.unsqueeze(1)
        if subscriber(self.attention.attention.name) is None:  # each sentence by itself: scores of its own words alone
            vectors = self.attention(h, rows.lengths)
            return vectors.new_zeros(*real.shape, h.size(2)).index_put(real.nonzero(as_tuple=True), vectors)  # s_i
        asks = torch.where(real, asks, -1)
        return self.attention.read(rows.join(h), Mask(segments=(asks, segments)), count)


def one_sentence(source: Source) -> Tensor:
    """Return the segments of rows that are one sentence each."""
    places = torch.arange(source.tokens.size(1), device=source.tokens.device).expand(source.tokens.shape)
    real = places >= 0 if source.lengths is None else places < source.lengths.unsqueeze(1)
    return torch.where(real, 0, -1)


def build_hierarchical(config: HierarchicalConfig, vocab_size: int) -> Hierarchical:
    """Turn settings into modules."""
    c = config
    return Hierarchical(
        TokenEmbedding(vocab_size, c.dim),
        Recurrence(c.cell, c.dim, c.hidden_dim, bidirectional=True),
        AttentionPooling(c.hidden_dim, c.attention_dim, "encoder.words"),
        Recurrence(c.cell, c.hidden_dim, c.hidden_dim, bidirectional=True),
        c.hidden_dim,
        c.dropout,
        c.word_dropout,
    )


PRESETS: dict[str, dict[str, Any]] = {"han": {"dim": 200, "hidden_dim": 100, "attention_dim": 100}}

AXES = {"cell": ("gru", "lstm", "elman")}

ENCODER = EncoderFamily(HierarchicalConfig, build_hierarchical, PRESETS, AXES, unit="sentences")
