"""Recurrent encoder-decoders, from one state handed over to attention at every step.

`context` says what the decoder reads of the source beside its first state: nothing (Sutskever 2014), the encoder's
final state or the mean of its outputs, the same at every step (Cho 2014), or what attention finds (Bahdanau 2014,
Luong 2015). All are one decoder with more or fewer inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from onehop.config import Table
from onehop.errors import ConfigError
from onehop.models.registry import Architecture
from onehop.nn.attention import Attention, Bare, Projections
from onehop.nn.attention.record import recorded_as_one
from onehop.nn.attention.regions import build_region, over_a_source
from onehop.nn.attention.scores import build_score
from onehop.nn.attention.selects import SELECTS, build_select
from onehop.nn.dropout import Dropout, word_dropout
from onehop.nn.embedding import TokenEmbedding
from onehop.nn.interfaces import Memory, Source
from onehop.nn.masks import Mask, padding
from onehop.nn.readout import Readout
from onehop.nn.recurrent import Cells, Recurrence
from onehop.nn.rows import Rows, sentences
from onehop.nn.state import KV, State, static

ATTENTION = ("query", "input_feeding", "score", "select", "region", "num_heads", "num_kv_heads")  # need context


class RecurrentConfig(Table):
    """Settings of a recurrent encoder-decoder; the defaults are Bahdanau's decoder, at a size for a processor."""

    dim: int = Field(default=256, ge=1, description="Width of the embeddings and of the readout.")
    hidden_dim: int = Field(default=256, ge=1, description="Width of a recurrent layer, of both directions together.")
    cell: Literal["gru", "lstm", "elman"] = Field(default="gru", description="The recurrence.")
    num_encoder_layers: int = Field(default=1, ge=1, description="Recurrent layers of the encoder.")
    num_decoder_layers: int = Field(default=1, ge=1, description="Recurrent layers of the decoder.")
    bidirectional: bool = Field(default=True, description="Whether the encoder reads in both directions.")
    context: Literal["attention", "mean", "final", "none"] = Field(
        default="attention",
        description="What the decoder reads of the source at every step, beside its first state.",
    )
    query: Literal["previous", "current", "token"] = Field(
        default="previous",
        description="What asks: the state before the step (Bahdanau), the one after it (Luong), or the last token.",
    )
    input_feeding: bool = Field(
        default=False, description="Hand the last readout to the next step; needs query current (Luong)."
    )
    score: Literal["additive", "dot", "scaled_dot", "general", "concat", "location", "cosine"] = Field(
        default="additive", description="How queries and keys compare."
    )
    select: Literal["soft", "sparsemax", "entmax", "straight_through", "gumbel", "hard"] = Field(
        default="soft", description="How scores become weights."
    )
    hard_expected: float = Field(
        default=0.5, ge=0, le=1, description="Share of the rows that hard attention averages in training, not draws."
    )
    gumbel_temperature: float = Field(
        default=1.0, gt=0, le=100, description="Of Gumbel attention's relaxed draw: lower is less biased, and noisier."
    )
    region: Literal["everywhere", "local-m", "local-p", "local-p-rounded"] = Field(
        default="everywhere", description="Where in the source a query may look."
    )
    window: int = Field(default=10, ge=1, description="Positions on either side of a local region's centre.")
    num_heads: int = Field(default=1, ge=1, description="Query heads; one head reads states as they are.")
    num_kv_heads: int | None = Field(
        default=None, ge=1, description="Key/value heads; a divisor of num_heads, its default."
    )
    max_positions: int = Field(default=1024, ge=1, description="Source positions that the score location knows.")
    readout: Literal["tanh", "maxout"] = Field(default="tanh", description="Between the decoder and the vocabulary.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="On embeddings, between layers and on the readout.")
    attention_dropout: float = Field(default=0.0, ge=0, lt=1, description="On the attention weights.")
    word_dropout: float = Field(default=0.0, ge=0, lt=1, description="Of whole words, in both embeddings.")
    tying: Literal["three-way", "target", "none"] | None = Field(
        default=None,
        description="Share source embedding, target embedding and output; default: as much as the vocabularies allow.",
    )
    output_bias: bool = Field(default=False, description="A bias for each token before the softmax.")

    _over_a_source = field_validator("region", mode="before")(over_a_source)

    @model_validator(mode="after")
    def _fits(self) -> RecurrentConfig:
        faults: list[str] = []
        if self.context != "attention":
            fields = RecurrentConfig.model_fields
            unused = [name for name in ATTENTION if getattr(self, name) != fields[name].default]
            if unused:
                named = " and ".join(f"{name}={getattr(self, name)!r}" for name in unused)
                faults.append(f"{named} without attention: use context='attention', or leave it out")
        if self.input_feeding and self.query != "current":
            faults.append(f"input_feeding hands on what was read after a step: use query='current', not {self.query!r}")
        if self.bidirectional and self.hidden_dim % 2:
            faults.append(f"hidden_dim={self.hidden_dim} must be even: each direction takes half")
        if self.hidden_dim % self.num_heads:
            fits = [h for h in range(1, 33) if self.hidden_dim % h == 0]
            faults.append(f"num_heads={self.num_heads} must divide hidden_dim={self.hidden_dim}; use one of {fits}")
        if self.num_heads % (self.num_kv_heads or self.num_heads):
            fits = [g for g in range(1, min(self.num_heads, 64) + 1) if self.num_heads % g == 0]
            faults.append(f"num_kv_heads={self.num_kv_heads} must divide num_heads={self.num_heads}; use one of {fits}")
        if self.query == "token" and self.num_heads == 1 and self.dim != self.hidden_dim:
            faults.append(
                f"query='token' compares embeddings with states: make dim={self.dim} and hidden_dim={self.hidden_dim} "
                "equal, or use more heads"
            )
        if faults:
            raise ValueError("; and ".join(faults))
        return self


@dataclass(frozen=True)
class RecurrentState(State):
    """What the decoder remembers.

    Args:
        beams: Rows for each example.
        cells: Of its layers.
        fed: `(B, D)`, the last readout.
        steps: `(B,)` int64, tokens read.
        memory: What attention reads, if there is any.
        context: `(B, D)`, what every step reads without attention, if anything.
        lengths: `(B,)`, of the source.
        counts: `(B,)`, sentences in each row of a packed source.
    """

    cells: Cells
    fed: Tensor
    steps: Tensor
    memory: KV | None = static()
    context: Tensor | None = static()
    lengths: Tensor = static()
    counts: Tensor | None = static()


class Recurrent(nn.Module):
    """Encoder, decoder, and the vocabulary behind them; built by `build`.

    Args:
        config: What is read when, and dropout.
        embeddings: Of source and target tokens; may be the same module.
        encoder: Over the source.
        decoder: Over the target.
        attention: Over the source; None without.
        readout: From what the decoder has to hidden states.
        output: From hidden states to logits.
    """

    def __init__(
        self,
        config: RecurrentConfig,
        embeddings: tuple[TokenEmbedding, TokenEmbedding],
        encoder: Recurrence,
        decoder: Recurrence,
        attention: Attention | None,
        readout: Readout,
        output: nn.Linear,
    ) -> None:
        super().__init__()
        self.source_embedding, self.target_embedding = embeddings
        self.encoder, self.decoder, self.attention = encoder, decoder, attention
        parts = config.num_decoder_layers * (2 if config.cell == "lstm" else 1)
        self.bridge = nn.Linear(config.hidden_dim, parts * config.hidden_dim)  # s_0 = tanh(W h_N)
        self.readout, self.output = readout, output
        self.dropout, self.word_dropout = Dropout(config.dropout), config.word_dropout
        self.context, self.query, self.feeding = config.context, config.query, config.input_feeding
        self.two_ways = config.bidirectional

    def encode(self, source: Source) -> Memory:
        """Read `source.tokens (B, S)`: states `(B, S, D)`."""
        x = self._embed(self.source_embedding, source.tokens)
        if source.segments is not None:
            rows = Rows(source.segments)
            states, _ = self.encoder(rows.split(x), None, rows.lengths)
            return Memory(rows.join(states), None, source.segments)
        lengths = padding(source.lengths, x.size(1))
        states, _ = self.encoder(x, None, lengths)
        if lengths is not None:
            real = torch.arange(x.size(1), device=x.device) < lengths.unsqueeze(1)
            states = states * real.unsqueeze(2)
        return Memory(states, source.lengths)

    def start(self, memory: Memory) -> RecurrentState:
        """Hand over the encoder's final state, and prepare what every step reads."""
        states, lengths, counts = memory.states, memory.lengths, None
        if memory.segments is not None:
            rows = Rows(memory.segments)
            states, lengths, counts = rows.split(states), rows.lengths, rows.counts
        lengths = Memory(states, lengths).known_lengths()
        final = self._final(states, lengths)
        context = None
        if self.context == "final":
            context = final
        elif self.context == "mean":  # padding is zero
            context = states.sum(1) / lengths.clamp(min=1).unsqueeze(1)
        read = None
        if self.attention is not None:
            read = self.attention.project(
                states, torch.arange(states.size(1), device=states.device).expand(len(states), -1)
            )
        fed = states.new_zeros(len(states), self.readout.dim)
        return RecurrentState(1, self._first(final), fed, torch.zeros_like(lengths), read, context, lengths, counts)

    def decode(
        self, tokens: Tensor, state: RecurrentState, lengths: Tensor | None = None, segments: Tensor | None = None
    ) -> tuple[Tensor, RecurrentState]:
        """Read `tokens (B, T)` after what `state` holds; see `onehop.nn.Decoder`."""
        if segments is None:
            return self._decode(tokens, state, lengths)
        if state.counts is None:
            raise ValueError("packed targets need a packed source and are decoded whole")
        rows = Rows(segments, torch.maximum(state.counts, sentences(segments)))
        hidden, state = self._decode(rows.split(tokens), state, rows.lengths)
        return rows.join(hidden), state

    def logits(self, hidden: Tensor) -> Tensor:
        """Return scores over the target's vocabulary, not normalised."""
        return self.output(hidden)

    def _decode(self, tokens: Tensor, state: RecurrentState, lengths: Tensor | None) -> tuple[Tensor, RecurrentState]:
        width = tokens.size(1)
        y = self._embed(self.target_embedding, tokens)
        positions = state.steps.unsqueeze(1) + torch.arange(width, device=tokens.device)
        read = _Reading(self.attention, state, positions)
        if self.attention is not None and (self.query == "previous" or self.feeding):
            hidden, cells, fed = self._step_by_step(y, state, read, lengths)
        else:
            hidden, cells = self._at_once(y, state, read, lengths)
            fed = state.fed
        after = state.steps + (width if lengths is None else lengths)
        return self.dropout(hidden), RecurrentState(
            state.beams, cells, fed, after, state.memory, state.context, state.lengths, state.counts
        )

    def _at_once(
        self, y: Tensor, state: RecurrentState, read: _Reading, lengths: Tensor | None
    ) -> tuple[Tensor, Cells]:
        """Run the recurrence over the whole chunk: what it reads does not depend on its own states."""
        if self.attention is not None and self.query == "current":
            outputs, cells = self.decoder(y, state.cells, lengths)
            return self.readout(outputs, read(outputs)), cells
        if self.attention is not None:
            given = [y, read(y)]
        elif state.context is not None:
            context = state.context.repeat_interleave(state.beams, 0).unsqueeze(1).expand(-1, y.size(1), -1)
            given = [y, context]
        else:
            given = [y]
        outputs, cells = self.decoder(torch.cat(given, -1), state.cells, lengths)
        return self.readout(outputs, *given), cells

    def _step_by_step(
        self, y: Tensor, state: RecurrentState, read: _Reading, lengths: Tensor | None
    ) -> tuple[Tensor, Cells, Tensor]:
        """Run the recurrence token by token: each step reads where the one before led it."""
        cells, fed, hidden = state.cells, state.fed, list[Tensor]()
        with recorded_as_one(y.size(1)):
            for t, token in enumerate(y.unbind(1)):
                if self.feeding:
                    after = self.decoder.step(torch.cat([token, fed], -1), cells)
                    new = self.readout(after.top, read(after.top, t))
                else:
                    context = read(cells.top, t)
                    after = self.decoder.step(torch.cat([token, context], -1), cells)
                    new = self.readout(after.top, token, context)
                hidden.append(new)
                if lengths is not None:
                    real = t < lengths
                    after, new = after.where(real, cells), torch.where(real.unsqueeze(1), new, fed)
                cells, fed = after, new
        return torch.stack(hidden, 1) if hidden else y, cells, fed

    def _embed(self, embedding: TokenEmbedding, tokens: Tensor) -> Tensor:
        return self.dropout(word_dropout(embedding(tokens), self.word_dropout, self.training))

    def _final(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Return the encoder's final state `(B, D)`: that of each direction after all it read; zeros of nothing."""
        if states.size(1) == 0:
            return states.new_zeros(len(states), states.size(2))
        last = states[torch.arange(len(states), device=states.device), (lengths - 1).clamp(min=0)]
        if not self.two_ways:
            return last
        half = states.size(2) // 2
        return torch.cat([last[:, :half], states[:, 0, half:]], 1)

    def _first(self, final: Tensor) -> Cells:
        parts = self.bridge(final).tanh().to(final.dtype).chunk(self.bridge.out_features // self.bridge.in_features, 1)
        layers = self.decoder.num_layers
        return Cells(tuple(parts[:layers]), tuple(parts[layers:]))


class _Reading:
    """What attention reads for a chunk, all at once or at one step of it."""

    def __init__(self, attention: Attention | None, state: RecurrentState, positions: Tensor) -> None:
        self.attention, self.memory, self.positions = attention, state.memory, positions
        size = 0 if state.memory is None else state.memory.keys.size(2)
        self.mask = Mask(lengths=padding(state.lengths, size))

    def __call__(self, asks: Tensor, step: int | None = None) -> Tensor:
        """Return the context of `asks (B, T, D)`, or of `(B, D)` at `step`, of the same shape."""
        if self.attention is None or self.memory is None:
            raise ValueError("a decoder without attention reads nothing from its source")
        if step is None:
            return self.attention.read(asks, self.memory, self.mask, self.positions)
        where = self.positions[:, step : step + 1]
        return self.attention.read(asks.unsqueeze(1), self.memory, self.mask, where).squeeze(1)


# ------------------------------------------------------------------------------------------------ building


def build_recurrent(config: RecurrentConfig, source_vocab: int, target_vocab: int | None) -> Recurrent:
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
    context = 0 if c.context == "none" else c.hidden_dim
    after = c.context == "attention" and c.query == "current"  # the context is read behind the recurrence
    given = c.dim + ((c.dim if c.input_feeding else 0) if after else context)
    encoder = Recurrence(
        c.cell, c.dim, c.hidden_dim,
        num_layers=c.num_encoder_layers, bidirectional=c.bidirectional, dropout=c.dropout,
    )  # fmt: skip
    decoder = Recurrence(c.cell, given, c.hidden_dim, num_layers=c.num_decoder_layers, dropout=c.dropout)
    readout = Readout(c.hidden_dim + context + (0 if after else c.dim), c.dim, maxout=c.readout == "maxout")
    output = nn.Linear(c.dim, target_vocab or source_vocab, bias=c.output_bias)
    if tying == "none":
        nn.init.normal_(output.weight, std=c.dim**-0.5)
    else:
        output.weight = target.weight
    if output.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
        nn.init.zeros_(output.bias)
    attention = _attention(c) if c.context == "attention" else None
    return Recurrent(c, (source, target), encoder, decoder, attention, readout, output)


def _attention(config: RecurrentConfig) -> Attention:
    c, groups = config, config.num_kv_heads or config.num_heads
    head_dim, asks = c.hidden_dim // c.num_heads, c.dim if c.query == "token" else c.hidden_dim
    single = c.num_heads == 1
    return Attention(
        Bare() if single else Projections(asks, c.hidden_dim, c.num_heads, groups, head_dim, bias=False),
        nn.Identity() if single else nn.Linear(c.hidden_dim, c.hidden_dim, bias=False),
        num_heads=c.num_heads, num_kv_heads=groups,
        score=build_score(c.score, head_dim, c.num_heads, groups, c.max_positions),
        select=build_select(c.select, c.hard_expected, c.gumbel_temperature),
        region=build_region(c.region, asks, c.window), dropout=c.attention_dropout, name="decoder.cross",
    )  # fmt: skip


PRESETS: dict[str, dict[str, Any]] = {
    "rnn-simple": {
        "dim": 1000, "hidden_dim": 1000, "cell": "lstm", "num_encoder_layers": 4, "num_decoder_layers": 4,
        "bidirectional": False, "context": "none",
    },
    "rnn-context": {
        "dim": 500, "hidden_dim": 1000, "bidirectional": False, "context": "final", "readout": "maxout",
    },
    "rnn-search": {"dim": 620, "hidden_dim": 1000, "readout": "maxout"},
    "rnn-luong": {
        "dim": 1000, "hidden_dim": 1000, "cell": "lstm", "num_encoder_layers": 4, "num_decoder_layers": 4,
        "bidirectional": False, "query": "current", "input_feeding": True, "score": "general", "region": "local-p",
        "dropout": 0.2,
    },
}  # fmt: skip

AXES = {
    "cell": ("gru", "lstm", "elman"),
    "context": ("attention", "mean", "final", "none"),
    "query": ("previous", "current", "token"),
    "input_feeding": (False, True),
    "score": ("additive", "dot", "scaled_dot", "general", "concat", "location", "cosine"),
    "select": SELECTS,
    "region": ("everywhere", "local-m", "local-p", "local-p-rounded"),
    "num_heads": (1, 4),
    "num_kv_heads": (None, 1),
    "bidirectional": (True, False),
    "num_decoder_layers": (1, 2),
    "readout": ("tanh", "maxout"),
    "tying": (None, "three-way", "target", "none"),
    "output_bias": (False, True),
}

ARCHITECTURE = Architecture(RecurrentConfig, build_recurrent, PRESETS, AXES)
