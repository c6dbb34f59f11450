"""A-11 to A-13 and A-19: who reads whom, in an encoder and in a decoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.lab.measured import Measured
from onehop.lab.parts import gap, heads, maps, model, read, where
from onehop.nn import Mask, Source, record_attention

DIM, T, S = 16, 4, 6
SOURCE = Source(torch.tensor([[5, 6, 7, 8, 9], [9, 3, 4, 0, 0]]), torch.tensor([5, 3]))
OTHER = Source(torch.tensor([[7, 7, 5, 9, 3], [4, 8, 6, 0, 0]]), torch.tensor([5, 3]))
TARGET = torch.tensor([[1, 4, 5, 6], [1, 9, 8, 7]])


def self_attention() -> Measured:
    """A-11, self-attention: queries, keys and values are three maps of one sequence.

    Formula: Q = X W_Q; K = X W_K; V = X W_V; Y = softmax(Q K^T / sqrt(d_k)) V.
    Source: Vaswani 2017; before it Cheng 2016, Lin 2017.
    """
    layer, x, order = heads(DIM, 4), torch.randn(2, S, DIM), torch.randperm(S)
    plain = heads(DIM, 1).double()
    for part in (maps(plain).query, maps(plain).key):
        part.weight.data.copy_(torch.eye(DIM))
    unit = F.normalize(torch.randn(1, S, DIM, dtype=torch.float64), dim=-1)
    q, kv = plain.project_all(unit, where(unit))
    scores = plain.score(q, kv.keys)[0, 0]
    return Measured({
        "equivariant": gap(read(layer, x[:, order], x[:, order]), read(layer, x, x)[:, order]),
        "symmetric": gap(scores, scores.T),  # without maps of their own, i asks j what j asks i ...
        "diagonal": float((scores.argmax(1) != torch.arange(S)).sum()),  # ... and everyone looks at himself
    })  # fmt: skip


def context_laden() -> Measured:
    """A-12, words that carry their context: one word, two sentences, two vectors.

    Formula: y_i = sum_j alpha_ij v_j, which other words enter by their weights.
    Source: Vaswani 2017; the notes: "word representations that contain other words' information, selectively".
    """
    encoder = model("transformer")
    one, two = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[9, 6, 3, 4]])
    outputs = [encoder.encode(Source(tokens)).states[0, 1] for tokens in (one, two)]
    embeddings = [encoder.source_embedding(tokens)[0, 1] for tokens in (one, two)]
    return Measured({
        "embedding": float(F.cosine_similarity(*embeddings, dim=0).detach()),
        "output": float(F.cosine_similarity(*outputs, dim=0).detach()),
    })  # fmt: skip


def cross_attention() -> Measured:
    """A-13, cross-attention: queries of one sequence, keys and values of another.

    Formula: Q = Y W_Q of the decoder; K = X W_K, V = X W_V of the encoder's last layer.
    Source: Vaswani 2017, section 3.2.3; its ancestor Bahdanau 2014.
    """
    layer, x = heads(DIM, 4), torch.randn(2, T, DIM)
    outputs = [read(layer, x, torch.randn(2, size, DIM)) for size in (1, 3, 7)]
    memory = torch.randn(2, S, DIM)
    q, kv = layer.project_all(x, where(x))
    padded = memory.clone()
    padded[:, 4:] += 1
    mask = Mask(lengths=torch.tensor([4, 4]))
    transformer = model("transformer")
    return Measured({
        "length": float(sum(output.shape != x.shape for output in outputs)),
        "memory": gap(read(layer, x, memory + 1), read(layer, x, memory)),
        "self": gap(read(layer, x, x), layer(q, kv, Mask())),
        "last": float(_other_memories(transformer)),
        "padding": gap(read(layer, x, padded, mask), read(layer, x, memory, Mask(lengths=torch.tensor([4, 4])))),
        "calls": float(_projections(transformer, 12)),
    })  # fmt: skip


def _other_memories(transformer: Any) -> int:
    """Count the layers whose keys are not maps of the encoder's last states."""
    memory = transformer.encode(SOURCE)
    state = transformer.start(memory)
    expected = [block.cross.project(memory.states, where(memory.states)) for block in transformer.decoder]
    return sum(gap(kv.keys, other.keys) != 0 for kv, other in zip(state.memory, expected, strict=True))


def _projections(transformer: Any, steps: int) -> int:
    """Count how often keys or values of the source are computed while a sentence is decoded."""
    calls: list[nn.Module] = []
    maps = [
        part for block in transformer.decoder for part in (block.cross.projections.key, block.cross.projections.value)
    ]
    hooks = [part.register_forward_hook(lambda part, *_: calls.append(part)) for part in maps]
    with torch.inference_mode():
        state = transformer.start(transformer.encode(SOURCE))
        for _ in range(steps):
            _, state = transformer.decode(torch.tensor([[3], [4]]), state)
    for hook in hooks:
        hook.remove()
    return len(calls)


def who_reads_whom() -> Measured:
    """A-19: an encoder has self-attention only, a decoder masked self-attention and cross-attention, in every layer.

    Formula: encoder N self; decoder N masked self + N cross.
    Source: Vaswani 2017, figure 1 and section 3.2.3.
    """
    transformer = model("transformer")
    with record_attention() as record:
        _hidden(transformer, SOURCE)
    kinds = [name.split(".") for name in record]
    encoder = [kind for side, _, kind in kinds if side == "encoder"]
    masked = [float(record[f"decoder.{i}.self"].triu(1).max()) == 0 for i in range(3)]
    cross = [record[f"decoder.{i}.cross"].size(3) == SOURCE.tokens.size(1) for i in range(3)]
    for block in transformer.decoder:
        nn.init.zeros_(block.cross.out.weight)
    heard = _hidden(transformer, SOURCE)
    gradient = torch.autograd.grad(heard.square().sum(), list(transformer.encoder.parameters()))
    return Measured({
        "encoder": float(encoder.count("cross") + 3 - encoder.count("self")),
        "decoder": float(6 - sum(masked) - sum(cross)),
        "cut": gap(heard, _hidden(transformer, OTHER)),
        "gradient": float(sum(g.norm() for g in gradient)),
    })  # fmt: skip


def _hidden(transformer: Any, source: Source) -> Tensor:
    return transformer.decode(TARGET, transformer.start(transformer.encode(source)))[0]
