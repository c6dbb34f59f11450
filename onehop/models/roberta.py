"""RoBERTa (Liu et al. 2019) and XLM-R (Conneau et al. 2020): BERT, pretrained longer and otherwise.

The model is BERT's, without a second text's type, and with two rows in its table of positions before the first: those
of a padding id and the one before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from onehop.errors import ModelError
from onehop.models import bert
from onehop.models.checkpoint import Head, Layout
from onehop.models.encoders import EncoderFamily
from onehop.models.hf_config import whole
from onehop.models.keys import linear

FIRST = 2  # rows of the table of positions before the first


class RobertaConfig(bert.BertConfig):
    """Settings of a RoBERTa: BERT's with other defaults."""

    num_types: int = Field(default=1, ge=0, description="Texts told apart where two are read as one; 0 for none.")
    first_position: int = Field(default=FIRST, ge=0, description="Rows of the table of positions before the first.")
    norm_eps: float = Field(default=1e-5, gt=0, description="Added to the variance in normalisations.")


PRESETS: dict[str, dict[str, Any]] = {
    "roberta-base": {},
    "roberta-large": {"dim": 1024, "ffn_dim": 4096, "num_heads": 16, "num_layers": 24},
    "xlm-roberta-base": {},
}

AXES = {"activation": bert.AXES["activation"], "first_position": (2, 0), "num_types": (1, 2)}

ENCODER = EncoderFamily(RobertaConfig, bert.build_bert, PRESETS, AXES)


def read_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return our settings from a `config.json`.

    Raises:
        ModelError: It asks for what this model does not do.
    """
    first, positions = whole(config, "pad_token_id", 1) + 1, whole(config, "max_position_embeddings")
    settings = bert.read_config({"type_vocab_size": 1, "layer_norm_eps": 1e-5, **config})
    return {**settings, "max_positions": positions - first, "first_position": first}


def write_config(config: RobertaConfig) -> dict[str, Any]:
    """Return the keys of a `config.json`: the inverse of `read_config`."""
    if config.first_position != FIRST:
        raise ModelError(
            f"first_position={config.first_position}, where RoBERTa's classes expect {FIRST}", "Keep it in the package."
        )
    whole = config.max_positions + config.first_position
    return {**bert.write_config(config), "max_position_embeddings": whole, "pad_token_id": 1}


LAYOUT = Layout(
    architecture="roberta",
    classes={"roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert"},
    prefix="roberta.",
    read=read_config,
    write=write_config,
    sentence=("sentence", "tanh"),
    keys=bert.encoder_keys,
    heads={
        "pooler": bert.POOLER,
        "sentence": Head(lambda c, encoder, count: bert.square(c, "tanh"), linear("classifier.dense", "linear")),
        "classify": bert.labels("classifier.out_proj"),
        "tag": bert.labels("classifier"),
        "choose": bert.labels("classifier", 1),
        "answer": bert.labels("qa_outputs", 2),
        "mlm": Head(
            lambda c, encoder, count: bert.masked(c, encoder),
            bert.masked_keys("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
            {"lm_head.decoder.weight": "embeddings.word_embeddings.weight", "lm_head.decoder.bias": "lm_head.bias"},
        ),
    },
    uses={**bert.uses("sentence"), "choose": ("pooler", "choose")},
    inside=("pooler",),
    optional=("pooler", "mlm"),
)
