"""BERT (Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding").

An encoder that reads both sides of every word: post-LN blocks with GELU over summed embeddings of token, position and
text (first or second). MiniLM (Wang 2020) is the same with fewer and narrower layers. RoBERTa, DistilBERT and ELECTRA
differ in their embeddings and in the names of their weights, so their files build this model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator
from torch import nn

from onehop.config import Table
from onehop.models.body import ACTIVATIONS, BidirectionalEncoder, Embeddings, MaskedHead, Transform, initialise_encoder
from onehop.models.checkpoint import Head, Layout, Use
from onehop.models.encoders import EncoderFamily
from onehop.models.hf_config import activation, activation_name, read_names, refuse_unlike, write_names
from onehop.models.keys import Key, linear
from onehop.nn.attention import Attention, Projections, scaled_dot
from onehop.nn.block import EncoderBlock, Residual
from onehop.nn.feedforward import FeedForward
from onehop.nn.positions import Learned


class BertConfig(Table):
    """Settings of a BERT; the defaults are its base model."""

    dim: int = Field(default=768, ge=1, description="Width of the model.")
    ffn_dim: int = Field(default=3072, ge=1, description="Width inside the feed-forward network.")
    num_heads: int = Field(default=12, ge=1, description="Heads; a divisor of dim.")
    num_layers: int = Field(default=12, ge=1, description="Blocks.")
    max_positions: int = Field(default=512, ge=1, description="Most tokens of a text, marks included.")
    num_types: int = Field(default=2, ge=0, description="Texts told apart where two are read as one; 0 for none.")
    embedding_dim: int | None = Field(
        default=None, ge=1, description="Width of the embeddings, where a map leads from it to dim; default: dim."
    )
    first_position: int = Field(default=0, ge=0, description="Rows of the table of positions before the first.")
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = Field(
        default="gelu", description="Inside the feed-forward network."
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="On embeddings and on every sublayer's output.")
    attention_dropout: float = Field(default=0.1, ge=0, lt=1, description="On the attention weights.")
    norm_eps: float = Field(default=1e-12, gt=0, description="Added to the variance in normalisations.")

    @model_validator(mode="after")
    def _fits(self) -> BertConfig:
        if self.dim % self.num_heads:
            fits = [h for h in range(1, 33) if self.dim % h == 0]
            raise ValueError(f"num_heads={self.num_heads} must divide dim={self.dim}; use one of {fits}")
        return self


def build_bert(config: BertConfig, vocab_size: int) -> BidirectionalEncoder:
    """Turn settings into modules."""
    c, width = config, config.embedding_dim or config.dim
    embeddings = Embeddings(
        nn.Embedding(vocab_size, width), Learned(c.max_positions, width, c.first_position),
        nn.Embedding(c.num_types, width) if c.num_types else None, nn.LayerNorm(width, c.norm_eps),
        nn.Identity() if width == c.dim else nn.Linear(width, c.dim), c.dropout,
    )  # fmt: skip
    blocks = [_block(c, f"encoder.{i}.self") for i in range(c.num_layers)]
    model = BidirectionalEncoder(embeddings, blocks, [None] * c.num_layers, nn.Identity(), c.dim, c.max_positions)
    return initialise_encoder(model)


def _block(config: BertConfig, name: str) -> EncoderBlock:
    c, head_dim = config, config.dim // config.num_heads
    attention = Attention(
        Projections(c.dim, c.dim, c.num_heads, c.num_heads, head_dim, bias=True), nn.Linear(c.dim, c.dim),
        num_heads=c.num_heads, num_kv_heads=c.num_heads, score=scaled_dot(head_dim), dropout=c.attention_dropout,
        name=name,
    )  # fmt: skip
    feedforward = FeedForward(c.dim, c.ffn_dim, ACTIVATIONS[c.activation])
    one, two = (Residual(nn.Identity(), nn.LayerNorm(c.dim, c.norm_eps), c.dropout) for _ in range(2))
    return EncoderBlock(attention, feedforward, (one, two))


PRESETS: dict[str, dict[str, Any]] = {
    "bert-base": {},
    "bert-large": {"dim": 1024, "ffn_dim": 4096, "num_heads": 16, "num_layers": 24},
    "bert-small": {"dim": 512, "ffn_dim": 2048, "num_heads": 8, "num_layers": 4},
    "bert-mini": {"dim": 256, "ffn_dim": 1024, "num_heads": 4, "num_layers": 4},
    "bert-tiny": {"dim": 128, "ffn_dim": 512, "num_heads": 2, "num_layers": 2},
    "minilm-l6": {"dim": 384, "ffn_dim": 1536, "num_layers": 6},
    "minilm-l12": {"dim": 384, "ffn_dim": 1536, "num_layers": 12},
}

AXES = {
    "activation": ("gelu", "gelu_tanh", "relu", "silu"),
    "num_types": (2, 0),
}

ENCODER = EncoderFamily(BertConfig, build_bert, PRESETS, AXES)

# ------------------------------------------------------------------------------------------------ checkpoints


NAMES = {
    "dim": "hidden_size", "ffn_dim": "intermediate_size", "num_heads": "num_attention_heads",
    "num_layers": "num_hidden_layers", "max_positions": "max_position_embeddings", "num_types": "type_vocab_size",
    "dropout": "hidden_dropout_prob", "attention_dropout": "attention_probs_dropout_prob",
    "norm_eps": "layer_norm_eps",
}  # fmt: skip


def read_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return our settings from a `config.json`.

    Raises:
        ModelError: It asks for what this model does not do.
    """
    refuse_unlike(config, {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False})
    defaults = {"num_types": 2, "dropout": 0.1, "attention_dropout": 0.1, "norm_eps": 1e-12}
    return {**read_names(config, NAMES, defaults), "activation": activation(config, "hidden_act")}


