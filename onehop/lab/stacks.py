"""T-01 to T-03 and T-10: the Transformer's stacks, block by block beside torch's own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from onehop.lab.measured import Measured
from onehop.lab.parts import copy_block, gap, model, randomise, size, where
from onehop.models import build
from onehop.nn import EncoderBlock, Mask, Memory, Residual, Source
from onehop.tasks.translation_loss import shift_right

DIM, HEADS, FFN, LAYERS = 16, 4, 32, 3
LENGTHS, S, T = torch.tensor([6, 3, 5]), 6, 4
TORCHS = {"attention_bias": True, "final_norm": True}  # torch has what the paper's formulas leave out


def transformer() -> Measured:
    """T-01, the Transformer: two stacks of attention and feed-forward layers, and nothing recurrent.

    Formula: p(y_t | y_(<t), x) = softmax(W decoder(y_(<t), encoder(x))).
    Source: Vaswani et al. 2017, figure 1.
    """
    ours, theirs = model("transformer", TORCHS), copied_from_torch("post")
    copy_model(ours, theirs)
    source, target = torch.randint(3, 20, (3, S)), torch.randint(3, 20, (3, T))
    hidden, _ = ours.decode(target, ours.start(ours.encode(Source(source, LENGTHS))))
    expected = theirs(
        embedded(ours, source), embedded(ours, target), tgt_mask=future(T),
        src_key_padding_mask=padding(), memory_key_padding_mask=padding(),
    )  # fmt: skip
    return Measured({"torch": gap(hidden, expected), "parameters": float(stacks_size())})


def copied_from_torch(norm: str) -> nn.Transformer:
    """Return torch's Transformer with random weights, in training mode, which keeps it on its plain path."""
    theirs = nn.Transformer(
        DIM, HEADS, LAYERS, LAYERS, FFN, 0.0, norm_first=norm == "pre", batch_first=True,
    )  # fmt: skip
    randomise(theirs)
    return theirs


def copy_model(ours: Any, theirs: nn.Transformer) -> None:
    """Give a model the weights of torch's."""
    for name in ("encoder", "decoder"):
        stack: Any = getattr(theirs, name)
        for block, layer in zip(getattr(ours, name), stack.layers, strict=True):
            copy_block(block, layer)
        getattr(ours, f"{name}_norm").load_state_dict(stack.norm.state_dict())


def embedded(ours: Any, tokens: Tensor) -> Tensor:
    """Return embeddings with their positions, which torch's Transformer leaves to others."""
    x = ours.source_embedding(tokens)
    return x + ours.positions(where(x))


def padding() -> Tensor:
    """Return where the sources of these checks are padded, `(B, S)`."""
    return torch.arange(S) >= LENGTHS.unsqueeze(1)


def future(width: int) -> Tensor:
    """Return what torch wants masked in a decoder, `(T, T)`."""
    return torch.ones(width, width, dtype=torch.bool).triu(1)


def stacks_size() -> int:
    """Return the number of weights of the base model's stacks as torch has them; no weight is held."""
    with torch.device("meta"):
        base = build("transformer", TORCHS, 100)
    return sum(map(size, (base.encoder, base.encoder_norm, base.decoder, base.decoder_norm)))


def encoder() -> Measured:
    """T-02, the encoder stack: layers of one structure, each with weights of its own.

    Formula: x := block_l(x) for l = 1 ... N; block = feed-forward after multi-head self-attention.
    Source: Vaswani et al. 2017, section 3.1.
    """
    ours, theirs = model("transformer", TORCHS), copied_from_torch("post")
    copy_model(ours, theirs)
    tokens = torch.randint(3, 20, (3, S))
    states = ours.encode(Source(tokens, LENGTHS)).states
    expected = theirs.encoder(embedded(ours, tokens), src_key_padding_mask=padding())
    x, kept = torch.randn(2, S, DIM), model("transformer").encoder
    with torch.device("meta"):
        base, biased = (build("transformer", settings, 100) for settings in ({}, {"attention_bias": True}))
    weights = [id(p) for block in base.encoder for p in block.parameters()]
    return Measured({
        "torch": gap(states[~padding()], expected[~padding()]),
        "shared": float(len(weights) - len(set(weights))),
        "layer": float(size(base.encoder[0])),
        "biased": float(size(biased.encoder[0])),
        "shape": float(sum(block(x, Mask(), where(x)).shape != x.shape for block in kept)),
    })  # fmt: skip


def residual() -> Measured:
    """T-03, residual and normalisation: what a sublayer computes is added to what it read, and the sum normalised.

    Formula: LN(x + Dropout(Sublayer(x))); LN(z) = gamma (z - mu) / sqrt(sigma^2 + eps) + beta, over features.
    Source: Vaswani 2017, section 3.1; Ba 2016; He 2015; pre-LN, the contrast, Xiong 2020.
    """
    block, layer, x = beside_torch("post")
    other = _torchs_layer("pre")
    other.load_state_dict(layer.state_dict())
    found = block(x, Mask(lengths=LENGTHS), where(x))
    fresh = Residual(nn.Identity(), nn.LayerNorm(DIM), 0.0)
    out = fresh(x, nn.Linear(DIM, DIM))
    alone = fresh(x[1:2, 2:3], lambda y: y)
    return Measured({
        "post": gap(found[~padding()], layer(x, src_key_padding_mask=padding())[~padding()]),
        "pre": gap(found[~padding()], other(x, src_key_padding_mask=padding())[~padding()]),
        "mean": float(out.detach().mean(-1).abs().max()),
        "variance": gap(out.var(-1, unbiased=False), torch.ones(x.shape[:2])),
        "nothing": gap(fresh(x, torch.zeros_like), nn.functional.layer_norm(x, (DIM,))),
        "alone": gap(alone, fresh(x, lambda y: y)[1:2, 2:3]),
    })  # fmt: skip


def _torchs_layer(norm: str) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(DIM, HEADS, FFN, 0.0, norm_first=norm == "pre", batch_first=True)


def beside_torch(norm: str) -> tuple[EncoderBlock, nn.TransformerEncoderLayer, Tensor]:
    """Return a block, torch's layer with the same weights, and something to read."""
    block, layer = model("transformer", {**TORCHS, "norm": norm}).encoder[0], _torchs_layer(norm)
    randomise(layer)
    copy_block(block, layer)
    return block, layer, torch.randn(3, S, DIM)


def decoder() -> Measured:
    """T-10, the decoder stack: masked self-attention, cross-attention, feed-forward; the target shifted to the right.

    Formula: x := block_l(x, memory) for l = 1 ... N, of y_0 ... y_(t-1) where y_t is to be predicted.
    Source: Vaswani et al. 2017, section 3.1.
    """
    ours, theirs = model("transformer", TORCHS), copied_from_torch("post")
    copy_model(ours, theirs)
    target, states = torch.randint(3, 20, (3, T)), torch.randn(3, S, DIM)
    hidden, _ = ours.decode(target, ours.start(Memory(states, LENGTHS)))
    expected = theirs.decoder(
        embedded(ours, target), states, tgt_mask=future(T), memory_key_padding_mask=padding()
    )  # fmt: skip
    with torch.device("meta"):
        base, biased = (build("transformer", settings, 100) for settings in ({}, {"attention_bias": True}))
    shifted = torch.cat([torch.ones(3, 1, dtype=torch.int64), target[:, :-1]], 1)  # 1: the begin mark
    return Measured({
        "torch": gap(hidden, expected),
        "layer": float(size(base.decoder[0])),
        "biased": float(size(biased.decoder[0])),
        "shifted": float((shift_right(target) != shifted).sum()),
    })  # fmt: skip
