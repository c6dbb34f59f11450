"""Decode a finished hypothesis once more, with the target known, and record where its model looks.

The weights are exact, for greedy and beam search, samples and forced prefixes alike, and search carries no bookkeeping
for them. The replay runs in float32 with the weights that the model has, rounded ones as they were rounded. How far its
log-probabilities are from those that the search saw is part of the result, so that nobody need believe that both are
the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn

from onehop.data import evaluation_batches
from onehop.decode import force
from onehop.errors import ConfigError
from onehop.nn import Attention, Source, record_attention
from onehop.nn.attention.scores import HeadLinear
from onehop.nn.quantise import quantise
from onehop.tasks import Candidate, Translator
from onehop.tasks.translation_loss import shift_right

CROSS = ("*cross",)  # the names of what a decoder reads its source with
BATCH_TOKENS = 1024  # of a replay, padding included: the weights of a batch are T times as many


@dataclass(frozen=True)
class Replay:
    """What became of a hypothesis when it was decoded again.

    Args:
        log_probs: Of each token in nats, the end mark included where there is one.
        difference: Largest difference of one of them from what the search saw, in nats.
        weights: By name of the attention: `(H, T, S)`, float32; T tokens with the end mark, likewise S.
    """

    log_probs: tuple[float, ...]
    difference: float
    weights: dict[str, Tensor]


def attentions(translator: Translator) -> list[str]:
    """Return the names of all attentions of a translator's model.

    Example:
        >>> attentions(onehop.load("runs/first"))
        ['encoder.0.self', 'decoder.0.self', 'decoder.0.cross']
    """
    model = translator.reference.model
    return [part.name for part in model.modules() if isinstance(part, Attention)]


@torch.inference_mode()
def replay(
    translator: Translator,
    sources: Sequence[list[int]],
    candidates: Sequence[Candidate],
    layers: Sequence[str] = CROSS,
    heads: Sequence[int] | None = None,
) -> list[Replay]:
    """Decode hypotheses again and record.

    Args:
        translator: The model that wrote them; not an ensemble.
        sources: Tokens of each source, without end mark, as `Translation.parts` has them.
        candidates: What it wrote for each.
        layers: Names of the attentions to record, with `*` as in file names.
        heads: Numbers of the heads to keep; None for all.

    Raises:
        ConfigError: The translator is an ensemble, or its model has no such attention.

    Example:
        >>> model = onehop.load("runs/first")
        >>> found = model.translate(["Hello 7."])[0]
        >>> again = replay(model, found.parts, [found.candidates[0][0]])[0]
        >>> again.difference < 1e-4, list(again.weights)
        (True, ['decoder.0.cross'])
    """
    check(translator, layers)
    model = exact(translator)
    found: dict[int, Replay] = {}
    for batch in evaluation_batches(sources, [each.tokens for each in candidates], BATCH_TOKENS):
        batch = batch.to(translator.device)
        with record_attention(layers, heads) as record:
            memory = model.encode(Source(batch.source, batch.source_lengths))
            inputs = shift_right(batch.target)
            log_probs = force(model, memory, inputs, batch.target, batch.target_lengths)
        sizes = zip(batch.pairs, batch.source_lengths.tolist(), strict=True)
        for row, (place, size) in enumerate(sizes):
            each = candidates[place]
            length = len(each.tokens) + each.complete
            own = log_probs[row, :length].tolist()
            weights = {}
            for name in record:
                asks = size if name.startswith("encoder") else length
                reads = length if name.startswith("decoder") and not name.endswith("cross") else size
                weights[name] = record[name][row, :, :asks, :reads].float().cpu()
            gaps = [abs(a - b) for a, b in zip(own, each.log_probs, strict=True)]
            found[place] = Replay(tuple(own), max(gaps, default=0.0), weights)
    return [found[place] for place in range(len(candidates))]


def check(translator: Translator, layers: Sequence[str]) -> None:
    """Raise an error where the attentions of these names cannot be recorded.

    Raises:
        ConfigError: The translator is an ensemble, or its model has no such attention.
    """
    if translator.others:
        raise ConfigError("an ensemble has no attention of its own", "Look into its models one by one.")
    names = attentions(translator)
    for layer in layers:
        if not any(fnmatch(name, layer) for name in names):
            remedy = f"It has {', '.join(names)}." if names else "Use a model whose decoder reads by attention."
            raise ConfigError(f"the model has no attention {layer!r}", remedy)


def exact(translator: Translator) -> Any:
    """Return the model by its definition, in float32, with the weights it runs with, rounded as they are rounded."""
    model = translator.reference.model.eval()
    precision = translator.speed.precision if translator.speed else "float32"
    if precision == "float32" and all(parameter.dtype == torch.float32 for parameter in model.parameters()):
        return model
    model = deepcopy(model).float()
    for each in model.modules() if precision != "float32" else ():
        if type(each) in (nn.Linear, HeadLinear):  # a weight of its own: a tied embedding is read as it was
            each.weight = nn.Parameter(_rounded(each.weight.detach(), precision))
        elif isinstance(each, nn.RNNBase):
            for weight in (one for direction in each.all_weights for one in direction if one.dim() == 2):
                weight.data = _rounded(weight.detach(), precision)
    return model


def _rounded(weight: Tensor, precision: str) -> Tensor:
    """Return a weight, or one for each head, as it is multiplied in `bfloat16` or `int8`."""
    if precision == "bfloat16":
        return weight.bfloat16().float()
    whole, scale = quantise(weight.flatten(0, -2))
    return (whole * scale.unsqueeze(1)).view_as(weight)
