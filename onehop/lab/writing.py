"""A-18, T-11, T-12, L-05 and L-07: decoding, with a mask over what follows, a cache, and a search."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from onehop.decode import Rules, force, penalty, search, stepper
from onehop.lab.grouping import cached, decoder_bytes
from onehop.lab.measured import Measured
from onehop.lab.parts import gap, heads, model, read
from onehop.nn import Attention, Mask, Source, State, record_attention

SOURCE = Source(torch.tensor([[5, 6, 7, 8, 9], [9, 3, 4, 0, 0]]), torch.tensor([5, 3]))
TARGET = torch.tensor([[1, 4, 5, 6, 7, 3], [1, 9, 8, 7, 6, 4]])
BEGIN, END = 1, 2


def logits(transformer: Any, target: Tensor = TARGET) -> Tensor:
    """Decode a known target at once: `(B, T, V)`."""
    return transformer.logits(transformer.decode(target, transformer.start(transformer.encode(SOURCE)))[0])


@torch.no_grad()
def stepwise(transformer: Any, target: Tensor = TARGET) -> Tensor:
    """Decode it one token after the other, with the cache that the state holds."""
    state, rows = transformer.start(transformer.encode(SOURCE)), list[Tensor]()
    for token in target.unbind(1):
        row, state = stepper(transformer)(token, state)
        rows.append(row)
    return torch.stack(rows, 1)


def cache() -> Measured:
    """A-18, the key/value cache: what was computed for earlier tokens is kept, and only the new one computed.

    Formula: bytes = 2 L n n_kv d_head x bytes of a number x batch.
    Source: Shazeer 2019; the figures of Llama 2 from linsight (which calls 524,288 bytes "52K").
    """
    transformer = model("transformer")
    held = [abs(decoder_bytes({"num_kv_heads": g}, 7) - 2 * 3 * 7 * g * 4 * 4) for g in (1, 2, 4)]
    return Measured({
        "greedy": gap(stepwise(transformer), logits(transformer)),
        "beam": _after_reordering(transformer),
        "bytes": float(max(held)),
        "llama_7b": float(32 * cached(llama(4096, 32, 32))),
        "llama_7b_mqa": float(32 * cached(llama(4096, 32, 1), 1024)),
        "llama_70b": float(80 * cached(llama(8192, 64, 8))),
        "projections": _projections(transformer),
        "encoder": _cached_encoder(),
    })  # fmt: skip


def llama(dim: int, num_heads: int, groups: int) -> Attention:
    """Return an attention as wide as a large model's, in half precision and without its memory."""
    with torch.device("meta"):
        return heads(dim, num_heads, groups).half()


@torch.no_grad()
def _after_reordering(transformer: Any) -> float:
    """Let the beams of an example change places half-way, and compare with decoding their new pasts at once."""
    memory = transformer.encode(Source(SOURCE.tokens[:1], SOURCE.lengths[:1] if SOURCE.lengths is not None else None))
    step, state = stepper(transformer), transformer.start(memory).expand(2)
    for token in TARGET[:, :3].unbind(1):
        _, state = step(token, state)
    rows = torch.tensor([1, 0])
    state = state.reorder(rows)
    past = torch.cat([TARGET[rows, :3], TARGET[:, 3:]], 1)
    found: list[Tensor] = []
    for token in past[:, 3:].unbind(1):
        row, state = step(token, state)
        found.append(row)
    hidden, _ = transformer.decode(past, transformer.start(memory).expand(2))
    return gap(torch.stack(found, 1), transformer.logits(hidden)[:, 3:])


def _projections(transformer: Any) -> float:
    """Return the key and value projections for a new token and layer, over ten steps."""
    calls: list[int] = []
    maps = [p for b in transformer.decoder for p in (b.attention.projections.key, b.attention.projections.value)]
    hooks = [part.register_forward_hook(lambda part, given, out: calls.append(out.size(1))) for part in maps]
    state = transformer.start(transformer.encode(SOURCE))
    with torch.no_grad():
        for _ in range(10):
            _, state = transformer.decode(torch.tensor([[3], [4]]), state)
    for hook in hooks:
        hook.remove()
    return sum(calls) / (10 * len(transformer.decoder))  # tokens projected


