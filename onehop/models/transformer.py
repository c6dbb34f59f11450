"""The Transformer (Vaswani et al. 2017, "Attention Is All You Need"), encoder and decoder.

Post-LN, ReLU, sinusoidal positions and three-way tied embeddings are the paper's and the default. Everything later,
from grouped queries to rotary positions, is another filling of the same parts. Reads top-down like figure 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from onehop.errors import ConfigError
from onehop.models.registry import Architecture
from onehop.models.transformer_config import AXES, PRESETS, TransformerConfig
from onehop.nn.attention import Attention, Projections
from onehop.nn.attention.regions import build_region
from onehop.nn.attention.scores import Score, build_score
from onehop.nn.attention.selects import build_select
from onehop.nn.block import DecoderBlock, EncoderBlock, Residual
from onehop.nn.dropout import Dropout, word_dropout
from onehop.nn.embedding import TokenEmbedding
from onehop.nn.feedforward import FeedForward, GatedFeedForward, build_feedforward
from onehop.nn.interfaces import Memory, Source
from onehop.nn.masks import Mask, padding, places
from onehop.nn.positions import Learned, Sinusoidal
from onehop.nn.relative import Alibi, BucketBias, ShawRelative
from onehop.nn.rotary import Rotary, Turned
from onehop.nn.state import KV, Slots, State, static


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
        relative: What distances add to the scores of encoder and decoder, for all layers; None for nothing.
        window: Positions on either side that self-attention reads; None for all.
        encoder: Blocks, and a last normalisation or identity.
        decoder: The same.
        output: From hidden states to logits.
        dropout: On the embeddings, with their positions; and of whole words.
    """

    def __init__(
        self,
        source_embedding: TokenEmbedding,
        target_embedding: TokenEmbedding,
        positions: Sinusoidal | Learned | None,
        relative: tuple[nn.Module | None, nn.Module | None],
        window: int | None,
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
        self.encoder_relative, self.decoder_relative = relative
        self.window = window
        self.encoder = cast("Sequence[EncoderBlock]", nn.ModuleList(encoder[0]))
        self.decoder = cast("Sequence[DecoderBlock]", nn.ModuleList(decoder[0]))
        self.encoder_norm, self.decoder_norm = encoder[1], decoder[1]
        self.output, self.dropout, self.word_dropout = output, Dropout(dropout[0]), dropout[1]

    def encode(self, source: Source) -> Memory:
        """Read `source.tokens (B, S)`: states `(B, S, D)`."""
        x = word_dropout(self.source_embedding(source.tokens), self.word_dropout, self.training)
        return self.contextualize(x, source)

    def contextualize(self, x: Tensor, source: Source) -> Memory:
        """Let vectors `x (B, S, D)` read each other: the encoder behind its embeddings, whatever it is that they embed.

        Args:
            x: Embedded positions, not knowing where they stand.
            source: Whose lengths or segments they have.
        """
        size, segments, where = x.size(1), source.segments, _positions(x, source.segments)
        if segments is None:
            mask = Mask(lengths=padding(source.lengths, size), window=self.window)
        else:
            mask = Mask(segments=(segments, segments), window=self.window)
        mask = self._with_distances(self.encoder_relative, mask, size, size)
        x = self._placed(x, where)
        for block in self.encoder:
            x = block(x, mask, where)
        return Memory(self.encoder_norm(x), source.lengths, source.segments)

    def start(self, memory: Memory) -> TransformerState:
        """Project the source once for each layer."""
        where, lengths = _positions(memory.states[..., 0], memory.segments), memory.known_lengths()
        read = tuple(block.cross.project(memory.states, where) for block in self.decoder)
        own = self.decoder[0].attention
        empty = memory.states.new_empty(len(lengths), own.num_kv_heads, 0, memory.states.size(2) // own.num_heads)
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
        return self._placed(word_dropout(embedding(tokens), self.word_dropout, self.training), where)

    def _placed(self, x: Tensor, where: Tensor) -> Tensor:
        return self.dropout(x if self.positions is None else x + self.positions(where))

    def _with_distances(self, relative: nn.Module | None, mask: Mask, T: int, S: int) -> Mask:
        """Return the mask with what distances add, once for all layers."""
        like = self.output.weight.detach()  # torch's counter of operations fails on modules that are given a leaf
        return mask if relative is None else mask.with_bias(relative(mask, T, S, like))

    def _masks(self, state: TransformerState, width: int, segments: Tensor | None) -> tuple[Mask, Mask]:
        """Masks of self-attention and of cross-attention for a chunk."""
        slots, size = state.slots, state.memory[0].keys.size(2)
        if segments is not None:
            if slots.size or state.segments is None:
                raise ValueError("packed targets need a packed source and are decoded whole")
            own = Mask(causal=True, segments=(segments, segments), window=self.window)
            own = self._with_distances(self.decoder_relative, own, width, width)
            return own, Mask(segments=(segments, state.segments))
        if slots.ragged:
            own = Mask(causal=True, start=slots.lengths, window=self.window)
        else:
            own = Mask(causal=True, size=slots.size, window=self.window)
        own = self._with_distances(self.decoder_relative, own, width, slots.size + width)
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
        source, target, _codes(c), (_relative(c, causal=False), _relative(c, causal=True)), c.window,
        (encoder, _norm(c, final)), (decoder, _norm(c, final)), output, (c.dropout, c.word_dropout),
    )  # fmt: skip


def _codes(config: TransformerConfig) -> Sinusoidal | Learned | None:
    if config.positions == "learned":
        return Learned(config.max_positions, config.dim)
    return Sinusoidal(config.dim) if config.positions == "sinusoidal" else None


def _relative(config: TransformerConfig, *, causal: bool) -> nn.Module | None:
    if config.positions == "alibi":
        return Alibi(config.num_heads)
    return BucketBias(config.num_heads, causal=causal) if config.positions == "t5" else None


def _norm(config: TransformerConfig, wanted: bool) -> nn.Module:
    if not wanted:
        return nn.Identity()
    return nn.RMSNorm(config.dim, eps=1e-6) if config.normalise == "rms" else nn.LayerNorm(config.dim)


def _residual(config: TransformerConfig) -> Residual:
    return Residual(_norm(config, config.norm == "pre"), _norm(config, config.norm == "post"), config.dropout)


def _self_attention(config: TransformerConfig, name: str, own_groups: int | None) -> Attention:
    c, groups, head_dim = config, config.groups(own_groups), config.dim // config.num_heads
    score, relative = build_score(c.score, head_dim, c.num_heads, groups, c.max_positions), None
    if c.positions == "rotary":
        turn = Rotary(head_dim, base=c.rotary_base, factor=c.rotary_factor, scaling=c.rotary_scaling)
        score = Score(Turned(score.query_map, turn), Turned(score.key_map, turn), scale=score.scale)
    elif c.positions == "shaw":
        relative = ShawRelative(head_dim, score.scale or 1.0)
    return Attention(
        *_maps(c, groups), num_heads=c.num_heads, num_kv_heads=groups, score=score,
        select=build_select(c.select, temperature=c.gumbel_temperature), relative=relative, dropout=c.attention_dropout,
        name=name,
    )  # fmt: skip


def _cross_attention(config: TransformerConfig, name: str) -> Attention:
    c, groups, head_dim = config, config.groups(config.cross_kv_heads), config.dim // config.num_heads
    return Attention(
        *_maps(c, groups), num_heads=c.num_heads, num_kv_heads=groups,
        score=build_score(c.cross_score or c.score, head_dim, c.num_heads, groups, c.max_positions),
        select=build_select(c.cross_select or c.select, c.hard_expected, c.gumbel_temperature),
        region=build_region(c.cross_region, c.dim, c.cross_window),
        dropout=c.attention_dropout, name=name,
    )  # fmt: skip


def _maps(config: TransformerConfig, groups: int) -> tuple[Projections, nn.Linear]:
    c, head_dim = config, config.dim // config.num_heads
    projections = Projections(c.dim, c.dim, c.num_heads, groups, head_dim, bias=c.attention_bias)
    return projections, nn.Linear(c.num_heads * head_dim, c.dim, bias=c.attention_bias)


def _encoder_block(config: TransformerConfig, name: str) -> EncoderBlock:
    c = config
    feedforward = build_feedforward(c.activation, c.dim, c.ffn_dim, c.activation_dropout)
    own = _self_attention(c, f"{name}.self", c.encoder_kv_heads)
    return EncoderBlock(own, feedforward, (_residual(c), _residual(c)))


def _decoder_block(config: TransformerConfig, name: str) -> DecoderBlock:
    c = config
    own, cross = _self_attention(c, f"{name}.self", c.decoder_kv_heads), _cross_attention(c, f"{name}.cross")
    feedforward = build_feedforward(c.activation, c.dim, c.ffn_dim, c.activation_dropout)
    return DecoderBlock(own, cross, feedforward, (_residual(c), _residual(c), _residual(c)))


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
    elif isinstance(module, FeedForward | GatedFeedForward):
        for each in (child for child in module.children() if isinstance(child, nn.Linear)):
            nn.init.uniform_(each.weight, -(each.in_features**-0.5), each.in_features**-0.5)


ARCHITECTURE = Architecture(TransformerConfig, build_transformer, PRESETS, AXES)