def write_config(config: BertConfig) -> dict[str, Any]:
    """Return the keys of a `config.json`: the inverse of `read_config`."""
    return {**write_names(config, NAMES), "hidden_act": activation_name(config.activation)}


def embedding_keys(types: bool) -> list[Key]:
    """Return the key table of the embeddings."""
    names = {"word": "tokens", "position": "positions"} | ({"token_type": "types"} if types else {})
    table = [Key(f"embeddings.{a}_embeddings.weight", (f"embeddings.{b}.weight",)) for a, b in names.items()]
    return table + linear("embeddings.LayerNorm", "embeddings.norm")


BLOCK = {
    "attention.self.query": "attention.projections.query",
    "attention.self.key": "attention.projections.key",
    "attention.self.value": "attention.projections.value",
    "attention.output.dense": "attention.out",
    "attention.output.LayerNorm": "attention_residual.after",
    "intermediate.dense": "feedforward.up",
    "output.dense": "feedforward.down",
    "output.LayerNorm": "feedforward_residual.after",
}


def block_keys(layer: str, names: Mapping[str, str] = BLOCK) -> list[Key]:
    """Return the key table of a block: `layer` is its name in the checkpoint, with a `{}`."""
    return [key for a, b in names.items() for key in linear(f"{layer}.{a}", f"blocks.{{}}.{b}")]


def encoder_keys(config: BertConfig) -> list[Key]:
    """Return the key table of the encoder."""
    return embedding_keys(types=config.num_types > 0) + block_keys("encoder.layer.{}")


def square(config: Any, activation: str) -> Transform:
    """Return a map of states to such of the same width, as stands before a classifier."""
    return Transform(config.dim, config.dim, activation, nn.Identity())


def masked(config: BertConfig, encoder: BidirectionalEncoder, activation: str = "gelu") -> MaskedHead:
    """Return the head that finds masked words."""
    tokens = encoder.embeddings.tokens
    width = tokens.embedding_dim
    transform = Transform(config.dim, width, activation, nn.LayerNorm(width, config.norm_eps))
    return MaskedHead(transform, tokens)


def masked_keys(dense: str, norm: str, bias: str) -> list[Key]:
    """Return the key table of that head."""
    return [*linear(dense, "transform.linear"), *linear(norm, "transform.norm"), Key(bias, ("bias",))]


def labels(name: str, outputs: int | None = None) -> Head:
    """Return a head that is one map, to so many outputs or to the labels."""
    keys = [Key(f"{name}.{part}", (part,)) for part in ("weight", "bias")]
    return Head(lambda config, encoder, count: nn.Linear(encoder.dim, outputs or count), keys)


def uses(sentence: str) -> dict[Use, tuple[str, ...]]:
    """Return the heads of each task, `sentence` being the one that makes a vector of a text."""
    return {
        "classify": (sentence, "classify"),
        "choose": (sentence, "choose"),
        "tag": ("tag",),
        "answer": ("answer",),
        "mlm": ("mlm",),
    }


POOLER = Head(lambda config, encoder, count: square(config, "tanh"), linear("pooler.dense", "linear"))

LAYOUT = Layout(
    architecture="bert",
    classes={"bert": "Bert"},
    prefix="bert.",
    read=read_config,
    write=write_config,
    sentence=("pooler", "tanh"),
    keys=encoder_keys,
    heads={
        "pooler": POOLER,
        "classify": labels("classifier"),
        "tag": labels("classifier"),
        "choose": labels("classifier", 1),
        "answer": labels("qa_outputs", 2),
        "mlm": Head(
            lambda config, encoder, count: masked(config, encoder, config.activation),
            masked_keys(
                "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"
            ),
            {
                "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
                "cls.predictions.decoder.bias": "cls.predictions.bias",
            },
        ),
        "nsp": labels("cls.seq_relationship", 2),
    },
    uses=uses("pooler"),
    inside=("pooler",),
    optional=("pooler", "mlm", "nsp"),
)
