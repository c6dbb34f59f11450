"""A Transformer of dot products as one structure that the kernels run: encoder, source, step, vocabulary.

What of a model is known stands in `unknown`, which names the first part that is not; such a model is not built here.
"""

from __future__ import annotations

import ctypes
from dataclasses import replace
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.models.transformer import Transformer
from onehop.nn.interfaces import Memory, Source
from onehop.nn.positions import Learned, Sinusoidal, sinusoidal
from onehop.runtime.blocks import TABLE, Blocks, Texts, unknown_block, unknown_weights
from onehop.runtime.encoder import unknown_left
from onehop.runtime.library import Kernels
from onehop.runtime.linear import packed_best, packed_linear, refuse_weights
from onehop.runtime.memory import roomy
from onehop.runtime.packing import MOST_BEST, Packer, Stack
from onehop.runtime.state import Cache, FastState
from onehop.runtime.threads import threads


class FastTransformer(nn.Module):
    """A `Transformer` behind the same interface, for inference on a processor.

    Its states, logits and tokens do not depend, to the bit, on which rows stand together or on the number of threads;
    the log-probabilities of `best` are sums over the vocabulary, which threads that share it out add in another order.
    Packed rows are decoded by the model it was made of.

    Args:
        reference: The model; its embeddings are used as they are.
        kernels: What runs it.
        precision: Of the products: `float32`, `bfloat16` or `int8`.
    """

    most_best = MOST_BEST

    def __init__(self, reference: Transformer, kernels: Kernels, precision: str) -> None:
        super().__init__()
        self.register_load_state_dict_pre_hook(refuse_weights)
        self.reference, self.kernels, self.precision = reference, kernels, precision
        packer = Packer(kernels, precision)
        self._encoder = Blocks(packer, reference.encoder, reference.encoder_norm, reference.source_embedding)
        self._decoder = Blocks(packer, reference.decoder, reference.decoder_norm, reference.target_embedding)
        self._decoder.stack.output = packer.matrix(reference.output)
        self._codes: list[Tensor] = []  # the last is in use; another thread may be reading those of before
        self._growing = Lock()
        self._known = 0  # positions that the tables hold

    @property
    def output(self) -> nn.Linear:
        """The last linear map of `logits`."""
        return self.reference.output

    # -------------------------------------------------------------------------------------------- the interface

    def encode(self, source: Source) -> Memory:
        """Read `source.tokens (B, S)`: states `(B, S, D)`, zeros where there is padding, on which no time is spent."""
        texts = Texts(source)
        self._reach(texts.longest)
        tokens = texts.flat(source.tokens).long()
        known = self._encoder.stack.vocabulary
        if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) < known:
            raise IndexError(f"tokens from {int(tokens.min())} to {int(tokens.max())} of a vocabulary of {known}")
        states = self._encoder.read(texts, tokens, None)
        return Memory(texts.rows(states), source.lengths, source.segments)

    def start(self, memory: Memory) -> Any:
        """Project the source once for each layer."""
        if memory.segments is not None:
            return self.reference.start(memory)
        (B, S, dim), stack = memory.states.shape, self._decoder.stack
        if dim != stack.dim:
            raise ValueError(f"states of {dim} numbers, where the model's have {stack.dim}")
        lengths = memory.known_lengths().long()
        real = _real(lengths, B, S)
        states = (memory.states if real is None else memory.states[real]).reshape(-1, dim).float().contiguous()
        library = self.kernels.library
        room = [library.kept_floats(ctypes.byref(stack), size) for size in lengths.tolist()]
        kept = roomy(4 * sum(room)).view(torch.float32).split(room)
        addresses = torch.tensor([each.data_ptr() for each in kept], dtype=torch.int64)
        self._call("keep", stack, B, states, _begins(lengths, B, S), addresses)
        cache = Cache(stack.layers, self.kernels.times, stack.groups * stack.width, B)
        times = torch.zeros(B, dtype=torch.int64)
        past = torch.zeros(B, 0, dtype=torch.int64)
        return FastState(1, cache, torch.arange(B), past, times, 0, addresses, lengths, kept)

    def decode(
        self, tokens: Tensor, state: Any, lengths: Tensor | None = None, segments: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Read `tokens (B, T)` after what `state` holds, one step after the other; see `onehop.nn.Decoder`.

        Of a token that is not in the vocabulary the states are not numbers (NaN).
        """
        if not isinstance(state, FastState):
            return self.reference.decode(tokens, state, lengths, segments)
        if segments is not None:
            raise ValueError("packed targets need a packed source and are decoded whole")
        rows, width = tokens.shape
        if rows != len(state.own):
            raise ValueError(f"{rows} rows of tokens after a state of {len(state.own)}")
        tokens = tokens.long()
        hidden = torch.empty(width, rows, self._decoder.stack.dim, dtype=torch.float32)
        for t in range(width):
            state = self._step(tokens[:, t].contiguous(), state, hidden[t])
            times = state.times + (1 if lengths is None else (t < lengths).long())
            longest = state.longest + 1 if lengths is None else int(times.max()) if rows else state.longest
            state = replace(state, times=times, longest=longest)
        return hidden.transpose(0, 1), state

    def logits(self, hidden: Tensor) -> Tensor:
        """Return scores over the target's vocabulary, not normalised."""
        return packed_linear(self.kernels.library, self._decoder.stack.output, hidden)

    def best(self, hidden: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return the log-probabilities of the `count` likeliest tokens of each row, `(B, count)`, and the tokens.

        No more than `most_best`; the logits of the others are never held.
        """
        return packed_best(self.kernels.library, self._decoder.stack.output, hidden, count)

    def train(self, mode: bool = True) -> FastTransformer:
        """Refuse to be trained: there are no gradients here."""
        if mode:
            raise RuntimeError("a fast model is for inference; train the model that it was made of")
        return super().train(False)

    # -------------------------------------------------------------------------------------------- inside

    def _step(self, tokens: Tensor, state: FastState, hidden: Tensor) -> FastState:
        """Write the states of one more token of each row, `(B, D)`, to `hidden`."""
        self._reach(state.longest + 1)
        state = state.stepped()
        self._run(
            "step", ctypes.byref(self._decoder.stack), threads(), len(tokens), state.beams,
            state.cache.slots, state.past.size(1), tokens.data_ptr(), state.times.data_ptr(), state.own.data_ptr(),
            state.past.data_ptr(), state.cache.addresses.data_ptr(), state.sources.data_ptr(), state.sizes.data_ptr(),
            hidden.data_ptr(),
        )  # fmt: skip
        return state

    def _call(self, name: str, stack: Stack, count: int, *tensors: Tensor) -> None:
        self._run(name, ctypes.byref(stack), threads(), count, *(tensor.data_ptr() for tensor in tensors))

    def _run(self, name: str, *arguments: Any) -> None:
        getattr(self.kernels.library, name)(*arguments)

    def _reach(self, positions: int) -> None:
        """Let the tables of positions hold so many."""
        codes = self.reference.positions
        if positions <= self._known:
            return
        with self._growing:
            known = max(TABLE, 2 * self._known, positions)
            if isinstance(codes, Learned):
                if positions > len(codes.weight):
                    codes(torch.tensor([positions - 1]))  # tells that nobody has learned them
                known = len(codes.weight)
                self._codes.append(codes.weight.detach())
            elif isinstance(codes, Sinusoidal):
                self._codes.append(sinusoidal(torch.arange(known), codes.dim))
            for side in (self._encoder, self._decoder):
                side.reach(known)
                if codes is not None:
                    side.stack.codes = self._codes[-1].data_ptr()
            self._known = known


def unknown(model: nn.Module) -> str:
    """Return the first part of a model that the kernels do not know, in words; empty where they know all.

    Example:
        >>> unknown(onehop.models.build("transformer", {"preset": "transformer-tiny"}, source_vocab=50))
        ''
        >>> unknown(onehop.models.build("transformer", {"select": "sparsemax"}, source_vocab=50))
        'attention that is no softmax everywhere'
    """
    if type(model) is not Transformer:
        return f"a {type(model).__name__}"
    if model.decoder_relative is not None:
        return "distances added to scores"
    known = unknown_left(model) or unknown_weights(model)
    return known or next(filter(None, map(unknown_block, model.decoder)), "")


def _real(lengths: Tensor | None, B: int, S: int) -> Tensor | None:
    """Return which positions are real, `(B, S)`; None where all are."""
    if lengths is None or bool((lengths == S).all()):
        return None
    return torch.arange(S) < lengths.unsqueeze(1)


def _begins(lengths: Tensor | None, B: int, S: int) -> Tensor:
    """Return where each sentence begins when all stand one behind the other, and the end of the last: `(B + 1,)`."""
    full = torch.full((B,), S) if lengths is None else lengths
    return F.pad(full.cumsum(0), [1, 0])
