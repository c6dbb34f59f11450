"""A-12, T-09 and T-11, measured: a word knows its neighbour, a sum knows the order, and a mask was forgotten."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.lab.measured import Measured
from onehop.lab.parts import gap
from onehop.lab.toys import BEGIN, END, FIRST, LETTERS, descend, probe
from onehop.models import build
from onehop.models.encoders import build_encoder
from onehop.models.pooled import Pooled
from onehop.nn import Mask, Source, sinusoidal
from onehop.nn.pooling import build_pooling

# ------------------------------------------------------------------------------------------------

LENGTH, FITTED, TRIED = 12, 1_000, 200


def neighbours() -> Measured:
    """A-12, context in a word: what stands before it can be read off its output, and not off its embedding.

    Formula: accuracy of argmax_c(w_c . y_i) for the word c = x_(i-1), w by least squares.
    Source: the notes: "word representations that contain other words' information, selectively". The encoder has
    learned labels that depend on a word and the one before it, (x_i + x_(i-1)) mod 10.
    """
    settings = {"dim": 32, "ffn_dim": 64, "num_layers": 2, "dropout": 0.0}
    encoder, out = build_encoder("transformer", settings, FIRST + LETTERS), nn.Linear(32, LETTERS)

    def loss() -> Tensor:
        words = torch.randint(LETTERS, (64, LENGTH))
        states = encoder.encode(Source(words + FIRST)).states[:, 1:]
        return F.cross_entropy(out(states).flatten(0, 1), ((words[:, 1:] + words[:, :-1]) % LETTERS).flatten())

    descend(nn.ModuleList([encoder, out]), loss, 1_000)
    words = torch.randint(LETTERS, (FITTED + TRIED, LENGTH))
    embedded, states = _embedded_and_read(encoder.eval(), words)
    for block in encoder.left.encoder:
        nn.init.zeros_(block.attention.out.weight)
    _, cut = _embedded_and_read(encoder, words)
    found = [probe(x[:, 1:], words[:, :-1], LETTERS, FITTED) for x in (states, embedded, cut)]
    return Measured(dict(zip(("output", "embedding", "cut"), found, strict=True)))


@torch.no_grad()
def _embedded_and_read(encoder: Any, words: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the first layer reads, and what the last gives."""
    kept: list[Tensor] = []
    hook = encoder.left.encoder[0].register_forward_pre_hook(lambda block, given: kept.append(given[0]))
    states = encoder.encode(Source(words + FIRST)).states
    hook.remove()
    return kept[0], states


# ------------------------------------------------------------------------------------------------ T-09

WIDE = 512


def ordering() -> Measured:
    """T-09, order at work: which of two words stood first is heard with positions, and not without.

    Formula: x = E[token] sqrt(d) + PE = [E[token] sqrt(d), PE] [I; I].
    Source: Vaswani et al. 2017, section 3.5; the two like words, at 2 and 10, are the black and brown of Rothman's
    book, which adds codes of a doubled exponent to embeddings of word2vec.
    """
    right = {positions: _tells_order(positions) for positions in ("sinusoidal", "none")}
    x, codes = torch.randn(9, WIDE, dtype=torch.float64), sinusoidal(torch.arange(9), WIDE, torch.float64)
    both = torch.cat([torch.eye(WIDE, dtype=torch.float64)] * 2)
    black = torch.randn(WIDE, dtype=torch.float64)
    brown = black + 0.0316 * torch.randn(WIDE, dtype=torch.float64)  # a cosine of 0.9995
    at_two, at_ten = sinusoidal(torch.tensor([2, 10]), WIDE, torch.float64)
    alike = F.cosine_similarity(black, brown, dim=0) - F.cosine_similarity(black + at_two, brown + at_ten, dim=0)
    return Measured({
        "with": right["sinusoidal"],
        "without": abs(right["none"] - 0.5),
        "concatenated": gap(torch.cat([x, codes], 1) @ both, x + codes),
        "drop": float(alike),
    })  # fmt: skip


