"""The Transformer (Vaswani et al. 2017, "Attention Is All You Need"), encoder and decoder.

Post-LN, ReLU, sinusoidal positions and three-way tied embeddings are the paper's and the default. Pre-LN, grouped
queries and untied embeddings are other fillings of the same parts. Reads top-down like figure 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.config import Table
from onehop.errors import ConfigError
from onehop.models.registry import Architecture
from onehop.nn.attention import Attention, Projections
from onehop.nn.attention.scores import build_score
from onehop.nn.block import DecoderBlock, EncoderBlock, Residual
from onehop.nn.dropout import Dropout, word_dropout
from onehop.nn.embedding import TokenEmbedding
from onehop.nn.feedforward import FeedForward
from onehop.nn.interfaces import Memory, Source
from onehop.nn.masks import Mask, padding, places
from onehop.nn.positions import Sinusoidal
from onehop.nn.state import KV, Slots, State, static


class TransformerConfig(Table):
    """Settings of a Transformer; the defaults are the paper's base model."""

    dim: int = Field(default=512, ge=2, description="Width of the model.")
    ffn_dim: int = Field(default=2048, ge=1, description="Width inside the feed-forward network.")
    num_heads: int = Field(default=8, ge=1, description="Query heads; a divisor of dim.")
    num_kv_heads: int | None = Field(
        default=None, ge=1, description="Key/value heads; a divisor of num_heads, its default."
    )
    num_encoder_layers: int = Field(default=6, ge=1, description="Blocks of the encoder.")
    num_decoder_layers: int = Field(default=6, ge=1, description="Blocks of the decoder.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="On embeddings and on every sublayer's output.")
    attention_dropout: float = Field(default=0.0, ge=0, lt=1, description="On the attention weights.")
    activation_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Inside the feed-forward network, behind its activation."
    )
    word_dropout: float = Field(default=0.0, ge=0, lt=1, description="Of whole words, in both embeddings.")
    norm: Literal["post", "pre"] = Field(
        default="post", description="Normalise the sum (Vaswani) or what a sublayer reads (Xiong)."
    )
    tying: Literal["three-way", "target", "none"] | None = Field(
        default=None,
        description="Share source embedding, target embedding and output; default: as much as the vocabularies allow.",
    )
    positions: Literal["sinusoidal", "none"] = Field(default="sinusoidal", description="Added to the embeddings.")
    score: Literal["scaled_dot", "dot"] = Field(default="scaled_dot", description="How queries and keys compare.")
    final_norm: bool | None = Field(
        default=None, description="Normalise the output of each stack; default: where norm is pre."
    )
    attention_bias: bool = Field(default=False, description="Biases in the attention's projections.")
    output_bias: bool = Field(default=False, description="A bias for each token before the softmax.")

    @model_validator(mode="after")
    def _fits(self) -> TransformerConfig:
        faults: list[str] = []
        if self.dim % 2:
            faults.append(f"dim={self.dim} must be even")
        if self.dim % self.num_heads:
            fits = [h for h in range(1, 33) if self.dim % h == 0]
            faults.append(f"num_heads={self.num_heads} must divide dim={self.dim}; use one of {fits}")
        if self.num_heads % (self.num_kv_heads or self.num_heads):
            fits = [g for g in range(1, min(self.num_heads, 64) + 1) if self.num_heads % g == 0]
            faults.append(f"num_kv_heads={self.num_kv_heads} must divide num_heads={self.num_heads}; use one of {fits}")
        if faults:
            raise ValueError("; and ".join(faults))
        return self


@dataclass(frozen=True)
class TransformerState(State):
    """What the decoder remembers.

    Args:
        beams: Rows for each example.
        cache: Keys and values of the target so far, one for each layer.
        slots: How much of the cache is filled.
        memory: Projected source, one for each layer.
        lengths: `(B,)`, of the source.
        segments: `(B, S)`, of a packed source.
    """

    cache: tuple[KV, ...]
    slots: Slots
    memory: tuple[KV, ...] = static()
    lengths: Tensor = static()
    segments: Tensor | None = static()


