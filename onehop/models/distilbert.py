"""DistilBERT (Sanh et al. 2019): BERT with half the layers, no types of texts and no pooler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from onehop.models import bert
from onehop.models.checkpoint import Head, Layout
from onehop.models.encoders import EncoderFamily
from onehop.models.hf_config import activation, activation_name, read_names, write_names
from onehop.models.keys import Key, linear


class DistilBertConfig(bert.BertConfig):
    """Settings of a DistilBERT: BERT's with other defaults."""

    num_layers: int = Field(default=6, ge=1, description="Blocks.")
    num_types: int = Field(default=0, ge=0, description="Texts told apart where two are read as one; 0 for none.")


PRESETS: dict[str, dict[str, Any]] = {"distilbert-base": {}}

AXES = {"activation": bert.AXES["activation"], "num_types": (0, 2)}

ENCODER = EncoderFamily(DistilBertConfig, bert.build_bert, PRESETS, AXES)

NAMES = {
    "dim": "dim", "ffn_dim": "hidden_dim", "num_heads": "n_heads", "num_layers": "n_layers",
    "max_positions": "max_position_embeddings", "dropout": "dropout", "attention_dropout": "attention_dropout",
}  # fmt: skip

BLOCK = {
    "attention.q_lin": "attention.projections.query",
    "attention.k_lin": "attention.projections.key",
    "attention.v_lin": "attention.projections.value",
    "attention.out_lin": "attention.out",
    "sa_layer_norm": "attention_residual.after",
    "ffn.lin1": "feedforward.up",
    "ffn.lin2": "feedforward.down",
    "output_layer_norm": "feedforward_residual.after",
}


def read_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return our settings from a `config.json`.

    Raises:
        ModelError: It asks for what this model does not do.
    """
    own = read_names(config, NAMES)
    return {**own, "activation": activation(config, "activation"), "num_types": 0, "norm_eps": 1e-12}


def write_config(config: bert.BertConfig) -> dict[str, Any]:
    """Return the keys of a `config.json`: the inverse of `read_config`."""
    return {**write_names(config, NAMES), "activation": activation_name(config.activation)}


def encoder_keys(config: bert.BertConfig) -> list[Key]:
    """Return the key table of the encoder."""
    return bert.embedding_keys(types=False) + bert.block_keys("transformer.layer.{}", BLOCK)


LAYOUT = Layout(
    architecture="distilbert",
    classes={"distilbert": "DistilBert"},
    prefix="distilbert.",
    read=read_config,
    write=write_config,
    sentence=("sentence", "relu"),
    keys=encoder_keys,
    heads={
        "sentence": Head(lambda c, encoder, count: bert.square(c, "relu"), linear("pre_classifier", "linear")),
        "classify": bert.labels("classifier"),
        "tag": bert.labels("classifier"),
        "choose": bert.labels("classifier", 1),
        "answer": bert.labels("qa_outputs", 2),
        "mlm": Head(
            lambda c, encoder, count: bert.masked(c, encoder, c.activation),
            bert.masked_keys("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
            {"vocab_projector.weight": "embeddings.word_embeddings.weight"},
        ),
    },
    uses=bert.uses("sentence"),
    optional=("mlm",),
)
