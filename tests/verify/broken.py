"""Families of models each of which is wrong in one way: the Transformer with one method replaced."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from onehop.models.registry import Architecture
from onehop.models.transformer import ARCHITECTURE, Transformer, TransformerState
from onehop.nn import Memory, Source
from onehop.nn.state import Slots

A, B = 70, 71  # tokens between which `Tied` cannot choose


class BatchLeak(Transformer):
    """What is encoded depends on what else is in the batch, a padded one."""

    def encode(self, source: Source) -> Memory:
        memory = super().encode(source)
        if source.segments is not None:
            return memory
        mean = memory.states.mean(0, keepdim=True)
        return replace(memory, states=memory.states + 0.2 * (mean - memory.states))


class CacheOff(Transformer):
    """A token that continues a cache is taken for the one after it."""

    def decode(self, tokens: Tensor, state: Any, lengths: Any = None, segments: Any = None) -> tuple[Tensor, Any]:
        if state.slots.size:
            slots = Slots(state.slots.lengths + 1, state.slots.size, state.slots.ragged)
            state = replace(state, slots=slots)
        hidden, after = super().decode(tokens, state, lengths, segments)
        if state.slots.size:
            after = replace(after, slots=Slots(after.slots.lengths - 1, after.slots.size, after.slots.ragged))
        return hidden, after


class PackedLeak(Transformer):
    """The sentences of a packed row are read as one."""

    def encode(self, source: Source) -> Memory:
        if source.segments is None:
            return super().encode(source)
        memory = super().encode(replace(source, segments=source.segments.clamp(max=0)))
        return replace(memory, segments=source.segments)


class StuckState(TransformerState):
    """Beams keep their caches, whatever they continue."""

    def reorder(self, rows: Tensor) -> "StuckState":
        return self


def stuck(state: TransformerState) -> StuckState:
    return StuckState(**{field.name: getattr(state, field.name) for field in fields(state)})


class StuckBeams(Transformer):
    """The state does not follow the hypotheses."""

    def start(self, memory: Memory) -> TransformerState:
        return stuck(super().start(memory))

    def decode(self, tokens: Tensor, state: Any, lengths: Any = None, segments: Any = None) -> tuple[Tensor, Any]:
        hidden, after = super().decode(tokens, state, lengths, segments)
        return hidden, stuck(after)


class Drifting(Transformer):
    """Loading it changes a weight in its last digits."""

    def train(self, mode: bool = True) -> "Drifting":
        if not mode and self.training:
            with torch.no_grad():
                next(self.parameters()).mul_(1 + 1e-6)
        return super().train(mode)


class Tied(Transformer):
    """Two tokens are equally likely alone, and in a batch one of them by a last digit."""

    def logits(self, hidden: Tensor) -> Tensor:
        logits = super().logits(hidden)
        likeliest = logits.max(-1).values + 1.0
        logits[..., A] = logits[..., B] = likeliest
        logits[..., B if len(hidden) in BATCHES else A] += 4e-6
        return logits


BATCHES = (16, 4, 64)  # rows of a step: lines of a batch, or with their beams, but never those of one line


def family(kind: type[Transformer]) -> Architecture:
    """Return the Transformer's family with models of another class."""

    def build(config: Any, source_vocab: int, target_vocab: int | None) -> Transformer:
        model: Any = ARCHITECTURE.build(config, source_vocab, target_vocab)
        model.__class__ = kind
        return model

    return Architecture(ARCHITECTURE.config, build, ARCHITECTURE.presets, ARCHITECTURE.axes)


FAMILIES: Mapping[str, Architecture] = {
    kind.__name__: family(kind) for kind in (BatchLeak, CacheOff, PackedLeak, StuckBeams, Drifting, Tied)
}
BATCH_LEAK, CACHE_OFF, PACKED_LEAK, STUCK_BEAMS, DRIFTING, TIED = FAMILIES.values()
