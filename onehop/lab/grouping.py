"""A-10 and A-14 to A-17: several heads, and how many of them share their keys and values."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.errors import ConfigError
from onehop.lab.measured import Measured
from onehop.lab.parts import SMALL, copy_heads, gap, heads, maps, model, read, size, where
from onehop.nn import Attention, FeedForward, Memory, Projections, Source, attend
from onehop.nn.attention import scaled_dot
from onehop.nn.masks import Mask
from onehop.tasks import Package, TextLimits, TranslationSettings, Translator, group_heads, new_package
from onehop.text import train_tokenizer

DIM, H, T, S = 16, 8, 4, 6


def states() -> tuple[Tensor, Tensor]:
    """Return states that ask and states that are read."""
    return torch.randn(3, T, DIM), torch.randn(3, S, DIM)


def multi_head() -> Measured:
    """A-10, multi-head attention: the same attention h times, each in a space of its own.

    Formula: MultiHead(Q, K, V) = Concat(head_1, ..., head_h) W^O; head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V).
    Source: Vaswani 2017, section 3.2.2.
    """
    ways = [_three_ways(num_heads) for num_heads in (1, 2, 4, 8)]
    sizes = [size(heads(DIM, num_heads)) for num_heads in (1, 2, 4, 8, 16)]
    return Measured({
        "torch": max(gap(ours, theirs) for ours, theirs, _ in ways),
        "loop": max(gap(ours, loop) for ours, _, loop in ways),
        "parameters": float(sum(n != 4 * DIM**2 for n in sizes)),
    })  # fmt: skip


def _three_ways(num_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute multi-head attention by Onehop, by torch, and by a loop over the heads."""
    ours, theirs = heads(DIM, num_heads, bias=True), nn.MultiheadAttention(DIM, num_heads, batch_first=True)
    copy_heads(ours, theirs)
    x, memory = states()
    own, width = maps(ours), DIM // num_heads
    single: list[Tensor] = []
    for rows in torch.arange(DIM).split(width):
        q, k, v = (F.linear(s, m.weight[rows], m.bias[rows]) for s, m in
                   ((x, own.query), (memory, own.key), (memory, own.value)))  # fmt: skip
        single.append((q @ k.mT / width**0.5).softmax(-1) @ v)
    loop = ours.out(torch.cat(single, -1))
    return read(ours, x, memory), theirs(x, memory, memory, need_weights=False)[0], loop


def baseline() -> Measured:
    """A-14, multi-head attention as the baseline of decoding: every head keeps keys and values of its own.

    Formula: 2 L n h d_head numbers are kept, and read again for every token.
    Source: Vaswani 2017; Shazeer 2019, section 2.4.
    """
    ours, theirs, _ = _three_ways(H)
    return Measured({
        "torch": gap(ours, theirs),
        "heads": float(len({cached(heads(64, h)) for h in (1, 2, 4, 8)})),
        "bytes": float(abs(decoder_bytes({}, 7) - 2 * 3 * 7 * 4 * 4 * 4)),  # L 3, n 7, h 4, d_head 4, float32
    })  # fmt: skip


def cached(layer: Attention, tokens: int = 1) -> int:
    """Return the bytes of the keys and values of so many tokens."""
    key = maps(layer).key
    x = torch.empty(1, tokens, key.in_features, device=key.weight.device, dtype=key.weight.dtype)
    kv = layer.project(x, where(x).to(x.device))
    return kv.keys.nbytes + kv.values.nbytes


def decoder_bytes(settings: dict[str, int], tokens: int) -> int:
    """Return the bytes that a decoder of 3 layers, 16 wide with 4 heads, keeps after so many tokens at once."""
    transformer = model("transformer", settings)
    state = transformer.start(Memory(torch.randn(1, 5, DIM)))
    _, state = transformer.decode(torch.full((1, tokens), 3), state)
    return sum(kv.keys.nbytes + kv.values.nbytes for kv in state.cache)


def multi_query() -> Measured:
    """A-15, multi-query attention: all heads ask, one answers, and the cache is h times smaller.

    Formula: head_i = Attention(Q W_i^Q, K W^K, V W^V); what the weights of keys and values lose, d_ff may gain.
    Source: Shazeer 2019.
    """
    shared, full = heads(DIM, H, 1), heads(DIM, H)
    _as_copies(shared, full)
    x, memory = states()
    keys = full.project(memory, where(memory)).keys
    cosines = F.cosine_similarity(keys[:, :1].double(), keys.double(), dim=-1)
    return Measured({
        "cosine": float(cosines.detach().min().float()),
        "copies": gap(read(shared, x, memory), read(full, x, memory)),
        "cache": cached(heads(64, H, 1)) / cached(heads(64, H)),
        "bytes": float(abs(decoder_bytes({"num_kv_heads": 1}, 7) - 2 * 3 * 7 * 4 * 4)),  # L 3, n 7, d_head 4, float32
        "translation": _matching(4096, _attention(8, 1, 128), attentions=18, networks=12),
        "language_model": _matching(8192, _attention(8, 1, 128), attentions=6, networks=6),
        "fewer": _matching(4096, _attention(1, 1, 128), attentions=18, networks=12),
    })  # fmt: skip


