"""ModernBERT (Warner et al. 2024, "Smarter, Better, Faster, Longer").

BERT's task with what later Transformers learned: pre-LN, rotary positions, a gated feed-forward network, no biases.
Every third layer reads the whole text, the others 64 positions on either side and with a faster rotation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator
from torch import nn

from onehop.config import Table
from onehop.errors import ModelError
from onehop.models.bert import labels, uses
from onehop.models.body import ACTIVATIONS, BidirectionalEncoder, Embeddings, MaskedHead, Transform, initialise_encoder
from onehop.models.checkpoint import Head, Layout
from onehop.models.encoders import EncoderFamily
from onehop.models.hf_config import (
    activation,
    activation_name,
    read_names,
    refuse_unlike,
    wanted,
    whole,
    write_names,
)
from onehop.models.keys import Key, joined, linear, turned
from onehop.nn.attention import Attention, Projections, Score
from onehop.nn.attention.scores import unchanged
from onehop.nn.block import EncoderBlock, Residual
from onehop.nn.feedforward import GatedFeedForward
from onehop.nn.rotary import Rotary, Turned


class ModernBertConfig(Table):
    """Settings of a ModernBERT; the defaults are its base model."""

    dim: int = Field(default=768, ge=2, description="Width of the model.")
    ffn_dim: int = Field(default=1152, ge=1, description="Width inside the gated feed-forward network.")
    num_heads: int = Field(default=12, ge=1, description="Heads; each must have an even width.")
    num_layers: int = Field(default=22, ge=1, description="Blocks.")
    max_positions: int = Field(default=8192, ge=1, description="Most tokens of a text, marks included.")
    window: int = Field(default=64, ge=1, description="Positions on either side that a local layer reads.")
    global_every: int = Field(default=3, ge=1, description="Layers 0, 3, 6 ... read the whole text.")
    global_base: float = Field(default=160_000.0, gt=1, description="Of the slowest rotation, in layers that read all.")
    local_base: float = Field(default=10_000.0, gt=1, description="The same in local layers.")
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = Field(default="gelu", description="Of the gate.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="On embeddings and inside the feed-forward network.")
    attention_dropout: float = Field(default=0.0, ge=0, lt=1, description="On the attention weights and its output.")
    norm_eps: float = Field(default=1e-5, gt=0, description="Added to the variance in normalisations.")

    @model_validator(mode="after")
    def _fits(self) -> ModernBertConfig:
        if self.dim % (2 * self.num_heads):
            fits = [h for h in range(1, 33) if self.dim % (2 * h) == 0]
            raise ValueError(
                f"num_heads={self.num_heads} must divide dim={self.dim} into even widths; use one of {fits}"
            )
        return self


def build_modernbert(config: ModernBertConfig, vocab_size: int) -> BidirectionalEncoder:
    """Turn settings into modules."""
    c = config
    embeddings = Embeddings(nn.Embedding(vocab_size, c.dim), None, None, norm(c), nn.Identity(), c.dropout)
    windows = [c.window if i % c.global_every else None for i in range(c.num_layers)]
    blocks = [_block(c, i, window) for i, window in enumerate(windows)]
    return initialise_encoder(BidirectionalEncoder(embeddings, blocks, windows, norm(c), c.dim, c.max_positions))


def norm(config: ModernBertConfig) -> nn.LayerNorm:
    """Return a normalisation without bias."""
    return nn.LayerNorm(config.dim, config.norm_eps, bias=False)


def _block(config: ModernBertConfig, number: int, window: int | None) -> EncoderBlock:
    c, head_dim = config, config.dim // config.num_heads
    turn = Rotary(head_dim, base=c.global_base if window is None else c.local_base)
    attention = Attention(
        Projections(c.dim, c.dim, c.num_heads, c.num_heads, head_dim, bias=False), nn.Linear(c.dim, c.dim, bias=False),
        num_heads=c.num_heads, num_kv_heads=c.num_heads,
        score=Score(Turned(unchanged, turn), Turned(unchanged, turn), scale=head_dim**-0.5),
        dropout=c.attention_dropout, name=f"encoder.{number}.self",
    )  # fmt: skip
    feedforward = GatedFeedForward(c.dim, c.ffn_dim, ACTIVATIONS[c.activation], c.dropout, bias=False)
    first = nn.Identity() if number == 0 else norm(c)  # the embeddings are normalised already
    residuals = Residual(first, nn.Identity(), c.attention_dropout), Residual(norm(c), nn.Identity(), 0.0)
    return EncoderBlock(attention, feedforward, residuals)


PRESETS: dict[str, dict[str, Any]] = {
    "modernbert-base": {},
    "modernbert-large": {"dim": 1024, "ffn_dim": 2624, "num_heads": 16, "num_layers": 28},
}

AXES = {
    "activation": ("gelu", "gelu_tanh", "relu", "silu"),
    "global_every": (3, 2, 1),
    "window": (2, 64),
}

ENCODER = EncoderFamily(ModernBertConfig, build_modernbert, PRESETS, AXES)

# ------------------------------------------------------------------------------------------------ checkpoints

NAMES = {
    "dim": "hidden_size", "ffn_dim": "intermediate_size", "num_heads": "num_attention_heads",
    "num_layers": "num_hidden_layers", "max_positions": "max_position_embeddings", "dropout": "embedding_dropout",
    "attention_dropout": "attention_dropout", "norm_eps": "norm_eps",
}  # fmt: skip
FIXED = {
    "attention_bias": False, "mlp_bias": False, "norm_bias": False, "decoder_bias": True, "classifier_bias": False,
    "classifier_activation": "gelu", "tie_word_embeddings": True,
}  # fmt: skip


def read_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return our settings from a `config.json`, of transformers 5 or before.

    Raises:
        ModelError: It asks for what this model does not do.
    """
    refuse_unlike(config, FIXED)
    bases = config.get("rope_parameters") or {}
    for kind, parameters in bases.items():
        refuse_unlike(parameters, {"rope_type": "default"}, f"rope_parameters.{kind}.")
    return {
        **read_names(config, NAMES, {"dropout": 0.0, "attention_dropout": 0.0, "norm_eps": 1e-5}),
        "window": whole(config, "local_attention", 128) // 2,
        "global_every": _global_every(config),
        "global_base": float(_base(bases, "full_attention", wanted(config, "global_rope_theta", 160_000.0))),
        "local_base": float(_base(bases, "sliding_attention", wanted(config, "local_rope_theta", 10_000.0))),
        "activation": activation(config, "hidden_activation"),
    }


