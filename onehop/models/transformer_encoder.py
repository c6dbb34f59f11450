"""The encoder of the Transformer (Vaswani et al. 2017, figure 1, left half) by itself."""

from __future__ import annotations

from typing import Any, Literal, cast

from pydantic import Field, model_validator
from torch import nn

from onehop.config import Table
from onehop.models.encoders import EncoderFamily
from onehop.models.transformer import Transformer, build_transformer
from onehop.models.transformer_config import TransformerConfig
from onehop.nn.block import DecoderBlock
from onehop.nn.interfaces import Memory, Source


class TransformerEncoderConfig(Table):
    """Settings of a Transformer's encoder; the defaults are a size for a processor."""

    dim: int = Field(default=128, ge=2, description="Width of the model.")
    ffn_dim: int = Field(default=512, ge=1, description="Width inside the feed-forward network.")
    num_heads: int = Field(default=4, ge=1, description="Query heads; a divisor of dim.")
    num_kv_heads: int | None = Field(
        default=None, ge=1, description="Key/value heads; a divisor of num_heads, its default."
    )
    num_layers: int = Field(default=2, ge=1, description="Blocks.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="On embeddings and on every sublayer's output.")
    attention_dropout: float = Field(default=0.0, ge=0, lt=1, description="On the attention weights.")
    word_dropout: float = Field(default=0.0, ge=0, lt=1, description="Of whole words, in the embeddings.")
    norm: Literal["post", "pre"] = Field(
        default="pre", description="Normalise the sum (Vaswani) or what a sublayer reads (Xiong)."
    )
    activation: Literal["relu", "gelu", "silu", "glu", "reglu", "geglu", "swiglu"] = Field(
        default="gelu", description="Inside the feed-forward network; those with glu in their name are gated."
    )
    positions: Literal["sinusoidal", "learned", "rotary", "alibi", "t5", "shaw", "none"] = Field(
        default="sinusoidal", description="How it knows the order; see the Transformer."
    )
    max_positions: int = Field(default=1024, ge=1, description="Positions that learned codes know.")

    @model_validator(mode="after")
    def _fits(self) -> TransformerEncoderConfig:
        self.whole()
        return self

    def whole(self) -> TransformerConfig:
        """Return the settings of the Transformer that this is the left half of."""
        own = self.model_dump(exclude={"num_layers"})
        return TransformerConfig(**own, num_encoder_layers=self.num_layers, num_decoder_layers=1)


class TransformerEncoder(nn.Module):
    """The left half of a Transformer; the other half is taken off.

    Args:
        whole: With one vocabulary for both sides.
        dim: Width of its states.
    """

    unit = "words"
    two_ways = False

    def __init__(self, whole: Transformer, dim: int) -> None:
        super().__init__()
        whole.decoder = cast("list[DecoderBlock]", nn.ModuleList())
        whole.decoder_norm, whole.decoder_relative = nn.Identity(), None
        self.left, self.dim = whole, dim

    def encode(self, source: Source) -> Memory:
        """Read `source.tokens (B, S)`: states `(B, S, D)`."""
        return self.left.encode(source)


def build_transformer_encoder(config: TransformerEncoderConfig, vocab_size: int) -> TransformerEncoder:
    """Turn settings into modules."""
    return TransformerEncoder(build_transformer(config.whole(), vocab_size, None), config.dim)


PRESETS: dict[str, dict[str, Any]] = {
    "transformer-base": {
        "dim": 512, "ffn_dim": 2048, "num_heads": 8, "num_layers": 6, "norm": "post", "activation": "relu",
    },
}  # fmt: skip

AXES = {
    "num_kv_heads": (None, 1),
    "norm": ("pre", "post"),
    "activation": ("gelu", "relu", "silu", "glu", "reglu", "geglu", "swiglu"),
    "positions": ("sinusoidal", "learned", "rotary", "alibi", "t5", "shaw", "none"),
}

ENCODER = EncoderFamily(TransformerEncoderConfig, build_transformer_encoder, PRESETS, AXES)