class Transformer(nn.Module):
    """Encoder, decoder, and the vocabulary behind them; built by `build`.

    Args:
        source_embedding: Of source tokens.
        target_embedding: Of target tokens; may be the same module.
        positions: Codes added to both; None for none.
        encoder: Blocks, and a last normalisation or identity.
        decoder: The same.
        output: From hidden states to logits.
        dropout: On the embeddings, with their positions; and of whole words.
    """

    def __init__(
        self,
        source_embedding: TokenEmbedding,
        target_embedding: TokenEmbedding,
        positions: Sinusoidal | None,
        encoder: tuple[list[EncoderBlock], nn.Module],
        decoder: tuple[list[DecoderBlock], nn.Module],
        output: nn.Linear,
        dropout: tuple[float, float],
    ) -> None:
        super().__init__()
        self.source_embedding, self.target_embedding, self.positions = (
            source_embedding,
            target_embedding,
            positions,
        )
        self.encoder = cast("Sequence[EncoderBlock]", nn.ModuleList(encoder[0]))
        self.decoder = cast("Sequence[DecoderBlock]", nn.ModuleList(decoder[0]))
        self.encoder_norm, self.decoder_norm = encoder[1], decoder[1]
        self.output, self.dropout, self.word_dropout = output, Dropout(dropout[0]), dropout[1]

    def encode(self, source: Source) -> Memory:
        """Read `source.tokens (B, S)`: states `(B, S, D)`."""
        tokens = source.tokens
        where = _positions(tokens, source.segments)
        mask = _source_mask(source.lengths, source.segments, source.segments, tokens.size(1))
        x = self._embed(self.source_embedding, tokens, where)
        for block in self.encoder:
            x = block(x, mask, where)
        return Memory(self.encoder_norm(x), source.lengths, source.segments)

    def start(self, memory: Memory) -> TransformerState:
        """Project the source once for each layer."""
        where, lengths = _positions(memory.states[..., 0], memory.segments), memory.known_lengths()
        read = tuple(block.cross.project(memory.states, where) for block in self.decoder)
        head_dim, groups = read[0].keys.size(3), read[0].keys.size(1)
        empty = memory.states.new_empty(len(lengths), groups, 0, head_dim)
        past = tuple(KV(empty, empty) for _ in self.decoder)
        return TransformerState(1, past, Slots(torch.zeros_like(lengths)), read, lengths, memory.segments)

    def decode(
        self,
        tokens: Tensor,
        state: TransformerState,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> tuple[Tensor, TransformerState]:
        """Read `tokens (B, T)` after what `state` holds; see `onehop.nn.Decoder`."""
        width, slots = tokens.size(1), state.slots
        if segments is None:
            where = slots.lengths.unsqueeze(1) + torch.arange(width, device=tokens.device)
        else:
            where = _positions(tokens, segments)
        after = slots.advance(width, lengths)
        masks = self._masks(state, tokens.size(1), segments)
        x = self._embed(self.target_embedding, tokens, where)
        cache: list[KV] = []
        for block, past, memory in zip(self.decoder, state.cache, state.memory, strict=True):
            x, past = block(x, past, slots, memory, masks, where)
            cache.append(past)
        state = TransformerState(state.beams, tuple(cache), after, state.memory, state.lengths, state.segments)
        return self.decoder_norm(x), state

    def logits(self, hidden: Tensor) -> Tensor:
        """Return scores over the target's vocabulary, not normalised."""
        return self.output(hidden)

    def _embed(self, embedding: TokenEmbedding, tokens: Tensor, where: Tensor) -> Tensor:
        x = word_dropout(embedding(tokens), self.word_dropout, self.training)
        return self.dropout(x if self.positions is None else x + self.positions(where))

    def _masks(self, state: TransformerState, width: int, segments: Tensor | None) -> tuple[Mask, Mask]:
        """Masks of self-attention and of cross-attention for a chunk."""
        slots, size = state.slots, state.memory[0].keys.size(2)
        if segments is not None:
            if slots.size or state.segments is None:
                raise ValueError("packed targets need a packed source and are decoded whole")
            own = Mask(causal=True, segments=(segments, segments))
            return own, Mask(segments=(segments, state.segments))
        own = Mask(causal=True, start=slots.lengths) if slots.ragged else Mask(causal=True, size=slots.size)
        return own, _source_mask(state.lengths, None, state.segments, size)


def _positions(tokens: Tensor, segments: Tensor | None) -> Tensor:
    """Count from 0 in each row, or in each segment of a packed one."""
    if segments is not None:
        return places(segments)
    return torch.arange(tokens.size(1), device=tokens.device).expand(tokens.shape[:2])


def _source_mask(lengths: Tensor | None, queries: Tensor | None, keys: Tensor | None, size: int) -> Mask:
    if queries is not None and keys is not None:
        return Mask(segments=(queries, keys))
    return Mask(lengths=padding(lengths, size))


# ------------------------------------------------------------------------------------------------ building


def build_transformer(config: TransformerConfig, source_vocab: int, target_vocab: int | None) -> Transformer:
    """Turn settings into modules. `target_vocab` None: both sides share one vocabulary."""
    c, joint = config, target_vocab is None
    tying = c.tying or ("three-way" if joint else "target")
    if tying == "three-way" and not joint:
        raise ConfigError(
            "three-way tying needs one vocabulary for both sides",
            'Set text.joint = true, or model.tying = "target".',
            "model.tying",
        )
    source = TokenEmbedding(source_vocab, c.dim)
    target = source if tying == "three-way" else TokenEmbedding(target_vocab or source_vocab, c.dim)
    final = c.norm == "pre" if c.final_norm is None else c.final_norm
    encoder = [_encoder_block(c, f"encoder.{i}") for i in range(c.num_encoder_layers)]
    decoder = [_decoder_block(c, f"decoder.{i}") for i in range(c.num_decoder_layers)]
    output = nn.Linear(c.dim, target_vocab or source_vocab, bias=c.output_bias)
    for block in [*encoder, *decoder]:
        block.apply(_initialise)
        if c.norm == "post":
            block.apply(_quieten)
    if tying == "none":
        nn.init.normal_(output.weight, std=c.dim**-0.5)
    else:
        output.weight = target.weight
    if output.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
        nn.init.zeros_(output.bias)
    return Transformer(
        source, target, Sinusoidal(c.dim) if c.positions == "sinusoidal" else None,
        (encoder, _norm(c, final)), (decoder, _norm(c, final)), output, (c.dropout, c.word_dropout),
    )  # fmt: skip


def _norm(config: TransformerConfig, wanted: bool) -> nn.Module:
    return nn.LayerNorm(config.dim) if wanted else nn.Identity()


def _residual(config: TransformerConfig) -> Residual:
    return Residual(_norm(config, config.norm == "pre"), _norm(config, config.norm == "post"), config.dropout)


def _attention(config: TransformerConfig, name: str) -> Attention:
    c, head_dim = config, config.dim // config.num_heads
    groups = c.num_kv_heads or c.num_heads
    return Attention(
        Projections(c.dim, c.dim, c.num_heads, groups, head_dim, bias=c.attention_bias),
        nn.Linear(c.num_heads * head_dim, c.dim, bias=c.attention_bias),
        num_heads=c.num_heads,
        num_kv_heads=groups,
        score=build_score(c.score, head_dim),
        dropout=c.attention_dropout,
        name=name,
    )


def _encoder_block(config: TransformerConfig, name: str) -> EncoderBlock:
    feedforward = FeedForward(config.dim, config.ffn_dim, F.relu, config.activation_dropout)
    return EncoderBlock(_attention(config, f"{name}.self"), feedforward, (_residual(config), _residual(config)))


def _decoder_block(config: TransformerConfig, name: str) -> DecoderBlock:
    own, cross = _attention(config, f"{name}.self"), _attention(config, f"{name}.cross")
    feedforward = FeedForward(config.dim, config.ffn_dim, F.relu, config.activation_dropout)
    return DecoderBlock(own, cross, feedforward, (_residual(config), _residual(config), _residual(config)))


def _initialise(module: nn.Module) -> None:
    """Draw linear maps as Glorot 2010, uniformly; biases start at zero."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
            nn.init.zeros_(module.bias)


def _quieten(module: nn.Module) -> None:
    """Draw what a sublayer adds smaller than Glorot does.

    Post-LN halves the residual stream's share at each sublayer, and gradients with it, if a sublayer adds as much as
    it read (Liu 2020, "Understanding the Difficulty of Training Transformers"). On Multi30k, 4 + 4 layers are after
    800 updates at a loss of 3.04 instead of 4.03, and learn to look at the source at all.
    """
    if isinstance(module, Projections):
        for each in (module.query, module.key, module.value):
            nn.init.xavier_uniform_(each.weight, gain=2**-0.5)
    elif isinstance(module, FeedForward):
        for each in (module.up, module.down):
            nn.init.uniform_(each.weight, -(each.in_features**-0.5), each.in_features**-0.5)


PRESETS = {
    "transformer-base": {},
    "transformer-big": {"dim": 1024, "ffn_dim": 4096, "num_heads": 16, "dropout": 0.3},
    "transformer-tiny": {
        "dim": 128, "ffn_dim": 256, "num_heads": 4, "num_encoder_layers": 4, "num_decoder_layers": 4, "dropout": 0.3,
    },
}  # fmt: skip

AXES = {
    "norm": ("post", "pre"),
    "tying": (None, "three-way", "target", "none"),
    "positions": ("sinusoidal", "none"),
    "score": ("scaled_dot", "dot"),
    "num_kv_heads": (None, 2, 1),
    "num_decoder_layers": (2, 1),
    "final_norm": (None, True, False),
    "attention_bias": (False, True),
    "output_bias": (False, True),
}

ARCHITECTURE = Architecture(TransformerConfig, build_transformer, PRESETS, AXES)
