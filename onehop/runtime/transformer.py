"""A Transformer of dot products as one structure that the kernels run: encoder, source, step, vocabulary.

What of a model is known stands in `unknown`, which names the first part that is not; such a model is not built here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.models.transformer import Transformer
from onehop.nn.attention import Projections
from onehop.nn.attention.scores import Score, unchanged
from onehop.nn.attention.selects import soft
from onehop.nn.block import DecoderBlock, EncoderBlock, Residual
from onehop.nn.feedforward import FeedForward, GatedFeedForward
from onehop.nn.interfaces import Memory, Source
from onehop.nn.positions import Learned, Sinusoidal, sinusoidal
from onehop.nn.rotary import Rotary, Turned
from onehop.runtime.library import Kernels
from onehop.runtime.packing import SHAPES, Layer, Packer, Stack
from onehop.runtime.state import Cache, FastState

ACTIVATIONS: dict[Any, str] = {F.relu: "relu", F.gelu: "gelu", F.silu: "silu", torch.sigmoid: "sigmoid"}
TABLE = 512  # positions that tables hold at first


class FastTransformer(nn.Module):
    """A `Transformer` behind the same interface, for inference on a processor.

    Its results do not depend, to the bit, on which rows stand together or on the number of threads. Packed rows go to
    the model it was made of.

    Args:
        reference: The model; its embeddings are used as they are.
        kernels: What runs it.
        precision: Of the products: `float32` or `int8`.
    """

    most_best = 64  # tokens that `best` can find; MOST_BEST of native/transformer.c

    def __init__(self, reference: Transformer, kernels: Kernels, precision: str) -> None:
        super().__init__()
        self.reference, self.kernels, self.precision = reference, kernels, precision
        self._packer = Packer(kernels, precision)
        self._encoder = self._stack(reference.encoder, reference.source_embedding, reference.encoder_norm)
        self._decoder = self._stack(reference.decoder, reference.target_embedding, reference.decoder_norm)
        self._decoder.output = self._packer.matrix(reference.output)
        self._tables: list[Tensor] = []
        self._known = 0  # positions that the tables hold
        self.packed = self._packer.packed

    @property
    def output(self) -> nn.Linear:
        """The last linear map of `logits`."""
        return self.reference.output

    # -------------------------------------------------------------------------------------------- the interface

    def encode(self, source: Source) -> Memory:
        """Read `source.tokens (B, S)`: states `(B, S, D)`, zeros where there is padding, on which no time is spent."""
        if source.segments is not None:
            return self.reference.encode(source)
        B, S = source.tokens.shape
        real = _real(source.lengths, B, S)
        tokens, begins = (
            (source.tokens if real is None else source.tokens[real]).flatten(),
            _begins(source.lengths, B, S),
        )
        self._reach(S)
        out = torch.empty(len(tokens), self._encoder.dim)
        self._call("encode", self._encoder, B, tokens, begins, out)
        if real is None:
            return Memory(out.view(B, S, -1), source.lengths)
        states = out.new_zeros(B, S, out.size(1))
        states[real] = out
        return Memory(states, source.lengths)

    def start(self, memory: Memory) -> Any:
        """Project the source once for each layer."""
        if memory.segments is not None:
            return self.reference.start(memory)
        (B, S), stack = memory.states.shape[:2], self._decoder
        lengths = memory.known_lengths()
        real = _real(lengths, B, S)
        states = (memory.states if real is None else memory.states[real]).reshape(-1, stack.dim).contiguous()
        library = self.kernels.library
        room = [library.kept_floats(ctypes.byref(stack), size) for size in lengths.tolist()]
        kept = [torch.empty(floats) for floats in room]
        addresses = torch.tensor([each.data_ptr() for each in kept], dtype=torch.int64)
        self._call("keep", stack, B, states, _begins(lengths, B, S), addresses)
        cache = Cache(stack.layers, self.kernels.times, stack.groups * stack.width, B)
        times = torch.zeros(B, dtype=torch.int64)
        past = torch.zeros(B, 0, dtype=torch.int64)
        return FastState(1, cache, torch.arange(B), past, times, 0, addresses, lengths, tuple(kept))

    def decode(
        self, tokens: Tensor, state: Any, lengths: Tensor | None = None, segments: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Read `tokens (B, T)` after what `state` holds, one step after the other; see `onehop.nn.Decoder`."""
        if not isinstance(state, FastState):
            return self.reference.decode(tokens, state, lengths, segments)
        if segments is not None:
            raise ValueError("packed targets need a packed source and are decoded whole")
        rows, width = tokens.shape
        hidden = torch.empty(width, rows, self._decoder.dim)
        for t in range(width):
            state = self._step(tokens[:, t].contiguous(), state, hidden[t])
            times = state.times + (1 if lengths is None else (t < lengths).long())
            longest = state.longest + 1 if lengths is None else int(times.max()) if rows else state.longest
            state = replace(state, times=times, longest=longest)
        return hidden.transpose(0, 1), state

    def logits(self, hidden: Tensor) -> Tensor:
        """Return scores over the target's vocabulary, not normalised."""
        flat = hidden.reshape(-1, hidden.size(-1)).float().contiguous()
        output = self._decoder.output
        out = torch.empty(len(flat), output.outputs)
        self._run("linear", ctypes.byref(output), torch.get_num_threads(), flat.data_ptr(), len(flat), out.data_ptr())
        return out.view(*hidden.shape[:-1], -1)

    def best(self, hidden: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return the log-probabilities of the `count` likeliest tokens of each row, `(B, count)`, and the tokens.

        No more than `most_best`; the logits of the others are never held.
        """
        hidden = hidden.contiguous()
        rows = len(hidden)
        count = min(count, self._decoder.output.outputs)
        scores, tokens = torch.empty(rows, count), torch.empty(rows, count, dtype=torch.int64)
        self._run(
            "best", ctypes.byref(self._decoder.output), torch.get_num_threads(), hidden.data_ptr(), rows, count,
            scores.data_ptr(), tokens.data_ptr(),
        )  # fmt: skip
        return scores, tokens

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
            "step", ctypes.byref(self._decoder), torch.get_num_threads(), len(tokens), state.beams, state.cache.slots,
            state.past.size(1), tokens.data_ptr(), state.times.data_ptr(), state.own.data_ptr(),
            state.past.data_ptr(), state.cache.addresses.data_ptr(), state.sources.data_ptr(), state.sizes.data_ptr(),
            hidden.data_ptr(),
        )  # fmt: skip
        return state

    def _call(self, name: str, stack: Stack, count: int, *tensors: Tensor) -> None:
        threads = torch.get_num_threads()
        self._run(name, ctypes.byref(stack), threads, count, *(tensor.data_ptr() for tensor in tensors))

    def _run(self, name: str, *arguments: Any) -> None:
        getattr(self.kernels.library, name)(*arguments)

    def _reach(self, positions: int) -> None:
        """Let the tables of positions hold so many."""
        if positions <= self._known:
            return
        codes, known = self.reference.positions, max(TABLE, 2 * self._known)
        while known < positions:
            known *= 2
        where, tables = torch.arange(known), list[Tensor]()
        if isinstance(codes, Learned):
            if positions > len(codes.weight):
                codes(torch.tensor([positions - 1]))  # tells that nobody has learned them
            known, tables = len(codes.weight), [codes.weight.detach()]
        elif isinstance(codes, Sinusoidal):
            tables = [sinusoidal(where, codes.dim)]
        for stack, blocks in ((self._encoder, self.reference.encoder), (self._decoder, self.reference.decoder)):
            if codes is not None:
                stack.codes = tables[0].data_ptr()
            turned = blocks[0].attention.score.query_map
            if isinstance(turned, Turned):
                pair = _angles(turned.rotary, where)
                tables += pair
                stack.cosines, stack.sines = (table.data_ptr() for table in pair)
        self._tables, self._known = tables, known

    def _stack(self, blocks: Sequence[EncoderBlock | DecoderBlock], embedding: Any, last: nn.Module) -> Stack:
        own, first = blocks[0].attention, blocks[0]
        cross = getattr(first, "cross", own)
        projections = cast("Projections", own.projections)
        dim = projections.query.in_features
        feedforward = first.feedforward
        return Stack(
            dim=dim, width=projections.query.out_features // own.num_heads, heads=own.num_heads,
            groups=own.num_kv_heads, cross_groups=cross.num_kv_heads, layers=len(blocks),
            before=not isinstance(first.attention_residual.before, nn.Identity),
            shape=SHAPES[ACTIVATIONS[feedforward.activation]],
            self_scale=own.score.scale, cross_scale=cross.score.scale, embedding_scale=embedding.scale,
            embedding=self._packer.address(embedding.weight), layer=self._packer.layers([*map(self._layer, blocks)]),
            last=self._packer.norm(last),
        )  # fmt: skip

    def _layer(self, block: EncoderBlock | DecoderBlock) -> Layer:
        matrix, norm = self._packer.matrix, self._packer.norm
        own, feedforward = cast("Projections", block.attention.projections), block.feedforward
        layer = Layer(
            joint=matrix(own.query, own.key, own.value), out=matrix(cast("nn.Linear", block.attention.out)),
            up=matrix(feedforward.up), down=matrix(feedforward.down),
        )  # fmt: skip
        if isinstance(feedforward, GatedFeedForward):
            layer.gate = matrix(feedforward.gate)
        residuals = [block.attention_residual, block.feedforward_residual, block.feedforward_residual]
        if isinstance(block, DecoderBlock):
            cross = cast("Projections", block.cross.projections)
            layer.ask, layer.source = matrix(cross.query), matrix(cross.key, cross.value)
            layer.tell = matrix(cast("nn.Linear", block.cross.out))
            residuals[1] = block.cross_residual
        for i, residual in enumerate(residuals):
            layer.norms[i] = norm(_norm(residual))
        return layer


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
    if model.positions is not None and type(model.positions) not in (Sinusoidal, Learned):
        return f"positions by {type(model.positions).__name__}"
    if model.encoder_relative is not None or model.decoder_relative is not None:
        return "distances added to scores"
    if model.window is not None:
        return "a window"
    if any(parameter.dtype != torch.float32 or parameter.device.type != "cpu" for parameter in model.parameters()):
        return "weights that are not float32 on a processor"
    if any(module._forward_hooks or module._forward_pre_hooks for module in model.modules()):  # pyright: ignore[reportPrivateUsage]
        return "hooks"
    return next(filter(None, map(_unknown_of_block, [*model.encoder, *model.decoder])), "")


def _unknown_of_block(block: EncoderBlock | DecoderBlock) -> str:
    attentions = [block.attention, *([block.cross] if isinstance(block, DecoderBlock) else [])]
    for attention in attentions:
        if attention.select is not soft or attention.region is not None or attention.relative is not None:
            return "attention that is no softmax everywhere"
        if not _is_plain(attention.score, turned=attention is block.attention):
            return "a score that is no plain product"
        if not isinstance(attention.projections, Projections) or type(attention.out) is not nn.Linear:
            return "projections of another kind"
    feedforward = block.feedforward
    if type(feedforward) not in (FeedForward, GatedFeedForward) or feedforward.activation not in ACTIVATIONS:
        return "a feed-forward network of another kind"
    return ""


def _is_plain(score: Score, *, turned: bool) -> bool:
    """Whether a score is a scaled product of queries and keys as they are, or turned by their positions."""
    maps = [score.query_map, score.key_map]
    if turned and all(isinstance(each, Turned) for each in maps):
        maps = [cast("Turned", each).first for each in maps]
    return score.scale is not None and all(each is unchanged for each in maps)


def _norm(residual: Residual) -> nn.Module:
    """Return the normalisation of a residual, before or after its sum."""
    return residual.after if isinstance(residual.before, nn.Identity) else residual.before


def _angles(rotary: Rotary, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines and sines `(P, K / 2)` of the angles that a rotation turns by."""
    pairs = torch.zeros(1, 1, len(positions), rotary.head_dim)
    pairs[..., ::2] = 1.0
    turned = rotary(pairs, positions.unsqueeze(0))[0, 0]
    return turned[:, ::2].contiguous(), turned[:, 1::2].contiguous()


def _real(lengths: Tensor | None, B: int, S: int) -> Tensor | None:
    """Return which positions are real, `(B, S)`; None where all are."""
    if lengths is None or bool((lengths == S).all()):
        return None
    return torch.arange(S) < lengths.unsqueeze(1)


def _begins(lengths: Tensor | None, B: int, S: int) -> Tensor:
    """Return where each sentence begins when all stand one behind the other, and the end of the last: `(B + 1,)`."""
    full = torch.full((B,), S) if lengths is None else lengths
    return F.pad(full.cumsum(0), [1, 0])
