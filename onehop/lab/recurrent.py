"""R-01 to R-03: the encoder-decoder, from one state handed over to attention at every step.

Each is a special case of the next, which these checks show by setting weights to zero: a context without weight leaves
the simple RNN, and attention with equal weights is the mean context.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from onehop.lab.measured import Measured
from onehop.lab.parts import gap, model, slopes
from onehop.nn import Source, record_attention
from onehop.nn.recurrent import Recurrence

SOURCE = Source(torch.tensor([[5, 6, 7, 8], [9, 3, 0, 0]]), torch.tensor([4, 2]))
OTHER = Source(torch.tensor([[7, 7, 5, 9], [4, 8, 0, 0]]), torch.tensor([4, 2]))
TARGET = torch.tensor([[1, 4, 5, 6, 7], [1, 9, 8, 7, 6]])


def hidden(model: Any, source: Source = SOURCE) -> Tensor:
    """Decode the target with its tokens known: `(B, T, D)`."""
    return model.decode(TARGET, model.start(model.encode(source)))[0]


def simple() -> Measured:
    """R-01, the simple RNN: the encoder's last state is the decoder's first, and the only thing it hears.

    Formula: h_t = f(x_t, h_(t-1)); s_0 = tanh(W h_N); s_t = f(y_(t-1), s_(t-1)); p(y_t) = softmax(g(s_t)).
    Source: Sutskever, Vinyals, Le 2014.
    """
    cells = [_cell("gru", nn.GRUCell), _cell("lstm", nn.LSTMCell), _cell("elman", nn.RNNCell)]
    rnn = model("recurrent", {"context": "none"})
    heard = gap(rnn.logits(hidden(rnn)), rnn.logits(hidden(rnn, OTHER)))
    nn.init.zeros_(rnn.bridge.weight)  # s_0 = tanh(W h_N + b), so that no source reaches it
    nn.init.zeros_(rnn.bridge.bias)
    cut = gap(rnn.logits(hidden(rnn)), rnn.logits(hidden(rnn, OTHER)))
    return Measured({"cell": max(cells), "source": heard, "cut": cut})


def _cell(kind: str, reference: type[nn.Module]) -> float:
    """Walk torch's cell over a sequence, with the weights of a recurrence that reads it whole."""
    x, ours, theirs = torch.randn(3, 7, 4), Recurrence(kind, 4, 6), reference(4, 6)
    theirs.load_state_dict({name.removesuffix("_l0"): p for name, p in ours.layers[0].state_dict().items()})
    state, states = None, list[Tensor]()
    for step in x.unbind(1):
        state = theirs(step, state)
        states.append(state[0] if isinstance(state, tuple) else state)
    return gap(ours(x)[0], torch.stack(states, 1))


def contextualized() -> Measured:
    """R-02, the contextualized RNN: the same context c is read beside every token.

    Formula: s_t = f([y_(t-1); c], s_(t-1)); c = h_N, or c = mean_j h_j.
    Source: Cho et al. 2014; both contexts in zhuanlan 104393915.
    """
    mean, final = (model("recurrent", {"context": name}).double() for name in ("mean", "final"))
    memory = mean.encode(SOURCE)
    lengths = memory.known_lengths().unsqueeze(1)
    average = memory.states.sum(1) / lengths  # padding is zero
    last = torch.stack([torch.cat([memory.states[b, n - 1, :4], memory.states[b, 0, 4:]]) for b, n in ((0, 4), (1, 2))])
    return Measured({
        "constant": _change_of_context(mean),
        "final": gap(final.start(memory).context, last),  # of two directions, each after all it read
        "mean": gap(mean.start(memory).context, average),
        "direct": min(_direct_term(mean)),
        "no_weight": max(_without_weight(name) for name in ("mean", "final")),
    })  # fmt: skip


def _change_of_context(rnn: Any) -> float:
    state = rnn.start(rnn.encode(SOURCE))
    first, changes = state.context, list[float]()
    for token in TARGET.split(1, 1):
        _, state = rnn.decode(token, state)
        changes.append(gap(state.context, first))
    return max(changes)


def _direct_term(rnn: Any) -> list[float]:
    """Return the length of the derivative of s_t by c at each step, with s_(t-1) held."""
    state, lengths = rnn.start(rnn.encode(SOURCE)), list[float]()
    for token in TARGET.split(1, 1):
        c = state.context.detach().requires_grad_()
        cells = state.cells.map(torch.detach, torch.detach)
        _, state = rnn.decode(token, replace(state, context=c, cells=cells))
        lengths.append(float(torch.autograd.grad(state.cells.top.sum(), c)[0].norm()))
    return lengths


def _without_weight(context: str) -> float:
    """Compare R-02 whose c has no weight with R-01, which has no c."""
    contextual, plain = (model("recurrent", {"context": name}).double() for name in (context, "none"))
    weights = contextual.state_dict()
    kept: dict[str, Tensor] = {}
    for name, small in plain.state_dict().items():  # c stands behind all else that is read
        if weights[name].shape != small.shape:
            weights[name][:, small.size(1) :] = 0
        kept[name] = weights[name][:, : small.size(1)] if small.dim() > 1 else weights[name]
    contextual.load_state_dict(weights)
    plain.load_state_dict(kept)
    return gap(hidden(contextual), hidden(plain))


def attentive() -> Measured:
    """R-03, soft alignment: each step reads the source anew, by what it is about to write.

    Formula: c_t = sum_j alpha_tj h_j; alpha_t = softmax_j(v^T tanh(W s_(t-1) + U h_j)); s_t = f(y_(t-1), s_(t-1), c_t).
    Source: Bahdanau, Cho, Bengio 2014.
    """
    rnn = model("recurrent", {"score": "additive"}).double()
    with record_attention() as record:
        hidden(rnn)
    weights = record["decoder.cross"]  # (B, 1, T, S)
    score = rnn.attention.score
    trained = [score.query_map.weight, score.key_map.weight, score.compare.weight]
    error, _ = slopes(lambda: rnn.logits(hidden(rnn)).logsumexp(-1).sum(), trained)
    mean = model("recurrent", {"context": "mean"}).double()
    nn.init.zeros_(score.compare.weight)  # every score 0, every weight equal
    mean.load_state_dict({name: p for name, p in rnn.state_dict().items() if not name.startswith("attention.")})
    return Measured({
        "sums": gap(weights.sum(-1), torch.ones_like(weights[..., 0])),
        "masked": float(weights[1, :, :, 2:].max()),
        "gradient": error,
        "uniform": gap(hidden(rnn), hidden(mean)),
    })  # fmt: skip
