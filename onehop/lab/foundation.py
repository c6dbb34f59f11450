"""F-02 to F-04 and F-06: the ecosystem of a model (architecture, data, computing), and what relates its tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from onehop.data import Batch, Pair, PairStore, TrainingBatches, evaluation_batches, hold_out
from onehop.lab.measured import Grid, Measured
from onehop.lab.parts import connected, count, gap, heads, model, read, size
from onehop.lab.stacks import stacks_size
from onehop.models import architecture, build
from onehop.nn import Mask, Source
from onehop.nn.attention.attend import attention_weights
from onehop.nn.recurrent import Recurrence
from onehop.tasks.translation_loss import loss_sum
from onehop.text import ALGORITHMS, train_tokenizer
from onehop.train.flops import flops_per_cell

SHARED = 37_000  # tokens, as in the paper


def architectures() -> Measured:
    """F-02, model architecture: every system is a configuration of shared parts, and its weights can be counted ahead.

    Formula: 2 d^2 + 2 d g d / h for an attention, 2 d f + f + d for a feed-forward network, 2 d for a norm;
    w (in + w + 2) for each gate of a recurrence.
    Source: Vaswani 2017, table 3; Sutskever, Cho, Bahdanau 2014 and Luong 2015 for the recurrent presets.
    """
    rows: list[tuple[str, ...]] = []
    wrong = 0
    for family, formula in (("transformer", _transformer_size), ("recurrent", _recurrent_size)):
        for preset, settings in architecture(family).presets.items():
            config: Any = architecture(family).config.model_validate(settings)
            with torch.device("meta"):
                counted = size(build(family, settings, SHARED))
            wrong += counted != formula(config)
            rows.append((preset, f"{counted:,}", f"{formula(config):,}"))
    with torch.device("meta"):
        base, big = (build("transformer", {"preset": f"transformer-{name}"}, SHARED) for name in ("base", "big"))
    return Measured(
        {
            "torch": float(stacks_size()),
            "base": float(size(base)),
            "big": float(size(big)),
            "closed_form": float(wrong),
        },
        grids=(Grid(f"Weights with {SHARED:,} shared tokens", ("preset", "counted", "closed form"), tuple(rows)),),
    )


def _transformer_size(c: Any) -> int:
    d, groups = c.dim, c.num_kv_heads or c.num_heads
    attention = 2 * d**2 + 2 * d * groups * (d // c.num_heads)
    network, norm = 2 * d * c.ffn_dim + c.ffn_dim + d, 2 * d
    encoder = attention + network + 2 * norm
    decoder = 2 * attention + network + 3 * norm
    last = 0 if c.norm == "post" else 2 * norm
    return c.num_encoder_layers * encoder + c.num_decoder_layers * decoder + last + SHARED * d


def _recurrent_size(c: Any) -> int:
    d, w, gates = c.dim, c.hidden_dim, {"gru": 3, "lstm": 4, "elman": 1}[c.cell]
    ways = 2 if c.bidirectional else 1
    encoder = sum(ways * gates * (w // ways) * (i + w // ways + 2) for i in [d] + [w] * (c.num_encoder_layers - 1))
    after = c.context == "attention" and c.query == "current"
    context = 0 if c.context == "none" else w
    given = d + (d * c.input_feeding if after else context)
    decoder = sum(gates * w * (i + w + 2) for i in [given] + [w] * (c.num_decoder_layers - 1))
    parts = c.num_decoder_layers * (2 if c.cell == "lstm" else 1)
    bridge = parts * w * (w + 1)
    readout = (w + context + (0 if after else d) + 1) * d * (2 if c.readout == "maxout" else 1)
    scores = {"additive": 2 * w * w + 2 * w, "general": w * w, "dot": 0}
    region = w * w + w if c.region.startswith("local-p") else 0
    attention = scores[c.score] + region if c.context == "attention" else 0
    return encoder + decoder + bridge + readout + attention + SHARED * d


# ------------------------------------------------------------------------------------------------ data

LINES = [
    "The old dog sees the bird.", "Der alte Hund sieht den Vogel.", "注意力机制 relates every token to every other.",
    "Ünïcödé, 中文, and  two spaces", "emoji 🙂 and </s> as text", "",
]  # fmt: skip


def data() -> Measured:
    """F-03, data: tokenizers that lose nothing, splits that share nothing, batches by tokens, padding without effect.

    Formula: decode(encode(x)) = x; rows x longest row <= budget.
    Source: Sennrich 2016; Schuster 2012 and Wu 2016; Kudo 2018.
    """
    tokenizers = [train_tokenizer(LINES * 4, 400, name, "none", 1.0) for name in ALGORITHMS]
    lost = [line for tokenizer in tokenizers for line in LINES if tokenizer.decode(tokenizer.encode(line)) != line]
    store = PairStore()
    store.add((Pair(f"line {n % 150} of text", f"Zeile {n % 150}") for n in range(600)), "numbers")
    split = hold_out(store)
    held = {pair.source for pair in split.validation}
    trained = [pair.source for n, pair in enumerate(store) if n not in set(split.held.tolist())]
    tokenizer = train_tokenizer((pair.source for pair in store), 400)
    batches = TrainingBatches(
        store, tokenizer, tokenizer, batch_tokens=64, max_length=32, long_policy="error", seed=1, held=split.held
    )
    drawn = [next(batches) for _ in range(40)]
    return Measured({
        "round_trip": float(len(lost)),
        "overlap": float(len(held & set(trained))),
        "budget": float(sum(max(batch.source.numel(), batch.target.numel()) > 64 for batch in drawn)),
        "padding": max(_beside_others(family) for family in ("transformer", "recurrent")),
    })  # fmt: skip


def _beside_others(family: str) -> float:
    """Compare the logits of a sentence alone and in a padded batch."""
    any_model, target = model(family), torch.tensor([[1, 4, 5, 6]])

    def logits(tokens: Tensor, lengths: Tensor) -> Tensor:
        state = any_model.start(any_model.encode(Source(tokens, lengths)))
        return any_model.logits(any_model.decode(target.expand(len(tokens), -1), state)[0])

    short, long = torch.tensor([[5, 6, 7]]), torch.tensor([[9, 8, 7, 6, 5, 4, 3]])
    padded = torch.cat([F.pad(short, [0, 4]), long])
    return gap(logits(padded, torch.tensor([3, 7]))[:1], logits(short, torch.tensor([3])))


# ------------------------------------------------------------------------------------------------ computing


def computing() -> Measured:
    """F-04, computing power: the arithmetic of an update, counted while it runs and by formula.

    Formula: 2 N a token forward and twice that backward, N being the weights that it meets; and 4 S T d for the scores
    and contexts of an attention.
    Source: Kaplan 2020, C = 6 N D; Vaswani 2017, table 1.
    """
    settings = {
        "dim": 32,
        "ffn_dim": 64,
        "num_heads": 4,
        "num_encoder_layers": 2,
        "num_decoder_layers": 2,
        "dropout": 0.0,
    }
    torch.manual_seed(0)
    transformer = build("transformer", settings, 300)
    rows = [torch.randint(3, 300, (length,)).tolist() for length in (15, 15, 15, 15)]
    batch = next(evaluation_batches(rows, [row[:11] for row in rows], 1_000))
    counted = flops_per_cell(transformer, loss_sum, batch)
    expected = _analytic(batch, settings, 300) / batch.num_cells
    return Measured({"flops": abs(counted / expected - 1)})


def _analytic(batch: Batch, settings: dict[str, Any], vocab: int) -> float:
    """Return the operations of an update: 2 for a multiplication and addition, thrice for forward and backward."""
    rows, d, f = len(batch.source), settings["dim"], settings["ffn_dim"]
    S, T = batch.source.size(1), batch.target.size(1)
    encoder = S * (4 * d * d + 2 * d * f) + 2 * S * S * d
    decoder = T * (4 * d * d + 2 * d * d + 2 * d * f) + S * 2 * d * d + 2 * T * T * d + 2 * T * S * d
    layers = settings["num_encoder_layers"] * encoder + settings["num_decoder_layers"] * decoder
    return 3 * 2 * (rows * layers + batch.num_targets * d * vocab)


# ------------------------------------------------------------------------------------------------ relations


def relations() -> Measured:
    """F-06, every token is related to every other: by one layer of attention, and by nothing else in one layer.

    Formula: y_i = sum_j alpha_ij v_j with every alpha_ij > 0; d y_i / d x_j != 0 for all (i, j).
    Source: Vaswani 2017, section 4. Exceptions: padding, and with a causal mask whatever follows.
    """
    n, dim = 7, 8
    layer, x = heads(dim, 2), torch.randn(n, dim)
    q, kv = layer.project_all(x[None], torch.arange(n)[None])
    weights = attention_weights(q, kv.keys, layer.score, Mask()).detach()
    padded = attention_weights(q, kv.keys, layer.score, Mask(lengths=torch.tensor([5]))).detach()
    i, j = torch.arange(n).unsqueeze(1), torch.arange(n)
    kernel, rnn = torch.randn(dim, dim, 3), Recurrence("gru", dim, dim)

    def wrong(f: Callable[[Tensor], Tensor], expected: Tensor) -> float:
        return count(connected(f, x) != expected)

    return Measured({
        "sums": gap(weights.sum(-1), torch.ones_like(weights[..., 0])),
        "least": float(weights.min()),
        "unrelated": wrong(lambda x: read(layer, x[None], x[None])[0], torch.ones(n, n, dtype=torch.bool)),
        "convolution": wrong(lambda x: F.conv1d(x.T[None], kernel, padding=1)[0].T, (i - j).abs() <= 1),
        "recurrence": wrong(lambda x: rnn(x[None])[0][0], j <= i),
        "causal": wrong(lambda x: read(layer, x[None], x[None], Mask(causal=True))[0], j <= i),
        "padding": float(padded[..., 5:].max()),
    })  # fmt: skip
