"""Linear maps with packed weights, for models that are not run as a whole."""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from onehop.nn.interfaces import Memory, Source
from onehop.runtime.library import Kernels
from onehop.runtime.packing import MOST_BEST, Matrix, Packer
from onehop.runtime.threads import threads


class PackedLinear(nn.Module):
    """`nn.Linear` by the kernels, float32, bfloat16 or int8.

    Args:
        linear: What it replaces; its weight stays, for those who ask for its type.
        kernels: What runs it.
        precision: `float32`, `bfloat16` or `int8`.
    """

    def __init__(self, linear: nn.Linear, kernels: Kernels, precision: str) -> None:
        super().__init__()
        self.register_load_state_dict_pre_hook(refuse_weights)
        self.weight, self.bias = linear.weight, linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._library, self._packer = kernels.library, Packer(kernels, precision)
        self._matrix = self._packer.matrix(linear)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x (..., K)` to `(..., N)`."""
        return packed_linear(self._library, self._matrix, x)

    def best(self, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return the log-probabilities of the `count` likeliest outputs of each row `(B, K)`, and which they are."""
        return packed_best(self._library, self._matrix, x, count)


def packed_linear(library: Any, matrix: Matrix, x: Tensor) -> Tensor:
    """Map `x (..., K)` to `(..., N)` by a packed weight, in float32.

    Raises:
        ValueError: The inputs are of another width.
    """
    _check_width(matrix, x)
    flat = x.reshape(-1, x.size(-1)).float().contiguous()
    out = torch.empty(len(flat), matrix.outputs, dtype=torch.float32)
    library.linear(ctypes.byref(matrix), threads(), flat.data_ptr(), len(flat), out.data_ptr())
    return out.view(*x.shape[:-1], matrix.outputs)


def packed_best(library: Any, matrix: Matrix, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Map `x (B, K)` by a packed weight; return the `count` largest log-probabilities `(B, count)`, and of what.

    The outputs are never held whole, unless more than `MOST_BEST` are asked for.

    Raises:
        ValueError: The inputs are of another width.
    """
    _check_width(matrix, x)
    x, count = x.float().contiguous(), min(count, matrix.outputs)
    if count > MOST_BEST:
        best = packed_linear(library, matrix, x).log_softmax(-1).topk(count)
        return best.values, best.indices
    scores = torch.empty(len(x), count, dtype=torch.float32)
    tokens = torch.empty(len(x), count, dtype=torch.int64)
    library.best(ctypes.byref(matrix), threads(), x.data_ptr(), len(x), count, scores.data_ptr(), tokens.data_ptr())
    return scores, tokens


def refuse_weights(module: nn.Module, *_: Any) -> None:
    """Refuse to load weights into a fast model, before it does: packed ones would stay as they were."""
    raise RuntimeError("a fast model's weights are packed: load them into the model that it was made of")


def _check_width(matrix: Matrix, x: Tensor) -> None:
    """Refuse what the kernels, which are given an address only, would read beyond its end."""
    if x.size(-1) != matrix.inputs:
        raise ValueError(f"{x.size(-1)} numbers, where a packed weight reads {matrix.inputs}")


class FastDecoder(nn.Module):
    """A decoder with faster parts behind the interface of decoders, which also finds the likeliest tokens itself.

    Args:
        twin: Encoder and decoder; its `logits` are what its `output`, a `PackedLinear`, makes of the states.
    """

    most_best = MOST_BEST

    def __init__(self, twin: Any) -> None:
        super().__init__()
        self.twin = twin

    @property
    def output(self) -> PackedLinear:
        """The last linear map of `logits`."""
        return self.twin.output

    def encode(self, source: Source) -> Memory:
        """Read a source; see `onehop.nn.Encoder`."""
        return self.twin.encode(source)

    def start(self, memory: Memory) -> Any:
        """Return the state before the first token."""
        return self.twin.start(memory)

    def decode(
        self, tokens: Tensor, state: Any, lengths: Tensor | None = None, segments: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Read `tokens (B, T)` after what `state` holds; see `onehop.nn.Decoder`."""
        return self.twin.decode(tokens, state, lengths, segments)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return scores over the target's vocabulary, not normalised."""
        return self.twin.logits(hidden)

    def best(self, hidden: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return the log-probabilities of the `count` likeliest tokens of each row, `(B, count)`, and the tokens."""
        return self.output.best(hidden, count)


def with_parts(model: nn.Module, replace: Callable[[nn.Module], nn.Module | None]) -> nn.Module:
    """Return the model with parts replaced, the largest first; it shares its weights with the one given.

    Args:
        model: Stays as it is.
        replace: From a part to what comes in its place, or None where its own parts are to be asked for.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
        >>> with_parts(model, lambda part: nn.Identity() if type(part) is nn.Linear else None)
        Sequential(
          (0): Identity()
          (1): Tanh()
        )
    """
    found = replace(model)
    if found is not None:
        return found
    shared = {id(parameter): parameter for parameter in model.parameters()}
    twin = copy.deepcopy(model, shared)
    _replace_in(twin, replace)
    return twin


def _replace_in(module: nn.Module, replace: Callable[[nn.Module], nn.Module | None]) -> None:
    for name, child in list(module.named_children()):
        found = replace(child)
        if found is None:
            _replace_in(child, replace)
        else:
            setattr(module, name, found)