def _cached_encoder() -> float:
    """Read a source word by word, as if what came before could be kept: wrong, since an encoder looks both ways."""
    layer, x = heads(16, 4), torch.randn(1, 5, 16)
    second = heads(16, 4)
    states = read(layer, x, x)
    whole = read(second, states, states)
    kept = torch.cat([read(layer, x[:, t : t + 1], x[:, : t + 1]) for t in range(5)], 1)  # never looked at again
    return gap(read(second, kept, kept), whole)


def masking() -> Measured:
    """T-11, masking of following words: scores of later positions are minus infinity before the softmax.

    Formula: alpha_ij = 0 for j > i.
    Source: Vaswani et al. 2017, section 3.2.3.
    """
    transformer = model("transformer")
    changed = TARGET.clone()
    changed[:, 4:] = 10
    both = Mask(causal=True, lengths=torch.tensor([5, 3])).dense(5, 5, torch.device("cpu"))[0]
    triangle = torch.ones(5, 5, dtype=torch.bool).tril()
    expected = triangle & (torch.arange(5) < torch.tensor([[[5]], [[3]]]))
    assert both is not None
    return Measured({
        "later": gap(logits(transformer)[:, :4], logits(transformer, changed)[:, :4]),
        "gradient": _gradient_of_later(transformer),
        "steps": gap(stepwise(transformer), logits(transformer)),
        "compose": float((both.squeeze(1) != expected).sum()),
        "nan": _not_finite(),
    })  # fmt: skip


def _gradient_of_later(transformer: Any) -> float:
    """Return the largest gradient of the third hidden state by what the decoder reads behind it."""
    read_by: list[Tensor] = []

    def keep(embedding: Any, given: Any, out: Tensor) -> Tensor:
        read_by.append(out.detach().requires_grad_())
        return read_by[-1]

    state = transformer.start(transformer.encode(SOURCE))
    hook = transformer.target_embedding.register_forward_hook(keep)
    hidden, _ = transformer.decode(TARGET, state)
    hook.remove()
    (gradient,) = torch.autograd.grad(hidden[:, 2].sum(), read_by[0])
    return float(gradient[:, 3:].abs().max())


def _not_finite() -> float:
    """Count what is not finite when a row may read nothing."""
    layer, x = heads(16, 4), torch.randn(2, 5, 16, requires_grad=True)
    context = read(layer, x, x, Mask(lengths=torch.tensor([5, 0])))
    gradients = torch.autograd.grad(context.square().sum(), [x, *layer.parameters()])
    return float(sum((~t.isfinite()).sum() for t in (context, *gradients)))


def padding_and_future() -> Measured:
    """L-05, two masks: padding hides what is no word, the sequence mask hides what is not written yet.

    Formula: allowed(i, j) = (j < length) and (j <= i).
    Source: zhuanlan 104393915; Vaswani et al. 2017. See T-11.
    """
    transformer = model("transformer")
    with record_attention() as record:
        logits(transformer)
    seen = [Mask(causal=True), Mask(lengths=torch.tensor([5, 3])), Mask(causal=True, lengths=torch.tensor([5, 3]))]
    future, padded, both = (mask.dense(5, 5, torch.device("cpu"))[0] for mask in seen)
    triangle = torch.ones(5, 5, dtype=torch.bool).tril() if future is None else future
    assert padded is not None and both is not None  # noqa: PT018
    return Measured({
        "padding": float(record["encoder.2.self"][1, :, :, 3:].max()),
        "future": float(record["decoder.2.self"].triu(1).max()),
        "apart": float((both & ~(triangle & padded)).sum()),
    })  # fmt: skip


# ------------------------------------------------------------------------------------------------ search


