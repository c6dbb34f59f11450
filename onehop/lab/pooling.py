"""A-08, A-09 and L-01: one query over one text, words to sentences to a document, and what else pools states."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from onehop.lab.measured import Measured
from onehop.lab.parts import count, gap, heard
from onehop.models.encoders import build_encoder
from onehop.models.pooled import Pooled
from onehop.nn import Mask, Source, attend, record_attention
from onehop.nn.attention import dot
from onehop.nn.pooling import POOLINGS, AttentionPooling, TanhMap, build_pooling

DIM, A, S = 6, 5, 7


def single() -> Measured:
    """A-08, attention pooling: one query, learned or handed in, reads a text once.

    Formula: u_i = tanh(W h_i + b); a = softmax_i(u_i . u); o = sum_i a_i h_i.
    Source: Yang 2016, equations 5 to 7; Lin 2017; with a query from outside Bahdanau 2014.
    """
    pooling, h = AttentionPooling(DIM, A).double(), torch.randn(2, S, DIM, dtype=torch.float64)
    found, u, key = pooling(h), pooling.query[0, 0, 0], mapped(pooling, h)
    by_hand = ((key @ u).softmax(-1).unsqueeze(2) * h).sum(1)
    one = attend(u.expand(2, 1, 1, A), key.unsqueeze(1), h.unsqueeze(1), dot(), Mask()).squeeze(1, 2)
    layer = pooling.attention
    kv = layer.project(h, torch.arange(S).expand(2, S))
    outside = layer(u.detach().clone().expand(2, 1, 1, A), kv, Mask()).squeeze(1)
    with record_attention() as record:
        pooling(h, torch.tensor([S, 3]))
    return Measured({
        "formula": gap(found, by_hand),
        "one_query": gap(found, one),
        "outside": gap(found, outside),
        "padding": float(record["pooling"][1, 0, 0, 3:].max()),
    })  # fmt: skip


def mapped(pooling: AttentionPooling, h: Tensor) -> Tensor:
    """Return `tanh(W h + b)` of states `h (B, S, D)`."""
    key = pooling.attention.score.key_map
    assert isinstance(key, TanhMap)
    return (h @ key.linear.weight.T + key.linear.bias).tanh()


def hierarchical() -> Measured:
    """A-09, hierarchical attention: words make sentences, sentences make the document.

    Formula: s_i = sum_t a_it h_it over the words of a sentence; v = sum_i a_i h_i over the sentences.
    Source: Yang 2016, section 2.2.
    """
    encoder = build_encoder("hierarchical", {"dim": 8, "hidden_dim": DIM, "attention_dim": A, "dropout": 0.0}, 30)
    model = Pooled(encoder, AttentionPooling(DIM, A, "encoder.sentences"), torch.nn.Linear(DIM, 2)).double().eval()
    tokens, lengths = torch.randint(3, 30, (2, 9)), (9, 5)
    segments = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, 2], [0, 0, 1, 1, 1, -1, -1, -1, -1]])
    with record_attention() as record:
        found = model.pool(Source(tokens, torch.tensor(lengths), segments))
    words, sentences = record["encoder.words"][:, 0], record["encoder.sentences"][:, 0, 0]
    padding = [words[1, :2, 5:], words[1, 2], sentences[1, 2:]]
    only = torch.zeros_like(tokens)
    x = encoder.embedding(tokens)
    flat = encoder.attention(encoder.words(x)[0])
    bounds = (((0, 3), (3, 7), (7, 9)), ((0, 2), (2, 5)))
    by_hand = [
        model.pooling(encoder.sentences(torch.stack(
            [encoder.attention(encoder.words(x[row : row + 1, a:b])[0])[0] for a, b in parts]
        ).unsqueeze(0))[0])
        for row, parts in enumerate(bounds)
    ]  # fmt: skip
    return Measured({
        "words": max(gap(words[0].sum(-1), ones(3)), gap(words[1, :2].sum(-1), ones(2))),
        "sentences": gap(sentences.sum(-1), ones(2)),
        "one_sentence": gap(encoder.read_words(tokens, only)[:, 0], flat),
        "formula": gap(found, torch.cat(by_hand)),
        "padding": max(float(part.max()) for part in padding),
    })  # fmt: skip


def ones(size: int) -> Tensor:
    """Return so many ones, in float64."""
    return torch.ones(size, dtype=torch.float64)


def recurrent_and_convolutional() -> Measured:
    """L-01, an LSTM or a convolution read by attention: its last state, mean, maximum or a weighted sum of all.

    Formula: h_N, or the mean or maximum of all h_i, or sum_i a_i h_i; c_i = relu(W [x_(i-r); ...; x_(i+r)] + b).
    Source: Lin 2017 and Zhou 2016 for the LSTM; Kim 2014 for the convolution, Yin 2016 for attention before and
    behind it.
    """
    return Measured({**_of_an_lstm(), **_of_a_convolution()})


def _of_an_lstm() -> dict[str, float]:
    encoder = build_encoder("recurrent", {"dim": 8, "hidden_dim": DIM, "cell": "lstm", "dropout": 0.0}, 30)
    encoder = encoder.double().eval()
    tokens, lengths = torch.randint(3, 30, (2, S)), torch.tensor([S, 4])
    states = encoder.encode(Source(tokens, lengths)).states
    attention = AttentionPooling(DIM, A).double()
    with torch.no_grad():
        attention.query.zero_()
    uniform = gap(attention(states, lengths), build_pooling("mean", DIM, A)(states, lengths))
    final = [encoder.recurrence.layers[0](encoder.embedding(tokens[row : row + 1, :n]))[1][0][:, 0].flatten()
             for row, n in enumerate(lengths.tolist())]  # fmt: skip
    last = build_pooling("last", DIM, A, two_ways=True)(states, lengths)
    changed = _by_padding(encoder, tokens, lengths)
    return {"uniform": uniform, "last": gap(last, torch.stack(final)), "padding": changed}


def _by_padding(encoder: Any, tokens: Tensor, lengths: Tensor) -> float:
    """Return by how much more padding changes what any pooling makes of a text."""
    states = encoder.encode(Source(tokens, lengths)).states
    wide = encoder.encode(Source(F.pad(tokens, [0, 3], value=5), lengths)).states
    changes: list[float] = []
    for name in POOLINGS:
        pooling = build_pooling(name, DIM, A, two_ways=encoder.two_ways).double()
        changes.append(gap(pooling(wide, lengths), pooling(states, lengths)))
    return max(changes)


def _of_a_convolution() -> dict[str, float]:
    tokens, lengths = torch.randint(3, 30, (2, S)), torch.tensor([S, 4])
    plain, before, after = (_convolution(attention) for attention in ("none", "before", "after"))
    one = _convolution("none", 1)
    x, filters = F.pad(one.embedding(tokens), (0, 0, 1, 1)), one.layers[0].filters
    weight = filters.weight.unflatten(1, (3, -1))  # (D, width, dim)
    by_hand = [sum(x[:, i + k] @ weight[:, k].T for k in range(3)) + filters.bias for i in range(S)]
    places = torch.arange(S)
    band = (places - places.unsqueeze(1)).abs() <= 2
    return {
        "convolution": gap(one.encode(Source(tokens)).states, torch.stack(by_hand, 1).relu()),
        "band": count(_heard(plain) != band),
        "before": count(~_heard(before)),
        "after": count(~_heard(after)),
        "convolved_padding": max(_by_padding(encoder, tokens, lengths) for encoder in (plain, before, after)),
    }


def _convolution(attention: str, num_layers: int = 2) -> Any:
    """Return a convolutional encoder, three words wide."""
    settings = {"dim": 8, "hidden_dim": DIM, "num_layers": num_layers, "attention": attention, "dropout": 0.0}
    return build_encoder("convolutional", settings, 30).double().eval()


def _heard(encoder: Any) -> Tensor:
    """Return which states depend on which words, bool `(S, S)`; in 20 texts, since a ReLU may hide a word in one."""
    texts = [Source(torch.randint(3, 30, (1, S))) for _ in range(20)]
    return torch.stack([heard(encoder, encoder.embedding, text) for text in texts]).any(0)
