"""A-02, K-01, T-01 and T-05, measured: the scale, recall by content, and what a Transformer learns and keeps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.lab.measured import Figure, Measured
from onehop.lab.parts import model, size
from onehop.lab.toys import backwards, copied, descend, learned, probe, share_right, strings
from onehop.nn import Mask, Source, attend
from onehop.nn.attention import Score, dot, scaled_dot
from onehop.nn.attention.attend import attention_weights
from onehop.nn.recurrent import Recurrence


def scaling() -> Measured:
    """A-02, why the product is scaled: its variance grows with the width, and large scores leave the softmax no slope.

    Formula: var(q.k) = d_k for independent components of variance 1; var(q.k / sqrt(d_k)) = 1.
    Source: Vaswani et al. 2017, section 3.2.1 and footnote 4.
    """
    widths = (4, 16, 64, 256)
    plain = {d: _scores(dot(), d) for d in widths}
    scaled = {d: _scores(scaled_dot(d), d) for d in widths}
    entropies = {name: [(float(d), _entropy(s)) for d, s in scores.items()]
                 for name, scores in (("unscaled", plain), ("scaled", scaled))}  # fmt: skip
    unscaled = dict(entropies["unscaled"])
    whole = dict(entropies["scaled"])
    return Measured(
        {
            "unscaled": max(abs(float(plain[d].var()) / d - 1) for d in widths[1:]),
            "scaled": max(abs(float(scaled[d].var()) - 1) for d in widths[1:]),
            "collapse": unscaled[256.0] / unscaled[4.0],
            "constant": abs(whole[256.0] / whole[4.0] - 1),
            "gradient": _slope(plain[256]) / _slope(plain[4]),
        },
        figures=(Figure("Entropy of the weights over 32 keys", "d_k", "nats", entropies, log_x=True),),
    )


def _scores(score: Score, width: int) -> Tensor:
    """Return the scores of 3,125 queries with 32 keys each: 100,000 draws."""
    q, k = torch.randn(3_125, 1, 1, width), torch.randn(3_125, 1, 32, width)
    return score(q, k).flatten(0, 2)


def _entropy(scores: Tensor) -> float:
    logs = scores.log_softmax(-1)
    return float(-(logs.exp() * logs).sum(-1).mean())


def _slope(scores: Tensor) -> float:
    """Return the mean length of the softmax's Jacobian, diag(w) - w w^T."""
    w = scores.softmax(-1)
    return float((torch.diag_embed(w) - w.unsqueeze(2) * w.unsqueeze(1)).flatten(1).norm(dim=1).mean())


# ------------------------------------------------------------------------------------------------ K-01

KEYS, VALUES, DIM = 64, 16, 32


class _Memory(nn.Module):
    """Pairs of a key and a value, and a query that is compared with the keys."""

    def __init__(self) -> None:
        super().__init__()
        self.keys, self.values, self.out = nn.Embedding(KEYS, DIM), nn.Embedding(VALUES, DIM), nn.Linear(DIM, VALUES)

    def weights(self, keys: Tensor, query: Tensor) -> Tensor:
        """Return where the query looks, `(B, N)`."""
        q, k = self.keys(query)[:, None, None], self.keys(keys).unsqueeze(1)
        return attention_weights(q, k, scaled_dot(DIM), Mask())[:, 0, 0]

    def forward(self, keys: Tensor, values: Tensor, query: Tensor) -> Tensor:
        """Return scores of the values, `(B, VALUES)`."""
        q, k, v = self.keys(query)[:, None, None], self.keys(keys).unsqueeze(1), self.values(values).unsqueeze(1)
        return self.out(attend(q, k, v, scaled_dot(DIM), Mask())[:, 0, 0])


class _Recurrent(nn.Module):
    """Reads the pairs one after the other, then the query, and says the value."""

    def __init__(self) -> None:
        super().__init__()
        self.keys, self.values, self.out = nn.Embedding(KEYS, 8), nn.Embedding(VALUES, 8), nn.Linear(16, VALUES)
        self.rnn = Recurrence("lstm", 16, 16)

    def forward(self, keys: Tensor, values: Tensor, query: Tensor) -> Tensor:
        """Return scores of the values, `(B, VALUES)`."""
        pairs = torch.cat([self.keys(keys), self.values(values)], -1)
        asked = torch.cat([self.keys(query), torch.zeros(len(query), 8)], -1).unsqueeze(1)
        return self.out(self.rnn(torch.cat([pairs, asked], 1))[0][:, -1])


