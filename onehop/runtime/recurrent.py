"""Recurrences with packed weights, and the score of additive attention without its hidden layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from onehop.nn.attention.scores import HeadLinear, TanhSum
from onehop.nn.recurrent import Cells, Recurrence
from onehop.runtime.library import Kernels
from onehop.runtime.linear import packed_linear
from onehop.runtime.packing import Packer
from onehop.runtime.threads import threads

Layer = tuple[Tensor, Tensor | None]  # the state of a layer: hidden, and for an LSTM cell


class PackedRecurrence(nn.Module):
    """A `Recurrence` whose products are the kernels': all inputs of a text at once, and a state's at each step.

    Args:
        reference: The layers; they stay as they are.
        kernels: What runs them.
        precision: `float32`, `bfloat16` or `int8`; states between steps are float32 in all.
    """

    def __init__(self, reference: Recurrence, kernels: Kernels, precision: str) -> None:
        super().__init__()
        self.reference, self.num_layers = reference, reference.num_layers
        packer = Packer(kernels, precision)
        self._layers = [
            [_Direction(reference.kind, packer, weights) for weights in layer.all_weights] for layer in reference.layers
        ]

    def zeros(self, like: Tensor) -> Cells:
        """Return the state of all zeros for the rows of `like (B, …)`."""
        return self.reference.zeros(like)

    def forward(self, x: Tensor, state: Cells | None = None, lengths: Tensor | None = None) -> tuple[Tensor, Cells]:
        """Read `x (B, T, D)` after `state`; see `onehop.nn.recurrent.Recurrence`."""
        state = state or self.zeros(x)
        hidden, cell = list[Tensor](), list[Tensor]()
        for i, directions in enumerate(self._layers):
            before = state.hidden[i], state.cell[i] if state.cell else None
            outputs, (h, c) = directions[0].read(x, before, lengths)
            if len(directions) == 2:
                backward, _ = directions[1].read(_turned(x, lengths), before, lengths)
                outputs = torch.cat([outputs, _turned(backward, lengths)], 2)
            x = outputs
            hidden.append(h)
            cell.extend([] if c is None else [c])
        return x, Cells(tuple(hidden), tuple(cell))

    def step(self, x: Tensor, state: Cells) -> Cells:
        """Read one input `x (B, D)` after `state`."""
        return self(x.unsqueeze(1), state)[1]


class _Direction:
    """A layer of a recurrence in one direction: two packed weights, and what happens between them."""

    def __init__(self, kind: str, packer: Packer, weights: Sequence[Tensor]) -> None:
        self.kind, self._packer = kind, packer  # the packer holds what the matrices point to
        self._given, self._before = (packer.packed_matrix(*pair) for pair in zip(weights[:2], weights[2:], strict=True))

    def read(self, x: Tensor, state: Layer, lengths: Tensor | None) -> tuple[Tensor, Layer]:
        """Read `x (B, T, D)` after a state: outputs `(B, T, D2)`, and the state after each row's last input."""
        library, outputs = self._packer.kernels.library, list[Tensor]()
        for t, given in enumerate(packed_linear(library, self._given, x).unbind(1)):
            before = packed_linear(library, self._before, state[0])
            after = self._after(given, before, *state)
            outputs.append(after[0])
            if lengths is not None:
                after = _where((t < lengths).unsqueeze(1), after, state)
            state = after
        return (torch.stack(outputs, 1) if outputs else x.new_empty(len(x), 0, state[0].size(1))), state

    def _after(self, given: Tensor, before: Tensor, h: Tensor, c: Tensor | None) -> Layer:
        """Return the next state from what input and state gave."""
        if c is not None:
            enter, forget, new, leave = (given + before).chunk(4, 1)
            c = forget.sigmoid() * c + enter.sigmoid() * new.tanh()
            return leave.sigmoid() * c.tanh(), c
        if self.kind == "elman":
            return (given + before).tanh(), None
        gates = 2 * h.size(1)
        reset, keep = (given[:, :gates] + before[:, :gates]).sigmoid().chunk(2, 1)
        new = torch.addcmul(given[:, gates:], reset, before[:, gates:]).tanh()
        return torch.lerp(new, h, keep), None


def _where(real: Tensor, new: Layer, old: Layer) -> Layer:
    """Return the new state of the rows where `real (B, 1)` is true, the old one of the others."""
    cell = None if new[1] is None or old[1] is None else torch.where(real, new[1], old[1])
    return torch.where(real, new[0], old[0]), cell


def _turned(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return `x (B, T, D)` with each row's real inputs in the opposite order."""
    if lengths is None:
        return x.flip(1)
    where = torch.arange(x.size(1)).expand(len(x), -1)
    real = where < lengths.unsqueeze(1)
    where = torch.where(real, lengths.unsqueeze(1) - 1 - where, where)
    return x.gather(1, where.unsqueeze(2).expand_as(x))


class PackedHeadLinear(nn.Module):
    """`HeadLinear` by the kernels.

    Args:
        reference: A map of each head.
        kernels: What runs it.
        precision: `float32`, `bfloat16` or `int8`.
    """

    def __init__(self, reference: HeadLinear, kernels: Kernels, precision: str) -> None:
        super().__init__()
        self.weight, self.bias, self._packer = reference.weight, reference.bias, Packer(kernels, precision)
        biases: Any = [None] * len(self.weight) if self.bias is None else self.bias.flatten(1)
        self._heads = [self._packer.packed_matrix(*pair) for pair in zip(self.weight, biases, strict=True)]

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Map `x (B, H, T, K)` to `(B, H, T, K')`."""
        library = self._packer.kernels.library
        return torch.stack([packed_linear(library, head, x[:, i]) for i, head in enumerate(self._heads)], 1)


class FastTanhSum(nn.Module):
    """`TanhSum` without its hidden layer, which is never held.

    Args:
        reference: Whose weight is read.
        kernels: What runs it.
    """

    def __init__(self, reference: TanhSum, kernels: Kernels) -> None:
        super().__init__()
        self.weight, self._library = reference.weight, kernels.library

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """Compare each `q (B, H, T, A)` with each `k (B, H, S, A)`: scores `(B, H, T, S)`."""
        (B, H, T, A), S = q.shape, k.size(2)
        q, k, weight = (x.float().contiguous() for x in (q, k, self.weight[:, 0, :, 0]))
        out = torch.empty(B, H, T, S, dtype=torch.float32)
        self._library.tanh_sum(threads(), B * H, H, T, S, A, *(x.data_ptr() for x in (q, k, weight, out)))
        return out
