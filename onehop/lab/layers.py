"""T-06 to T-09, L-03 and L-04: what stands around attention, the feed-forward network, embeddings and positions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from onehop.lab.measured import Figure, Measured
from onehop.lab.parts import gap, heads, model, size, where
from onehop.nn import FeedForward, Mask, Source, TokenEmbedding, sinusoidal
from onehop.nn.positions import Learned
from onehop.nn.relative import ShawRelative

DIM, FFN, V = 16, 32, 20


def feed_forward() -> Measured:
    """T-06, the feed-forward network: the same at every position, and not linear because of its ReLU alone.

    Formula: FFN(x) = max(0, x W_1 + b_1) W_2 + b_2; d_ff = 4 d in the paper.
    Source: Vaswani et al. 2017, section 3.3.
    """
    network, x, order = FeedForward(DIM, FFN, F.relu), torch.randn(2, 5, DIM), torch.randperm(5)
    up, down = network.up, network.down
    inner = F.conv1d(x.mT, up.weight.unsqueeze(-1), up.bias).relu()
    convolved = F.conv1d(inner, down.weight.unsqueeze(-1), down.bias).mT
    plain, wide = FeedForward(DIM, FFN, lambda y: y).double(), x.double()
    one = F.linear(
        wide, plain.down.weight @ plain.up.weight, F.linear(plain.up.bias, plain.down.weight, plain.down.bias)
    )
    network_of_same = FeedForward(DIM, FFN, F.relu).double()
    network_of_same.load_state_dict(plain.state_dict())
    return Measured({
        "convolutions": gap(network(x), convolved),
        "order": _moved(FeedForward(DIM, FFN, F.relu).double(), wide, order),
        "linear": gap(plain(wide), one),
        "relu": gap(network_of_same(wide), one),
    })  # fmt: skip


@torch.no_grad()
def _moved(network: FeedForward, x: Tensor, order: Tensor) -> float:
    """Return what reordering changes where every number is whole, so that no sum depends on its order."""
    for parameter in network.parameters():
        parameter.copy_((8 * parameter).round())
    whole = (8 * x).round()
    return gap(network(whole[:, order]), network(whole)[:, order])


def embedding() -> Measured:
    """T-07, input embedding: rows of a table, scaled; the same table may serve source, target and output.

    Formula: x = E[token] sqrt(d).
    Source: Vaswani et al. 2017, section 3.4; Press and Wolf 2017.
    """
    table, tokens = TokenEmbedding(V, DIM), torch.tensor([[3, 4, 3, 7]])
    out = table(tokens)
    (gradient,) = torch.autograd.grad(out.square().sum(), table.weight)
    unseen = torch.ones(V, dtype=torch.bool)
    unseen[tokens] = False
    tied, apart = (model("transformer", {"tying": name}) for name in ("three-way", "none"))
    biased = model("transformer", {"output_bias": True})
    return Measured({
        "one_hot": gap(out, F.one_hot(tokens, V).float() @ table.weight * DIM**0.5),
        "unseen": float(gradient[unseen].abs().max()),
        "pointers": float(_storages(tied)),
        "saved": float(abs(size(apart) - size(tied) - 2 * V * DIM)),
        "bias": float(abs(size(biased) - size(tied) - V)),
    })  # fmt: skip


def _storages(transformer: Any) -> int:
    """Count the places in memory of the three tables of a model."""
    tables = transformer.source_embedding.weight, transformer.target_embedding.weight, transformer.output.weight
    return len({table.data_ptr() for table in tables})


def tying() -> Measured:
    """L-04, three-way weight tying: one table for source, target and output.

    Formula: E_source = E_target = W_output.
    Source: Press and Wolf 2017; Vaswani et al. 2017, section 3.4. See T-07.
    """
    return Measured({"pointers": float(_storages(model("transformer", {"tying": "three-way"})))})


VALUES = [0.909297427, -0.416146837, 0.936414739, -0.350895194]
WIDE = 512


def positions() -> Measured:
    """T-08, sinusoidal positions: each pair of columns a clock hand, from fast to slow; sines and cosines interleave.

    Formula: PE(p, 2i) = sin(p / 10000^(2i/d)); PE(p, 2i+1) = cos(p / 10000^(2i/d)).
    Source: Vaswani et al. 2017, section 3.5. The book's notebook doubles the exponent; a whole code has length
    sqrt(d / 2), though notes call it a unit sphere; wavelengths belong to columns, not to positions.
    """
    codes = sinusoidal(torch.arange(5_000), WIDE, torch.float64)
    pairs = codes.unflatten(1, (-1, 2))
    product = max(abs(float(codes[p] @ codes[p + 7]) - 187.864997) for p in (0, 5, 100, 3000))
    far = 1_000_000
    rates = 10000.0 ** (-torch.arange(0, WIDE, 2, dtype=torch.float64) / WIDE)
    formula = torch.stack([(far * rates).sin(), (far * rates).cos()], 1).flatten()
    return Measured(
        {
            "range": max(0.0, float(codes.abs().max()) - 1),
            "circle": gap(pairs.square().sum(2), torch.ones(5_000, WIDE // 2, dtype=torch.float64)),
            "norm": gap(codes.square().sum(1), torch.full((5_000,), WIDE / 2, dtype=torch.float64)),
            "values": gap(codes[2, :4], torch.tensor(VALUES, dtype=torch.float64)),
            "cosine": abs(float(F.cosine_similarity(codes[2], codes[10], dim=0)) - 0.7225200832),
            "book": abs(_book_cosine() - 0.8600013331),
            "product": product,
            "rotation": gap(_turned(pairs[:-7], rates, 7), pairs[7:]),
            "unique": float(torch.pdist(codes).min()),
            "any": gap(sinusoidal(torch.tensor(far), WIDE).double(), formula),
            "wavelength": abs(2 * math.pi / float(rates[-1]) - 60_611.5),
        },
        figures=(_similarity(codes),),
    )


def _turned(pairs: Tensor, rates: Tensor, k: int) -> Tensor:
    """Apply M_k: turn each pair (sin, cos) by the angle that it makes in `k` positions, whatever the position."""
    sin, cos = pairs.unbind(2)
    turn = k * rates
    return torch.stack([sin * turn.cos() + cos * turn.sin(), cos * turn.cos() - sin * turn.sin()], 2)


def _book(position: int) -> Tensor:
    """Return a code as the book's notebook has it: i counts in twos, and is doubled once more."""
    i = torch.arange(0, WIDE, 2, dtype=torch.float64)
    angles = position / 10000.0 ** (2 * i / WIDE)
    return torch.stack([angles.sin(), angles.cos()], 1).flatten()