def generation() -> Measured:
    """T-12, generation: the best sequence that a beam finds, with a penalty for being short.

    Formula: score = log p(y | x) / ((5 + |y|) / 6)^alpha, alpha = 0.6.
    Source: Vaswani et al. 2017, section 6.1; Wu 2016, equation 14.
    """
    transformer = model("transformer", {"tying": "none"})
    wu = penalty("wu", 0.6)
    found = _searched(transformer, Rules(4, wu, BEGIN, END), 8)
    scores = [gap(_forced(transformer, i, best.tokens, best.complete), torch.tensor(best.log_prob))
              for i, hypotheses in enumerate(found) for best in hypotheses]  # fmt: skip
    one = [best[0].tokens for best in _searched(transformer, Rules(1, wu, BEGIN, END), 8)]
    return Measured({
        "greedy": float(sum(a != b for a, b in zip(one, _greedy(transformer, 8), strict=True))),
        "exhaustive": float(sum(not _finds_the_best(seed) for seed in range(20))),
        "forced": max(scores),
        "penalty": abs(wu(-6.0, 7) - -6.0 / ((5 + 7) / 6) ** 0.6),
    })  # fmt: skip


def _searched(transformer: Any, rules: Rules, limit: int) -> list[Any]:
    with torch.no_grad():
        memory = transformer.encode(SOURCE)
        return search(stepper(transformer), transformer.start(memory), rules, [limit] * 2)


@torch.no_grad()
def _greedy(transformer: Any, limit: int) -> list[list[int]]:
    """Take the most probable token at each step, written out."""
    rows: list[list[int]] = []
    for example in range(2):
        tokens: list[int] = []
        while len(tokens) < limit and END not in tokens:
            given = torch.tensor([[BEGIN, *tokens]]).expand(2, -1)
            tokens.append(int(logits(transformer, given)[example, -1].argmax()))
        rows.append([token for token in tokens if token != END])
    return rows


@torch.no_grad()
def _forced(transformer: Any, example: int, tokens: list[int], complete: bool) -> Tensor:
    """Return log p of a target that is already known."""
    targets = torch.tensor([[*tokens, END] if complete else tokens])
    inputs = torch.cat([torch.tensor([[BEGIN]]), targets[:, :-1]], 1)
    memory = transformer.encode(
        Source(SOURCE.tokens[[example]], None if SOURCE.lengths is None else SOURCE.lengths[[example]])
    )
    return force(transformer, memory, inputs, targets, torch.tensor([targets.size(1)])).sum()


def _finds_the_best(seed: int, vocab: int = 4, longest: int = 3) -> bool:
    """Whether a beam as wide as all there is finds the best of all sequences of a toy, a table of transitions."""
    table = torch.randn(vocab, vocab, generator=torch.Generator().manual_seed(seed))
    log_p = table.log_softmax(-1).tolist()
    rules = Rules(vocab**longest, penalty("none", 0.0), BEGIN, END)
    found = search(lambda tokens, state: (table[tokens], state), State(1), rules, [longest])[0][0].tokens

    def score(tokens: tuple[int, ...]) -> float:
        marked = [BEGIN, *tokens, *([END] if len(tokens) < longest else [])]
        return sum(log_p[a][b] for a, b in itertools.pairwise(marked))

    words = [word for word in range(vocab) if word != END]
    every = [tokens for n in range(longest + 1) for tokens in itertools.product(words, repeat=n)]
    return found == list(max(every, key=score))


def beam_with_attention() -> Measured:
    """L-07, beam search with attention: the weights of what was really output, by decoding it once more.

    Formula: alpha of the best hypothesis, its tokens known.
    Source: Bahdanau 2014, figure 3; Sutskever 2014 for the beam.
    """
    rnn = model("recurrent")
    best = [found[0] for found in _searched(rnn, Rules(3, penalty("average", 1.0), BEGIN, END), 8)]
    errors, rows = list[float](), list[float]()
    for i, hypothesis in enumerate(best):
        with record_attention(["decoder.cross"]) as record:
            replayed = _forced(rnn, i, hypothesis.tokens, hypothesis.complete)
        weights = record["decoder.cross"]
        errors.append(gap(replayed, torch.tensor(hypothesis.log_prob)))
        rows.append(gap(weights.sum(-1), torch.ones_like(weights[..., 0])))
    return Measured({"replayed": max(errors), "rows": max(rows)})