def _tells_order(positions: str) -> float:
    """Learn whether the word 3 stands before the word 4, among others; return the share that is right."""
    settings = {"dim": 32, "ffn_dim": 64, "num_layers": 1, "dropout": 0.0, "positions": positions}
    student = Pooled(build_encoder("transformer", settings, 20), build_pooling("mean", 32, 0), nn.Linear(32, 2))

    def draw(rows: int) -> tuple[Source, Tensor]:
        tokens, places = torch.randint(5, 20, (rows, 8)), torch.rand(rows, 8).argsort(1)[:, :2]
        tokens.scatter_(1, places, torch.tensor([[3, 4]]).expand(rows, -1))
        return Source(tokens), (places[:, 0] < places[:, 1]).long()

    def loss() -> Tensor:
        source, label = draw(64)
        return F.cross_entropy(student(source), label)

    descend(student, loss, 500)
    source, label = draw(2_000)
    with torch.no_grad():
        return float((student.eval()(source).argmax(1) == label).float().mean())


# ------------------------------------------------------------------------------------------------ T-11

SAID = 6  # letters, said twice


class _Writer(nn.Module):
    """Blocks of self-attention that predict the next token.

    Args:
        mask: What a token may read.
    """

    def __init__(self, mask: Mask) -> None:
        super().__init__()
        settings = {"dim": 64, "ffn_dim": 128, "num_heads": 4, "num_encoder_layers": 2, "num_decoder_layers": 1}
        self.body: Any = build("transformer", {**settings, "dropout": 0.0}, FIRST + LETTERS)
        self.mask = mask

    def forward(self, tokens: Tensor) -> Tensor:
        """Return scores of the token behind each of `tokens (B, T)`."""
        where = torch.arange(tokens.size(1)).expand(tokens.shape)
        x = self.body.source_embedding(tokens) + self.body.positions(where)
        for block in self.body.encoder:
            x = block(x, self.mask, where)
        return self.body.output(x)


def leaking() -> Measured:
    """T-11, the mask left out: what is to be predicted can be read, the loss collapses, and nothing can be written.

    Formula: w_1 ... w_6 # w_1 ... w_6, each w_i at random: -log p(w_i) is ln 10 the first time, 0 the second.
    Source: Vaswani et al. 2017, section 3.2.3.
    """
    honest, leaky = _Writer(Mask(causal=True)), _Writer(Mask())
    for writer in (honest, leaky):
        descend(writer, lambda writer=writer: _losses(writer, 64).mean(), 1_000)
    with torch.no_grad():
        first = {name: float(_losses(writer, 500)[:, :SAID].mean())
                 for name, writer in (("leaked_loss", leaky), ("honest_loss", honest))}  # fmt: skip
        return Measured({**first, "honest": _repeats(honest), "leaked": _repeats(leaky)})


def _losses(writer: _Writer, rows: int) -> Tensor:
    """Return the cross-entropy of each token of random texts, `(B, T)`."""
    said = torch.randint(FIRST, FIRST + LETTERS, (rows, SAID))
    begin, end = (torch.full((rows, 1), mark) for mark in (BEGIN, END))
    text = torch.cat([begin, said, end, said], 1)
    return F.cross_entropy(writer(text[:, :-1]).mT, text[:, 1:], reduction="none")


def _repeats(writer: _Writer) -> float:
    """Return the share of strings that are written a second time without a mistake, token by token."""
    said = torch.randint(FIRST, FIRST + LETTERS, (200, SAID))
    text = torch.cat([torch.full((200, 1), BEGIN), said, torch.full((200, 1), END)], 1)
    for _ in range(SAID):
        text = torch.cat([text, writer(text)[:, -1:].argmax(2)], 1)
    return float((text[:, -SAID:] == said).all(1).float().mean())
