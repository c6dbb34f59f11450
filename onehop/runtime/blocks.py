"""Blocks of an encoder or a decoder as one structure that the kernels run, and which blocks they know."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import partial
from threading import Lock
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.nn.attention import Projections
from onehop.nn.attention.scores import Score, unchanged
from onehop.nn.attention.selects import soft
from onehop.nn.block import DecoderBlock, EncoderBlock, Residual
from onehop.nn.feedforward import FeedForward, GatedFeedForward
from onehop.nn.interfaces import Source
from onehop.nn.rotary import Rotary, Turned
from onehop.runtime.packing import SHAPES, Layer, Packer, Stack
from onehop.runtime.threads import threads

ACTIVATIONS: dict[Any, str] = {
    F.relu: "relu", F.gelu: "gelu", F.silu: "silu", torch.sigmoid: "sigmoid", torch.tanh: "tanh",
}  # fmt: skip
EVERYTHING = -1  # the window of a layer that reads all
TABLE = 512  # positions that tables hold at first


class Blocks:
    """Blocks that run as a whole.

    Args:
        packer: Of their weights; the structure lives as long as it does.
        blocks: Such as `unknown_block` finds nothing in.
        last: Normalisation of the states of the last, or identity.
        embedding: Scaled vectors of tokens; None where the blocks are given what is embedded.
        windows: For each block, the positions on either side that it reads; default: all.
    """

    def __init__(
        self, packer: Packer, blocks: Sequence[EncoderBlock | DecoderBlock], last: nn.Module, embedding: Any = None,
        windows: Sequence[int | None] = (),
    ) -> None:  # fmt: skip
        self._packer, self._blocks = packer, blocks
        self._layers = packer.layers([_layer(packer, block) for block in blocks])
        for layer, window in zip(self._layers, windows or [None] * len(blocks), strict=True):
            layer.window = EVERYTHING if window is None else window
        self._tables: list[Tensor] = []  # those of before too: another thread may be reading them
        self._growing = Lock()
        self._known = 0  # positions that the tables hold
        first, own = blocks[0], blocks[0].attention
        cross = getattr(first, "cross", own)
        query = cast("Projections", own.projections).query
        self.stack = Stack(
            dim=query.in_features, width=query.out_features // own.num_heads, heads=own.num_heads,
            groups=own.num_kv_heads, cross_groups=cross.num_kv_heads, layers=len(blocks),
            before=not isinstance(first.feedforward_residual.before, nn.Identity),
            shape=SHAPES[activation_name(first.feedforward.activation)], self_scale=own.score.scale,
            cross_scale=cross.score.scale, layer=ctypes.addressof(self._layers), last=packer.norm(last),
        )  # fmt: skip
        if embedding is not None:
            self.stack.embedding = packer.address(embedding.weight)
            self.stack.vocabulary = len(embedding.weight)
            self.stack.embedding_scale = embedding.scale

    def reach(self, positions: int) -> None:
        """Let the tables of angles hold so many positions."""
        if positions <= self._known:
            return
        with self._growing:
            known = max(TABLE, 2 * self._known)
            while known < positions:
                known *= 2
            found: dict[tuple[float, float], tuple[Tensor, Tensor]] = {}
            for layer, block in zip(self._layers, self._blocks, strict=True):
                turned = block.attention.score.query_map
                if isinstance(turned, Turned):
                    rotary = turned.rotary
                    pair = found.setdefault((rotary.base, rotary.factor), _angles(rotary, torch.arange(known)))
                    layer.cosines, layer.sines = (table.data_ptr() for table in pair)
            self._tables += [table for pair in found.values() for table in pair]
            self._known = known

    def read(self, texts: Texts, tokens: Tensor | None, embedded: Tensor | None) -> Tensor:
        """Let the blocks of an encoder read texts that stand one behind the other: states `(N, D)`.

        Args:
            texts: Where they stand.
            tokens: `(N,)`, where the blocks have an embedding.
            embedded: `(N, D)`, where they have none.
        """
        self.reach(texts.longest)
        out = torch.empty(texts.total, self.stack.dim, dtype=torch.float32)
        self._packer.kernels.library.encode(
            ctypes.byref(self.stack), threads(), len(texts.begins) - 1,
            *(None if x is None else x.data_ptr() for x in (tokens, embedded, texts.begins)), out.data_ptr(),
        )  # fmt: skip
        return out


class Texts:
    """Where texts stand in rows of a source: each row one, or several of a packed row.

    Example:
        >>> texts = Texts(Source(torch.tensor([[5, 6, 0], [7, 8, 9]]), torch.tensor([2, 3])))
        >>> texts.flat(torch.tensor([[5, 6, 0], [7, 8, 9]])), texts.begins
        (tensor([5, 6, 7, 8, 9]), tensor([0, 2, 5]))
        >>> texts.places
        tensor([0, 1, 0, 1, 2])
    """

    def __init__(self, source: Source) -> None:
        self.shape = B, S = tuple(source.tokens.shape)
        lengths, segments = (None if x is None else x.long() for x in (source.lengths, source.segments))
        if lengths is not None and len(lengths) and not 0 <= int(lengths.min()) <= int(lengths.max()) <= S:
            raise ValueError(f"lengths from {int(lengths.min())} to {int(lengths.max())} in rows of {S} tokens")
        self._real: Tensor | None = None  # None: there is no padding
        if segments is not None:
            self._real = segments >= 0
            first = F.pad(segments[:, 1:] != segments[:, :-1], [1, 0], value=True)[self._real]
            self.begins = F.pad(first.nonzero().flatten(), [0, 1], value=len(first))
        else:
            full = torch.full((B,), S) if lengths is None else lengths
            self.begins = F.pad(full.cumsum(0), [1, 0])
            if lengths is not None and not bool((lengths == S).all()):
                self._real = torch.arange(S) < lengths.unsqueeze(1)
        self.sizes = self.begins[1:] - self.begins[:-1]
        self.longest = int(self.sizes.max()) if len(self.sizes) else 0
        self.total = int(self.begins[-1])

    @property
    def places(self) -> Tensor:
        """Count from 0 in each text, `(N,)`."""
        return torch.arange(self.total) - self.begins[:-1].repeat_interleave(self.sizes)

    def flat(self, x: Tensor) -> Tensor:
        """Return what belongs to texts of `x (B, S, ...)`, one behind the other: `(N, ...)`."""
        return x.flatten(0, 1).contiguous() if self._real is None else x[self._real]

    def rows(self, x: Tensor) -> Tensor:
        """Return `x (N, D)` as `(B, S, D)`, zeros where there is padding."""
        if self._real is None:
            return x.view(*self.shape, x.size(1))
        rows = x.new_zeros(*self.shape, x.size(1))
        rows[self._real] = x
        return rows


def unknown_block(block: EncoderBlock | DecoderBlock) -> str:
    """Return the first part of a block that the kernels do not know, in words; empty where they know all."""
    attentions = [block.attention, *([block.cross] if isinstance(block, DecoderBlock) else [])]
    for attention in attentions:
        if attention.select is not soft or attention.region is not None or attention.relative is not None:
            return "attention that is no softmax everywhere"
        if not _is_plain(attention.score, turned=attention is block.attention):
            return "a score that is no plain product"
        if not isinstance(attention.projections, Projections) or type(attention.out) is not nn.Linear:
            return "projections of another kind"
    feedforward = block.feedforward
    if type(feedforward) not in (FeedForward, GatedFeedForward) or not activation_name(feedforward.activation):
        return "a feed-forward network of another kind"
    return ""


def unknown_weights(model: nn.Module) -> str:
    """Return what keeps a model's weights from being packed, or its calls from being replaced; empty if nothing."""
    if any(parameter.dtype != torch.float32 or parameter.device.type != "cpu" for parameter in model.parameters()):
        return "weights that are not float32 on a processor"
    if any(module._forward_hooks or module._forward_pre_hooks for module in model.modules()):  # pyright: ignore[reportPrivateUsage]
        return "hooks"
    return ""


def activation_name(activation: Any) -> str:
    """Return the name that the kernels know an activation by; empty where they do not.

    Example:
        >>> activation_name(torch.nn.functional.relu)
        'relu'
    """
    if isinstance(activation, partial):
        return "gelu_tanh" if (activation.func, activation.keywords) == (F.gelu, {"approximate": "tanh"}) else ""
    return ACTIVATIONS.get(activation, "")


def _layer(packer: Packer, block: EncoderBlock | DecoderBlock) -> Layer:
    matrix = packer.matrix
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
        layer.norms[i] = packer.norm(_norm(residual))
    return layer


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
    pairs = torch.zeros(1, 1, len(positions), rotary.head_dim, dtype=torch.float32)
    pairs[..., ::2] = 1.0
    turned = rotary(pairs, positions.unsqueeze(0))[0, 0]
    return turned[:, ::2].contiguous(), turned[:, 1::2].contiguous()
