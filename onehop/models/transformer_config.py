"""Settings of the Transformer, presets with the papers' names, and the values that the laws are run over."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from onehop.config import Table
from onehop.nn.attention.regions import over_a_source
from onehop.nn.attention.scores import SCORES
from onehop.nn.attention.selects import SELECTS

ScoreName = Literal["scaled_dot", "dot", "general", "additive", "concat", "location", "cosine"]


class TransformerConfig(Table):
    """Settings of a Transformer; the defaults are the paper's base model."""

    dim: int = Field(default=512, ge=2, description="Width of the model.")
    ffn_dim: int = Field(default=2048, ge=1, description="Width inside the feed-forward network.")
    num_heads: int = Field(default=8, ge=1, description="Query heads; a divisor of dim.")
    num_kv_heads: int | None = Field(
        default=None, ge=1, description="Key/value heads; a divisor of num_heads, its default."
    )
    encoder_kv_heads: int | None = Field(default=None, ge=1, description="Those of the encoder, if they differ.")
    decoder_kv_heads: int | None = Field(
        default=None, ge=1, description="Those of the decoder's self-attention, if they differ."
    )
    cross_kv_heads: int | None = Field(
        default=None, ge=1, description="Those of the attention over the source, if they differ."
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
    normalise: Literal["layer", "rms"] = Field(
        default="layer", description="By mean and deviation (Ba) or by the root of the mean square (Zhang)."
    )
    activation: Literal["relu", "gelu", "silu", "glu", "reglu", "geglu", "swiglu"] = Field(
        default="relu", description="Inside the feed-forward network; those with glu in their name are gated."
    )
    tying: Literal["three-way", "target", "none"] | None = Field(
        default=None,
        description="Share source embedding, target embedding and output; default: as much as the vocabularies allow.",
    )
    positions: Literal["sinusoidal", "learned", "rotary", "alibi", "t5", "shaw", "none"] = Field(
        default="sinusoidal",
        description="Codes added to embeddings (sinusoidal, learned), queries and keys turned (rotary), numbers added "
        "to scores (alibi, t5), vectors added to keys and values (shaw), or none.",
    )
    max_positions: int = Field(default=1024, ge=1, description="Positions that learned codes and location scores know.")
    rotary_base: float = Field(default=10_000.0, gt=1, description="Of the slowest rotation.")
    rotary_factor: float = Field(default=1.0, ge=1, description="How many times longer texts are than once trained on.")
    rotary_scaling: Literal["linear", "ntk"] = Field(
        default="linear", description="How the factor is used: positions divided by it, or a larger base."
    )
    score: ScoreName = Field(default="scaled_dot", description="How queries and keys compare.")
    select: Literal["soft", "sparsemax", "entmax", "straight_through", "gumbel"] = Field(
        default="soft", description="How scores become weights."
    )
    window: int | None = Field(
        default=None, ge=1, description="Positions on either side that self-attention reads; default: all."
    )
    cross_score: ScoreName | None = Field(
        default=None, description="How queries compare with the source; default: as score says."
    )
    cross_select: Literal["soft", "sparsemax", "entmax", "straight_through", "gumbel", "hard"] | None = Field(
        default=None, description="How those scores become weights; default: as select says."
    )
    hard_expected: float = Field(
        default=0.5, ge=0, le=1, description="Share of the rows that hard attention averages in training, not draws."
    )
    gumbel_temperature: float = Field(
        default=1.0, gt=0, le=100, description="Of Gumbel attention's relaxed draw: lower is less biased, and noisier."
    )
    cross_region: Literal["everywhere", "local-m", "local-p", "local-p-rounded"] = Field(
        default="everywhere", description="Where in the source a query may look."
    )
    cross_window: int = Field(default=10, ge=1, description="Positions on either side of a local region's centre.")
    final_norm: bool | None = Field(
        default=None, description="Normalise the output of each stack; default: where norm is pre."
    )
    attention_bias: bool = Field(default=False, description="Biases in the attention's projections.")
    output_bias: bool = Field(default=False, description="A bias for each token before the softmax.")

    _over_a_source = field_validator("cross_region", mode="before")(over_a_source)

    @field_validator("select", mode="before")
    @classmethod
    def _without_reward(cls, select: object) -> object:
        if select == "hard":
            raise ValueError(
                "'hard' learns from how likely the target words behind a draw become, and the encoder's draws stand "
                "before no word: use cross_select='hard', or 'straight_through' or 'gumbel' here"
            )
        return select

    @model_validator(mode="after")
    def _fits(self) -> TransformerConfig:
        faults: list[str] = []
        if self.dim % 2:
            faults.append(f"dim={self.dim} must be even")
        if self.dim % self.num_heads:
            fits = [h for h in range(1, 33) if self.dim % h == 0]
            faults.append(f"num_heads={self.num_heads} must divide dim={self.dim}; use one of {fits}")
        for key in ("num_kv_heads", "encoder_kv_heads", "decoder_kv_heads", "cross_kv_heads"):
            groups = getattr(self, key)
            if self.num_heads % (groups or self.num_heads):
                fits = [g for g in range(1, min(self.num_heads, 64) + 1) if self.num_heads % g == 0]
                faults.append(f"{key}={groups} must divide num_heads={self.num_heads}; use one of {fits}")
        if self.positions in ("rotary", "shaw") and self.score in ("additive", "concat", "location"):
            faults.append(
                f"positions={self.positions!r} change the product of a query and a key, and score={self.score!r} has "
                "none: use score='scaled_dot', 'dot', 'general' or 'cosine', or positions='alibi'"
            )
        if self.positions == "rotary" and self.dim // self.num_heads % 2:
            faults.append(
                f"positions='rotary' turn columns in pairs, and a head is dim / num_heads = "
                f"{self.dim // self.num_heads} wide: use an even width"
            )
        if faults:
            raise ValueError("; and ".join(faults))
        return self

    def groups(self, own: int | None) -> int:
        """Return the key/value heads of an attention with that setting of its own."""
        return own or self.num_kv_heads or self.num_heads


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
    "normalise": ("layer", "rms"),
    "activation": ("relu", "gelu", "silu", "glu", "reglu", "geglu", "swiglu"),
    "positions": ("sinusoidal", "learned", "rotary", "alibi", "t5", "shaw", "none"),
    "rotary_scaling": ("linear", "ntk"),
    "score": SCORES,
    "select": ("soft", "sparsemax", "entmax", "straight_through", "gumbel"),
    "window": (None, 2),
    "cross_score": (None, *SCORES),
    "cross_select": (None, *SELECTS),
    "cross_region": ("everywhere", "local-m", "local-p", "local-p-rounded"),
    "num_kv_heads": (None, 2, 1),
    "encoder_kv_heads": (None, 1),
    "decoder_kv_heads": (None, 1),
    "cross_kv_heads": (None, 1),
    "num_decoder_layers": (2, 1),
    "final_norm": (None, True, False),
    "attention_bias": (False, True),
    "output_bias": (False, True),
}
