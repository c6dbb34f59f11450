"""How near a search came to another result: where two choices are as good as equal, rounding decides."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from onehop.data import fixed_batches
from onehop.decode import BeamSearch, stepper
from onehop.nn import Source
from onehop.tasks import DecodeConfig, Translator
from onehop.tasks.translation import search_rules

NEAR_TIE = 1e-5  # nats; sums of float32 that are added in another order differ by about as much


@torch.inference_mode()
def margin(translator: Translator, source: list[int], decode: DecodeConfig) -> float:
    """Return the least difference by which the search of a source made a choice, in nats; infinite if it had none.

    A choice is which hypotheses end and which live on at each token, and in the end which of the finished has the best
    score. If another batch gives another output and this is below `NEAR_TIE`, then rounding decided.

    Args:
        translator: One model, no ensemble.
        source: Its tokens, without marks.
        decode: How to search; without minimum length and n-gram rule, which `neutral` turns off.

    Example:
        >>> translator = onehop.load("runs/first")
        >>> margin(translator, [5, 6], neutral(translator.settings.decode, 1)) > 0
        True
    """
    rules, model = search_rules(decode), translator.model
    _, tokens, lengths = next(fixed_batches([source], 1))
    state = model.start(model.encode(Source(tokens.to(translator.device), lengths.to(translator.device))))
    state, step, machine = state.expand(decode.beam_size), stepper(model), BeamSearch(rules)
    longest = translator.longest_target(decode, len(source))
    [number] = machine.admit([longest], translator.device)
    scores = torch.full((decode.beam_size,), -math.inf, device=translator.device)
    scores[0] = 0.0
    found, taken = math.inf, 0
    while machine.ids:
        logits, state = step(machine.last, state)
        log_probs = logits.float().log_softmax(-1)
        log_probs[:, list(rules.never)] = -math.inf
        totals = scores.unsqueeze(1) + log_probs
        rows, _ = machine.advance(logits)
        taken += 1
        ended = not machine.ids
        found = min(found, _choice(totals, rules.end, everything_ends=taken == longest, over=ended))
        if not ended:
            state, scores = state.reorder(rows), totals[rows, machine.last]
    return min([found, *_gaps([h.score for h in machine.finished[number]][:2])])


def neutral(decode: DecodeConfig, beam_size: int) -> DecodeConfig:
    """Return how verification searches: as the package does, but without sampling, minimum length and n-gram rule.

    Example:
        >>> neutral(onehop.tasks.DecodeConfig(min_length=3), 1).min_length
        0
    """
    return decode.searched(beam_size).model_copy(update={"min_length": 0, "no_repeat_ngram": 0})


def _choice(totals: Tensor, end: int, *, everything_ends: bool, over: bool) -> float:
    """Return the least difference between what was taken and what was not, of candidates `totals (K, V)`."""
    beams, vocab = totals.shape
    best, flat = totals.flatten().topk(min(2 * beams + 1, totals.numel()))
    values, ends = best.tolist(), (flat % vocab == end).tolist()
    gaps: list[float] = []
    if len(values) > beams and (everything_ends or ends[beams - 1] or ends[beams]):
        gaps += _gaps(values[beams - 1 : beams + 1])
    if not over:
        live = [value for value, is_end in zip(values, ends, strict=True) if not is_end]
        gaps += _gaps(live[beams - 1 : beams + 1])
    return min(gaps, default=math.inf)


def _gaps(values: list[float]) -> list[float]:
    """Return the difference of two scores, none where one is missing or impossible."""
    return [values[0] - values[1]] if len(values) == 2 and all(map(math.isfinite, values)) else []
