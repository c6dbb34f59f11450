"""R-05: distance 1 instead of distance N, counted on the graph that autograd keeps of a forward pass.

The distance of two positions is the least number of operators on a way from an input to an output that mix positions.
A way is found by walking back from the output; it counts what mixes, and passes everything else for nothing.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from onehop.lab.measured import Grid, Measured
from onehop.lab.parts import connected, heads, maps, read
from onehop.nn import Mask
from onehop.nn.recurrent import Recurrence

MIXES = (  # attention's products or kernels, an Elman step, a convolution
    "Bmm", "ScaledDotProduct", "_Attend", "Tanh", "Convolution",
)  # fmt: skip
N, DIM, KERNEL, REACH = 16, 4, 3, 3


def hops(output: Tensor, source: Tensor) -> float:
    """Return the fewest mixing operators between a leaf `source` and `output`; infinite where there is no way."""
    best: dict[Any, int] = {}
    queue: deque[tuple[Any, int]] = deque([(output.grad_fn, 0)])
    while queue:
        node, before = queue.popleft()
        mixed = before + node.name().startswith(MIXES)
        if getattr(node, "variable", None) is source:
            return mixed
        if best.get(node, mixed + 1) <= mixed:
            continue
        best[node] = mixed
        for following, _ in node.next_functions:
            if following is not None:  # what mixes waits: the nearest come first
                (queue.append if following.name().startswith(MIXES) else queue.appendleft)((following, mixed))
    return math.inf


def distances() -> Measured:
    """R-05, distance = 1: self-attention joins any two positions in one step, a recurrence needs all between them.

    Formula: longest path O(1) for self-attention, O(n) for recurrence, O(log_k n) for dilated convolutions of width k,
    O(n / r) for attention in a window of r; work O(n^2 d), O(n d^2), O(k n d^2).
    Source: Vaswani et al. 2017, table 1.
    """
    attention, recurrent = _attention_hops(), _recurrent_hops()
    expected = torch.arange(N).unsqueeze(1) - torch.arange(N) + 1.0
    wrong = torch.where(expected > 0, recurrent != expected, recurrent != math.inf)
    work = {name: _growth(*sizes) for name, sizes in WORK.items()}
    return Measured(
        {
            "attention": float(attention.max()),
            "recurrent": float(wrong.sum()),
            "longest": float(recurrent[recurrent.isfinite()].max()),
            "convolution": sum(_layers(_dilated(k), n) != _log(n, k) for n in (4, 9, 16, 27, 40) for k in (2, 3)),
            "restricted": sum(
                _layers(_windowed(r), n) != math.ceil((n - 1) / r) for n in (4, 9, 16) for r in (1, 3, 5)
            ),
            **work,
        },
        grids=(_table(attention, recurrent),),
    )


def _attention_hops() -> Tensor:
    """Return the distance of each pair through one layer of self-attention."""
    layer, leaves = heads(DIM, 1), [torch.randn(1, 1, DIM, requires_grad=True) for _ in range(N)]
    x = torch.cat(leaves, 1)
    y = read(layer, x, x)
    everyone = connected(lambda x: read(layer, x[None], x[None])[0], x[0].detach())
    found = torch.tensor([[float(hops(y[:, i], leaf)) for leaf in leaves] for i in range(N)])
    return found.masked_fill(~everyone, math.inf)  # a way without a derivative would be none


def _recurrent_hops() -> Tensor:
    rnn, leaves = Recurrence("elman", DIM, DIM), [torch.randn(1, DIM, requires_grad=True) for _ in range(N)]
    state, rows = rnn.zeros(leaves[0]), list[list[float]]()
    for leaf in leaves:
        state = rnn.step(leaf, state)
        rows.append([float(hops(state.top, other)) for other in leaves])
    return torch.tensor(rows)


def _layers(stack: Any, n: int) -> int:
    """Return how many layers of a stack it takes until the last of `n` outputs hears the first input."""
    x = torch.ones(1, 1, n, requires_grad=True)
    y = x
    for layer in range(n + 1):
        if layer and float(torch.autograd.grad(y[..., -1].sum(), x, retain_graph=True)[0][..., 0].abs()) > 0:
            return int(hops(y[..., -1], x))
        y = stack(y, layer)
    return n + 1


def _dilated(k: int) -> Any:
    """Return causal convolutions of width `k`, each spread `k` times as far as the one before."""

    def layer(x: Tensor, number: int) -> Tensor:
        spread = k**number
        return F.conv1d(F.pad(x, [(k - 1) * spread, 0]), torch.ones(1, 1, k), dilation=spread)

    return layer


def _windowed(r: int) -> Any:
    """Return layers of attention that see `r` positions on either side; channels stand in the middle."""
    attention = heads(1, 1)
    own = maps(attention)
    for part in (own.query, own.key, own.value, attention.out):
        nn.init.ones_(next(part.parameters()))

    def layer(x: Tensor, number: int) -> Tensor:
        states = x.transpose(1, 2) + 0.1 * torch.arange(x.size(2)).view(1, -1, 1)  # not all alike
        return read(attention, states, states, Mask(window=r)).transpose(1, 2)

    return layer


def _log(n: int, k: int) -> int:
    """Return ceil(log_k n) without rounding."""
    return next(layers for layers in range(n) if k**layers >= n)


# ------------------------------------------------------------------------------------------------ work


def _flops(kind: str, n: int, dim: int) -> int:
    x = torch.randn(1, n, dim, requires_grad=True)
    q = x.unsqueeze(1)
    with FlopCounterMode(display=False) as counter:
        if kind == "attention":  # scores and context, between its maps
            weights = (q @ q.mT).softmax(-1)
            _ = weights @ q
        elif kind == "recurrent":
            rnn = Recurrence("elman", dim, dim)
            state = rnn.zeros(x[:, 0])
            for step in x.unbind(1):
                state = rnn.step(step, state)
        else:
            F.conv1d(x.mT, torch.randn(dim, dim, KERNEL), padding=KERNEL // 2)
    return counter.get_total_flops()


WORK = {
    "attention_work": ("attention", (32, 64), (8, 8)),
    "recurrent_work": ("recurrent", (32, 64), (8, 8)),
    "recurrent_width": ("recurrent", (32, 32), (8, 16)),
    "convolution_work": ("convolution", (32, 64), (8, 8)),
}


def _growth(kind: str, sizes: tuple[int, int], dims: tuple[int, int]) -> float:
    return _flops(kind, sizes[1], dims[1]) / _flops(kind, sizes[0], dims[0])


def _table(attention: Tensor, recurrent: Tensor) -> Grid:
    """Return table 1 of the paper with what was counted for n = 16."""
    longest = recurrent[recurrent.isfinite()].max()
    rows = (
        ("self-attention", "O(n^2 d)", "O(1)", "O(1)", f"{attention.max():.0f}"),
        ("recurrent", "O(n d^2)", "O(n)", "O(n)", f"{longest:.0f}"),
        (
            f"convolutional, k = {KERNEL}, dilated",
            "O(k n d^2)",
            "O(1)",
            "O(log_k n)",
            f"{_layers(_dilated(KERNEL), N)}",
        ),
        (f"self-attention, window {REACH}", "O(r n d)", "O(1)", "O(n / r)", f"{_layers(_windowed(REACH), N)}"),
    )
    head = ("layer", "work", "sequential operations", "longest path", f"counted, n = {N}")
    return Grid("Vaswani 2017, table 1, and the longest path counted on the graph", head, rows)