def _as_copies(small: Attention, full: Attention) -> None:
    """Give each head of `full` the keys and values of its group in `small`, and the rest as it is."""
    full.out.load_state_dict(small.out.state_dict())
    maps(full).query.load_state_dict(maps(small).query.state_dict())
    for name in ("key", "value"):
        groups = getattr(small.projections, name).weight.unflatten(0, (small.num_kv_heads, -1))
        copies = groups.repeat_interleave(full.num_kv_heads // small.num_kv_heads, 0).flatten(0, 1)
        getattr(full.projections, name).load_state_dict({"weight": copies})


def _attention(num_heads: int, groups: int, head_dim: int) -> Callable[[], nn.Module]:
    """Return a maker of an attention of the paper's width, 1,024, whose heads may be fewer or narrower than that."""

    def make() -> nn.Module:
        wide = Projections(1024, 1024, num_heads, groups, head_dim, bias=False)
        out = nn.Linear(num_heads * head_dim, 1024, bias=False)
        return Attention(wide, out, num_heads=num_heads, num_kv_heads=groups, score=scaled_dot(head_dim))

    return make


def _matching(ffn_dim: int, smaller: Callable[[], nn.Module], attentions: int, networks: int) -> float:
    """Return the d_ff at which networks make up for what smaller attentions save; biases are not counted."""

    def matrices(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters() if p.dim() > 1)

    with torch.device("meta"):  # shapes only
        saved = attentions * (matrices(_attention(8, 8, 128)()) - matrices(smaller()))
        one = matrices(FeedForward(1024, ffn_dim + 1, F.relu)) - matrices(FeedForward(1024, ffn_dim, F.relu))
    return ffn_dim + saved / (networks * one)


def grouped() -> Measured:
    """A-16, grouped-query attention: between multi-head (g = h) and multi-query (g = 1).

    Formula: query head i reads key/value head floor(i g / h).
    Source: Ainslie et al. 2023.
    """
    ours, theirs, _ = _three_ways(H)
    x, memory = states()
    shared = heads(DIM, H, 1)
    own = maps(shared)
    q, k, v = (m(s).unflatten(-1, (-1, DIM // H)).transpose(1, 2) for m, s in
               ((own.query, x), (own.key, memory), (own.value, memory)))  # fmt: skip
    one = shared.out(((q @ k.mT / (DIM // H) ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2))  # k, v: one head
    return Measured({
        "all": gap(ours, theirs),
        "one": gap(read(shared, x, memory), one),
        "torch": max(_beside_torch(g) for g in (2, 4)),
        "mapping": float(sum(_misread(g) for g in (1, 2, 4, 8))),
        "refused": float(sum(not _refused(g) for g in (3, 5, 6, 7, 16))),
        "cache": max(abs(cached(heads(64, H, g)) / cached(heads(64, H)) - g / H) for g in (1, 2, 4, 8)),
    })  # fmt: skip


def _beside_torch(groups: int) -> float:
    q, k, v = torch.randn(2, H, T, 8), torch.randn(2, groups, S, 8), torch.randn(2, groups, S, 8)
    return gap(attend(q, k, v, scaled_dot(8), Mask()), F.scaled_dot_product_attention(q, k, v, enable_gqa=True))


def _misread(groups: int) -> int:
    """Count the query heads that read another group than theirs, where each value is the number of its group."""
    q, k = torch.randn(1, H, 1, 8), torch.randn(1, groups, S, 8)
    v = torch.arange(float(groups)).view(1, groups, 1, 1).expand(1, groups, S, 8)
    found = attend(q, k, v, scaled_dot(8), Mask())[0, :, 0, 0].round().int().tolist()
    return sum(group != i * groups // H for i, group in enumerate(found))


def _refused(groups: int) -> bool:
    try:
        model("transformer", {"num_heads": H, "num_kv_heads": groups})
    except ConfigError:
        return True
    return False


def converted() -> Measured:
    """A-17, from many heads to few: a trained model's key and value heads are averaged within each group.

    Formula: W_K^(g) = mean of W_K^(i) over the heads i of group g; then a little training.
    Source: Ainslie et al. 2023, section 2.1. How much training: `benchmarks/uptraining.py`.
    """
    many = _package()
    few = group_heads(many, 2)
    errors = [gap(_by_head(new.key.weight, 2), _by_head(old.key.weight, 4).unflatten(0, (2, 2)).mean(1))
              for old, new in zip(_readers(many), _readers(few), strict=True)]  # fmt: skip
    lost = sum(block.attention.num_kv_heads != 4 for block in few.task.model.encoder)
    unequal = gap(_logits(few), _logits(many))
    with torch.no_grad():
        for own in _readers(many):
            for weight in (own.key.weight, own.value.weight):
                weight.copy_(_by_head(weight, 4)[::2].repeat_interleave(2, 0).flatten(0, 1))
    return Measured({
        "pooled": max(errors),
        "equal": gap(_logits(group_heads(many, 2)), _logits(many)),
        "unequal": unequal,
        "encoder": float(lost),
    })  # fmt: skip


def _package() -> Package:
    """Return a small translation model with four heads, not trained."""
    tokenizer = train_tokenizer(["one two three", "two three four"] * 4, 300)
    settings = {**SMALL, "num_encoder_layers": 1, "num_decoder_layers": 2}
    text = TextLimits(max_length=9, sentences=False)
    whole = TranslationSettings(architecture="transformer", model=settings, text=text)
    task = Translator.build(whole, tokenizer, tokenizer)
    task.model.eval()
    return new_package(task, ["one two"], "")


def _readers(package: Package) -> list[Projections]:
    """Return the maps of all attentions of the decoder."""
    return [maps(part) for block in package.task.model.decoder for part in (block.attention, block.cross)]


def _by_head(weight: Tensor, groups: int) -> Tensor:
    return weight.unflatten(0, (groups, -1))


def _logits(package: Package) -> Tensor:
    model, tokens = package.task.model, torch.tensor([[5, 6, 7, 8]])
    hidden, _ = model.decode(tokens, model.start(model.encode(Source(tokens))))
    return model.logits(hidden)