def _book_cosine() -> float:
    return float(F.cosine_similarity(_book(2), _book(10), dim=0))


def _similarity(codes: Tensor) -> Figure:
    """Draw how alike two codes are by their distance, and what the doubled exponent makes of it."""
    reach = range(101)
    paper = [(float(k), float(codes[0] @ codes[k] / 256)) for k in reach]
    book = [(float(k), float(_book(0) @ _book(k) / 256)) for k in reach]
    return Figure("How alike two positions are", "distance", "cosine", {"paper": paper, "book, doubled": book})


def added_positions() -> Measured:
    """T-09, positions are added to embeddings; without them an encoder knows no order.

    Formula: x = E[token] sqrt(d) + PE, then dropout.
    Source: Vaswani et al. 2017, section 3.5.
    """
    with_codes, without = model("transformer"), model("transformer", {"positions": "none"})
    tokens, order = torch.tensor([[3, 4, 5, 6, 7]]), torch.tensor([4, 2, 0, 1, 3])
    read: list[Tensor] = []
    hook = with_codes.encoder[0].register_forward_pre_hook(lambda block, given: read.append(given[0]))
    with_codes.encode(Source(tokens))
    hook.remove()
    expected = with_codes.source_embedding(tokens) + sinusoidal(torch.arange(5), DIM)
    moved = [gap(m.encode(Source(tokens[:, order])).states, m.encode(Source(tokens)).states[:, order])
             for m in (with_codes, without)]  # fmt: skip
    return Measured({"sum": gap(read[0], expected), "without": moved[1], "with": moved[0]})


def learned_and_relative() -> Measured:
    """L-03, other positions: a learned vector for each place, or one for each distance on keys and values.

    Formula: e_ij = x_i W_Q (x_j W_K + a^K_clip(j-i))^T / sqrt(K); z_i = sum_j alpha_ij (x_j W_V + a^V_clip(j-i)).
    Source: Gehring 2017; Shaw 2018, equations 3 and 4.
    """
    table = Learned(9, DIM)
    layer, x = heads(DIM, 4), torch.randn(2, 6, DIM)
    layer.relative = ShawRelative(DIM // 4, (DIM // 4) ** -0.5, reach=2)
    q, kv = layer.project_all(x, where(x))
    found = layer(q, kv, Mask())
    far = torch.arange(6)
    distances = (far - far.unsqueeze(1)).clamp(-2, 2) + 2
    a_keys, a_values = layer.relative.keys[distances], layer.relative.values[distances]  # (T, S, K)
    keys, values = kv.keys.unsqueeze(2) + a_keys, kv.values.unsqueeze(2) + a_values  # (B, H, T, S, K)
    weights = (torch.einsum("bhtk,bhtsk->bhts", q, keys) / (DIM // 4) ** 0.5).softmax(-1)
    written = layer.out(torch.einsum("bhts,bhtsk->bhtk", weights, values).transpose(1, 2).flatten(2))
    bias = layer.relative.bias(q, Mask(), 6, 6)
    return Measured({
        "learned": gap(table(torch.tensor([[0, 8]]))[0], table.weight[[0, 8]]),
        "shaw": gap(found, written),
        "clipped": gap(bias[:, :, 0, 2], bias[:, :, 0, 5]),  # 2 and 5 places away count as 2
    })  # fmt: skip
