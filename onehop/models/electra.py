"""ELECTRA (Clark et al. 2020): BERT, pretrained to tell the words of a text from those that a small model put there.

Embeddings may be narrower than the blocks; a map leads from one to the other. There is no pooler.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from onehop.models import bert
from onehop.models.checkpoint import Head, Layout
from onehop.models.encoders import EncoderFamily
from onehop.models.hf_config import wanted
from onehop.models.keys import Key, linear

PRESETS: dict[str, dict[str, Any]] = {
    "electra-small": {"dim": 256, "ffn_dim": 1024, "num_heads": 4, "embedding_dim": 128},
    "electra-base": {},
    "electra-large": {"dim": 1024, "ffn_dim": 4096, "num_heads": 16, "num_layers": 24},
}

AXES = {"activation": bert.AXES["activation"], "embedding_dim": (None, 8), "num_types": (2, 0)}

ENCODER = EncoderFamily(bert.BertConfig, bert.build_bert, PRESETS, AXES)


def read_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return our settings from a `config.json`.

    Raises:
        ModelError: It asks for what this model does not do.
    """
    settings, width = bert.read_config(config), wanted(config, "embedding_size", 128)
    return {**settings, "embedding_dim": None if width == settings["dim"] else width}


def write_config(config: bert.BertConfig) -> dict[str, Any]:
    """Return the keys of a `config.json`: the inverse of `read_config`."""
    return {**bert.write_config(config), "embedding_size": config.embedding_dim or config.dim}


def encoder_keys(config: bert.BertConfig) -> list[Key]:
    """Return the key table of the encoder."""
    project = linear("embeddings_project", "embeddings.project") if config.embedding_dim else []
    return bert.encoder_keys(config) + project


DISCRIMINATOR = "discriminator_predictions"

LAYOUT = Layout(
    architecture="electra",
    classes={"electra": "Electra"},
    prefix="electra.",
    read=read_config,
    write=write_config,
    sentence=("sentence", "gelu"),
    keys=encoder_keys,
    heads={
        "sentence": Head(lambda c, encoder, count: bert.square(c, "gelu"), linear("classifier.dense", "linear")),
        "classify": bert.labels("classifier.out_proj"),
        "tag": bert.labels("classifier"),
        "answer": bert.labels("qa_outputs", 2),
        "discriminate": Head(
            lambda c, encoder, count: nn.Sequential(bert.square(c, c.activation), nn.Linear(c.dim, 1)),
            [*linear(f"{DISCRIMINATOR}.dense", "0.linear"), *linear(f"{DISCRIMINATOR}.dense_prediction", "1")],
        ),
        "mlm": Head(
            lambda c, encoder, count: bert.masked(c, encoder),
            bert.masked_keys(
                "generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head.bias"
            ),
            {"generator_lm_head.weight": "embeddings.word_embeddings.weight"},
        ),
    },
    uses={task: heads for task, heads in bert.uses("sentence").items() if task != "choose"},
    optional=("discriminate", "mlm"),
)