def _base(bases: Mapping[str, Any], kind: str, default: float) -> float:
    return bases.get(kind, {}).get("rope_theta", default)


def _global_every(config: Mapping[str, Any]) -> int:
    """Return the distance between layers that read everything."""
    layers = config.get("layer_types")
    if not layers:
        return wanted(config, "global_attn_every_n_layers", 3)
    full = [i for i, kind in enumerate(layers) if kind == "full_attention"]
    every = full[1] if len(full) > 1 else len(layers)
    if layers != _layer_types(len(layers), every):
        raise ModelError("layer_types that follow no rule", "Use a checkpoint of ModernBERT.", "config.json")
    return every


def _layer_types(num_layers: int, every: int) -> list[str]:
    return ["sliding_attention" if i % every else "full_attention" for i in range(num_layers)]


def write_config(config: ModernBertConfig) -> dict[str, Any]:
    """Return the keys of a `config.json`, for transformers 5 and before: the inverse of `read_config`."""
    c = config
    bases = {"full_attention": c.global_base, "sliding_attention": c.local_base}
    return {
        **write_names(c, NAMES),
        "local_attention": 2 * c.window, "global_attn_every_n_layers": c.global_every,
        "layer_types": _layer_types(c.num_layers, c.global_every),
        "global_rope_theta": c.global_base, "local_rope_theta": c.local_base,
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()},
        "hidden_activation": activation_name(c.activation), "mlp_dropout": c.dropout, **FIXED,
    }  # fmt: skip


def encoder_keys(config: ModernBertConfig) -> list[Key]:
    """Return the key table of the encoder."""
    maps = tuple(f"blocks.{{}}.attention.projections.{name}.weight" for name in ("query", "key", "value"))
    gated = tuple(f"blocks.{{}}.feedforward.{name}.weight" for name in ("gate", "up"))
    names = {
        "attn.Wo": "attention.out",
        "mlp_norm": "feedforward_residual.before",
        "mlp.Wo": "feedforward.down",
    }
    return [
        Key("embeddings.tok_embeddings.weight", ("embeddings.tokens.weight",)),
        *linear("embeddings.norm", "embeddings.norm", bias=False),
        *(key for a, b in names.items() for key in linear(f"layers.{{}}.{a}", f"blocks.{{}}.{b}", bias=False)),
        *(
            Key(f"layers.{i}.attn_norm.weight", (f"blocks.{i}.attention_residual.before.weight",))
            for i in range(1, config.num_layers)
        ),
        Key("layers.{}.attn.Wqkv.weight", maps, turned(config.num_heads)),
        Key("layers.{}.mlp.Wi.weight", gated, joined(2)),
        *linear("final_norm", "norm", bias=False),
    ]


def head_transform(config: ModernBertConfig) -> Transform:
    """Return the map that every head begins with."""
    return Transform(config.dim, config.dim, "gelu", norm(config), bias=False)


SENTENCE = [*linear("head.dense", "linear", bias=False), *linear("head.norm", "norm", bias=False)]
EACH = [Key(key.theirs, (f"0.{key.ours[0]}",)) for key in SENTENCE]


def _each(outputs: int | None = None) -> Head:
    """Return a head on each state."""
    return Head(
        lambda c, encoder, count: nn.Sequential(head_transform(c), nn.Linear(c.dim, outputs or count)),
        [*EACH, *linear("classifier", "1")],
    )


LAYOUT = Layout(
    architecture="modernbert",
    classes={"modernbert": "ModernBert"},
    prefix="model.",
    read=read_config,
    write=write_config,
    sentence=("sentence", "gelu_norm"),
    keys=encoder_keys,
    heads={
        "sentence": Head(lambda c, encoder, count: head_transform(c), SENTENCE),
        "classify": labels("classifier"),
        "choose": labels("classifier", 1),
        "tag": _each(),
        "answer": _each(2),
        "mlm": Head(
            lambda c, encoder, count: MaskedHead(head_transform(c), encoder.embeddings.tokens),
            [
                *(Key(key.theirs, (f"transform.{key.ours[0]}",)) for key in SENTENCE),
                Key("decoder.bias", ("bias",)),
            ],
            {"decoder.weight": "embeddings.tok_embeddings.weight"},
        ),
    },
    uses=uses("sentence"),
)