def recalling() -> Measured:
    """K-01, recall at work: pairs that were never seen together, and more of them than in training.

    Formula: k_1 v_1 ... k_n v_n k_q -> v_q; o = sum_j softmax_j(q . k_j / sqrt(d)) v_j.
    Source: the talk of the notes; Graves 2014. The LSTM has as many weights.
    """
    memory, rnn = _Memory(), _Recurrent()
    assert size(rnn) == size(memory)
    for reader in (memory, rnn):
        descend(reader, lambda reader=reader: _missed(reader, 8), 1_500, 1e-2)
    counts = (4, 8, 16, 32)
    curves = {name: [(float(n), _recalled(reader, n)) for n in counts]
              for name, reader in (("attention", memory), ("LSTM", rnn))}  # fmt: skip
    keys, _, query, place = _pairs(1_000, 32)
    mass = memory.weights(keys, query).gather(1, place.unsqueeze(1)).detach().mean()
    return Measured(
        {
            "recall": dict(curves["attention"])[8.0],
            "longer": dict(curves["attention"])[32.0],
            "mass": float(mass),
            "recurrent": dict(curves["LSTM"])[32.0],
        },
        figures=(Figure("Recall after training on 8 pairs", "pairs", "accuracy", curves, log_x=True),),
    )


def _pairs(rows: int, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return `n` different keys, their values, the key that is asked for, and where it stands."""
    keys = torch.rand(rows, KEYS).argsort(1)[:, :n]
    values, place = torch.randint(VALUES, (rows, n)), torch.randint(n, (rows,))
    return keys, values, keys.gather(1, place.unsqueeze(1)).squeeze(1), place


def _missed(reader: nn.Module, n: int) -> Tensor:
    keys, values, query, place = _pairs(64, n)
    return F.cross_entropy(reader(keys, values, query), values.gather(1, place.unsqueeze(1)).squeeze(1))


@torch.no_grad()
def _recalled(reader: nn.Module, n: int) -> float:
    keys, values, query, place = _pairs(1_000, n)
    wanted = values.gather(1, place.unsqueeze(1)).squeeze(1)
    return float((reader(keys, values, query).argmax(-1) == wanted).float().mean())


# ------------------------------------------------------------------------------------------------ T-01, T-05


def rewriting() -> Measured:
    """T-01, the Transformer at work: it copies and reverses strings.

    Formula: y = x, and y = x from its end.
    Source: Vaswani et al. 2017; the tasks are Graves's of 2014.
    """
    settings = {"dim": 64, "ffn_dim": 128, "num_encoder_layers": 2, "num_decoder_layers": 2}
    copier, turner = (learned("transformer", settings, task, 1_500, (1, 10)) for task in (copied, backwards))
    sources = strings(300, 10)
    return Measured({
        "copied": share_right(copier, copied, sources),
        "reversed": share_right(turner, backwards, sources),
    })  # fmt: skip


class _Alone(nn.Module):
    """A sublayer without the residual around it, normalised as before."""

    def __init__(self, residual: Any) -> None:
        super().__init__()
        self.after = residual.after

    def forward(self, x: Tensor, sublayer: Any) -> Tensor:
        """Return what the sublayer alone gives."""
        return self.after(sublayer(x))


LAYERS, WIDE, PLACES, FITTED, TRIED = 6, 256, 20, 1_600, 100


def probing() -> Measured:
    """T-05, residuals carry the positions upwards: a linear probe finds them behind six layers, or no more.

    Formula: accuracy of argmax_p(w_p . x_p^(l)) for the position p of a token, at each layer l.
    Source: the notes: "key information such as positional encoding is not lost on the way". Weights are random.
    """
    settings = {"dim": WIDE, "ffn_dim": 2 * WIDE, "num_encoder_layers": LAYERS}
    kept, lost = (model("transformer", settings, 100) for _ in range(2))
    for block in lost.encoder:
        block.attention_residual, block.feedforward_residual = (
            _Alone(residual) for residual in (block.attention_residual, block.feedforward_residual)
        )
    curves = {name: _probes(encoder) for name, encoder in (("with residuals", kept), ("without", lost))}
    return Measured(
        {"kept": curves["with residuals"][-1][1], "lost": curves["without"][-1][1]},
        figures=(Figure("A linear probe for the position (chance: 0.05)", "layer", "accuracy", curves),),
    )


def _probes(encoder: Any) -> list[tuple[float, float]]:
    """Return the accuracy of a probe at each layer, from what the first one reads."""
    states: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda block, given, out: states.append(out)) for block in encoder.encoder]
    first = encoder.encoder[0].register_forward_pre_hook(lambda block, given: states.append(given[0]))
    with torch.no_grad():
        encoder.encode(Source(torch.randint(3, 100, (FITTED + TRIED, PLACES))))
    for hook in [*hooks, first]:
        hook.remove()
    place = torch.arange(PLACES).expand(FITTED + TRIED, -1)
    return [(float(layer), probe(x, place, PLACES, FITTED)) for layer, x in enumerate(states)]
