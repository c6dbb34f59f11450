"""Recurrences: Elman's cell, the LSTM and the GRU, over whole sequences and step by step, on torch's own cells.

A state is a value, one tensor `(B, D)` for each layer, never kept in the module.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from onehop.nn.dropout import Dropout
from onehop.nn.state import Batched

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"elman": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@dataclass(frozen=True)
class Cells(Batched):
    """The state of a recurrence: `hidden`, and for an LSTM `cell`, each `(B, D)` for each layer, lowest first."""

    hidden: tuple[Tensor, ...]
    cell: tuple[Tensor, ...] = ()

    @property
    def top(self) -> Tensor:
        """The hidden state of the highest layer."""
        return self.hidden[-1]

    def where(self, keep: Tensor, other: Cells) -> Cells:
        """Return these rows where `keep (B,)` is true, else those of `other`."""
        choose = keep.unsqueeze(1)
        hidden = tuple(torch.where(choose, *pair) for pair in zip(self.hidden, other.hidden, strict=True))
        return Cells(hidden, tuple(torch.where(choose, *pair) for pair in zip(self.cell, other.cell, strict=True)))


class Recurrence(nn.Module):
    """Layers of one kind of cell.

    `elman` is `tanh(W x + U h + b)` (Elman 1990), `lstm` that of Hochreiter 1997 with forget gates (Gers 2000), which
    start open, and `gru` that of Cho 2014.

    Args:
        cell: `elman`, `lstm` or `gru`.
        in_dim: Width of what is read.
        dim: Width of a layer's output, of both directions together.
        num_layers: L.
        bidirectional: Whether each layer reads in both directions, half the width each (Schuster 1997).
        dropout: Between layers, in training.

    Example:
        >>> rnn = Recurrence("gru", 4, 6, num_layers=2)
        >>> outputs, state = rnn(torch.randn(3, 5, 4))
        >>> outputs.shape, torch.equal(outputs[:, -1], state.top)
        (torch.Size([3, 5, 6]), True)
    """

    def __init__(
        self,
        cell: str,
        in_dim: int,
        dim: int,
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.kind, self.dropout, self.num_layers = cell, Dropout(dropout), num_layers
        width = dim // 2 if bidirectional else dim
        self.layers = cast(
            "list[nn.RNNBase]",
            nn.ModuleList(
                CELLS[cell](in_dim if i == 0 else dim, width, batch_first=True, bidirectional=bidirectional)
                for i in range(num_layers)
            ),
        )
        if cell == "lstm":
            for layer in self.layers:
                for name, parameter in layer.named_parameters():
                    if name.startswith("bias_ih"):  # a gate that begins open forgets little (Jozefowicz 2015)
                        nn.init.ones_(parameter.data[width : 2 * width])

    def zeros(self, like: Tensor) -> Cells:
        """Return the state of all zeros for the rows of `like (B, …)`, one direction."""
        zeros = tuple(like.new_zeros(len(like), layer.hidden_size) for layer in self.layers)
        return Cells(zeros, zeros if self.kind == "lstm" else ())

    def forward(self, x: Tensor, state: Cells | None = None, lengths: Tensor | None = None) -> tuple[Tensor, Cells]:
        """Read `x (B, T, D)` after `state`, in the precision of the weights.

        Args:
            x: Inputs.
            state: Before the first; None for zeros, which two directions always begin from.
            lengths: `(B,)`, real inputs of each row; None when all are real. Outputs behind them mean nothing.

        Returns:
            Outputs of the highest layer `(B, T, D)`, and the state after each row's last input (of two directions that
            of the forward one).
        """
        hidden: list[Tensor] = []
        cell: list[Tensor] = []
        x = self._whole(x)
        for i, layer in enumerate(self.layers):
            before = None if state is None else (state.hidden[i], state.cell[i] if state.cell else None)
            with torch.autocast(x.device.type, enabled=False), _unrounded(x):
                x, after = self._layer(layer, x if i == 0 else self.dropout(x), before, lengths)
            hidden.append(after[0])
            if after[1] is not None:
                cell.append(after[1])
        return x, Cells(tuple(hidden), tuple(cell))

    def step(self, x: Tensor, state: Cells) -> Cells:
        """Read one input `x (B, D)` after `state`."""
        hidden: list[Tensor] = []
        cell: list[Tensor] = []
        x = self._whole(x)
        for i, layer in enumerate(self.layers):
            x = x if i == 0 else self.dropout(x)
            weights = layer.all_weights[0]
            with torch.autocast(x.device.type, enabled=False):
                if self.kind == "lstm":
                    h, c = torch.lstm_cell(x, (state.hidden[i], state.cell[i]), *weights)
                    cell.append(c)
                else:
                    h = (torch.gru_cell if self.kind == "gru" else torch.rnn_tanh_cell)(x, state.hidden[i], *weights)
            hidden.append(h)
            x = h
        return Cells(tuple(hidden), tuple(cell))

    def _whole(self, x: Tensor) -> Tensor:
        """Return `x` in the type of the weights: sums over many steps do not bear bfloat16."""
        return x.to(self.layers[0].all_weights[0][0].dtype)

    def _layer(
        self, layer: nn.RNNBase, x: Tensor, state: tuple[Tensor, Tensor | None] | None, lengths: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor | None]]:
        """Run one layer; torch's packing wants rows of at least one input, so that empty ones are given one."""
        if x.size(1) == 0:
            ways = 2 if layer.bidirectional else 1
            zeros = x.new_zeros(len(x), layer.hidden_size)
            nothing = (zeros, zeros if self.kind == "lstm" else None)
            return x.new_empty(len(x), 0, ways * layer.hidden_size), nothing if state is None else state
        before = None
        if state is not None:
            h, c = state
            before = h.unsqueeze(0) if c is None else (h.unsqueeze(0), c.unsqueeze(0))
        if lengths is None:
            outputs, after = layer(x, before)
        else:
            packed = pack_padded_sequence(x, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
            outputs, after = layer(packed, before)
            outputs, _ = pad_packed_sequence(outputs, batch_first=True, total_length=x.size(1))
        h, c = after if isinstance(after, tuple) else (after, None)
        h, c = h[0], None if c is None else c[0]
        if lengths is not None:
            read = (lengths > 0).unsqueeze(1)
            old_h, old_c = state or (torch.zeros_like(h), None if c is None else torch.zeros_like(c))
            h = torch.where(read, h, old_h)
            c = None if c is None or old_c is None else torch.where(read, c, old_c)
        return outputs, (h, c)


def _unrounded(x: Tensor) -> AbstractContextManager[object]:
    """Keep cuDNN from rounding float32 to TF32, its default: a model would not do on a processor what it did there."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False) if x.is_cuda else nullcontext()
