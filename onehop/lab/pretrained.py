"""B-01 to B-03: an encoder that looks both ways, the words that are hidden from it, and the score of CoLA."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.lab.measured import Measured
from onehop.lab.parts import copy_block, count, gap, heard, randomise, size, where
from onehop.metrics.classification import labelling
from onehop.models.bert import BertConfig, build_bert, square
from onehop.models.bert import masked as masked_words
from onehop.models.encoders import build_encoder, encoder_family
from onehop.nn import Mask, Source
from onehop.text import MaskedRow, Masking

DIM, S = 16, 6
CLS, SEP, MASK = 2, 3, 4
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


PIECES, ROWS, LONG = 1_005, 3_000, 100  # of a vocabulary whose words are the tokens from 5


def hidden_words() -> Measured:
    """B-02, masked words: 15 % of them are chosen, mostly hidden, and only they are to be found.

    Formula: chosen 15 %; of these 80 % become [MASK], 10 % another word, 10 % stay; loss = -sum over the chosen of
    log p(x_i | what is left).
    Source: Devlin et al. 2018, section 3.1, task 1. That a model is trained so, on text, is not shown here.
    """
    masking, control = Masking(MASK, range(5, PIECES), never={CLS, SEP}), torch.tensor([CLS, SEP])
    words = torch.randint(5, PIECES, (ROWS, LONG))
    words[:, 0], words[:, -1] = CLS, SEP
    rows, lines = words.tolist(), list(range(ROWS))
    found = masking.hide(rows, lines, seed=1, epoch=0)
    given = torch.tensor([row.tokens[place] for row in found for place in row.places])
    wanted = torch.tensor([token for row in found for token in row.targets])
    stay, masked = given == wanted, given == MASK
    alone = [masking.hide([row], [line], seed=1, epoch=0)[0] for line, row in enumerate(rows[:100])]
    later = masking.hide(rows, lines, seed=1, epoch=1)
    return Measured({
        "chosen": abs(len(wanted) / (ROWS * (LONG - 2)) - 0.15),
        "masked": abs(share(masked) - 0.8),
        "random": abs(share(~masked & ~stay) - 0.1),
        "kept": abs(share(stay) - 0.1),
        "controls": count(torch.isin(wanted, control) | torch.isin(given, control)),
        "again": float(sum(one != other for one, other in zip(alone, found, strict=False))),
        "epochs": float(sum(one == other for one, other in zip(found, later, strict=True))),
        "loss": _heard_elsewhere(found[0]),
    })  # fmt: skip


def share(those: Tensor) -> float:
    """Return the share of entries that are true."""
    return float(those.double().mean())


def _heard_elsewhere(row: MaskedRow) -> float:
    """Count the states that the loss of a row has a gradient by, but for the chosen."""
    settings = BertConfig.model_validate({**SMALL, "max_positions": LONG})
    encoder: Any = build_bert(settings, PIECES)
    states = encoder.encode(Source(torch.tensor([row.tokens]))).states
    logits = masked_words(settings, encoder)(states)[0, row.places]
    loss = F.cross_entropy(logits, torch.tensor(row.targets))
    gradient = torch.autograd.grad(loss, states)[0][0].abs().amax(-1) > 0
    gradient[row.places] = False
    return count(gradient)


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
