"""B-01 and B-03: an encoder that looks both ways, and the score by which it is judged on CoLA."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from onehop.lab.measured import Measured
from onehop.lab.parts import copy_block, count, gap, heard, randomise, size, where
from onehop.metrics.classification import labelling
from onehop.models.bert import square
from onehop.models.encoders import build_encoder, encoder_family
from onehop.nn import Mask, Source

DIM, S = 16, 6
SMALL = {"dim": DIM, "ffn_dim": 32, "num_heads": 4, "num_layers": 2, "max_positions": 9, "dropout": 0.0,
         "attention_dropout": 0.0}  # fmt: skip


def encoder() -> Measured:
    """B-01, BERT: an encoder whose every state depends on the words before and behind it.

    Formula: x_i = LN(token_i + position_i + segment_i), then N blocks with GELU; tanh(W x_0 + b) stands for the text.
    Source: Devlin et al. 2018, section 3 and figure 2.
    """
    bert = build_encoder("bert", SMALL, 30).eval()
    layer = nn.TransformerEncoderLayer(DIM, 4, 32, 0.0, "gelu", 1e-12, batch_first=True)
    randomise(layer)
    copy_block(bert.blocks[0], layer)
    x, source = torch.randn(2, S, DIM), Source(torch.randint(3, 30, (1, S)))
    second = replace(source, types=torch.ones_like(source.tokens))
    return Measured({
        "base": float(_weights("bert-base")),
        "large": float(_weights("bert-large")),
        "torch": gap(bert.blocks[0](x, Mask(), where(x)), layer(x)),
        "both_sides": count(~heard(bert, bert.embeddings.tokens, source)),
        "types": gap(bert.encode(second).states, bert.encode(source).states),
    })  # fmt: skip


def _weights(preset: str) -> int:
    """Count the weights of a preset with its pooler; none is held in memory."""
    config: Any = encoder_family("bert").config.model_validate(encoder_family("bert").presets[preset])
    with torch.device("meta"):
        return size(build_encoder("bert", {"preset": preset}, 30_522)) + size(square(config, "tanh"))


def correlation() -> Measured:
    """B-03, the score of CoLA: Matthews' correlation, which gives nothing to whoever always says the same.

    Formula: (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN)).
    Source: Matthews 1975; Warstadt 2018 for CoLA, whose 516 sentences out of domain are to 68.6 % acceptable.
    """
    labels, errors = ["bad", "good"], list[float]()
    for counts in torch.randint(1, 40, (50, 4)).tolist():
        tp, tn, fp, fn = counts
        found = ["good"] * tp + ["bad"] * tn + ["good"] * fp + ["bad"] * fn
        wanted = ["good"] * tp + ["bad"] * tn + ["bad"] * fp + ["good"] * fn
        formula = (tp * tn - fp * fn) / ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5
        errors.append(abs(labelling(found, wanted, labels).mcc - formula))
    always = labelling(["good"] * 516, ["good"] * 354 + ["bad"] * 162, labels)
    return Measured({"formula": max(errors), "majority": always.mcc, "accuracy": abs(always.accuracy - 0.686)})
