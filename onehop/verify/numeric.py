"""Ways to compute the same numbers, which must agree: alone and in batches, with and without cache, packed, in search.

They know models by the protocols of `onehop.nn` alone, so that they hold for every family. Each compares natural
logarithms of probabilities, on targets that the model itself wrote.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onehop.data import Batch, evaluation_batches
from onehop.data.ragged import Ragged
from onehop.decode import penalty
from onehop.nn import Source
from onehop.tasks import Candidate, DecodeConfig
from onehop.tasks.translation_loss import shift_right
from onehop.text import EOS
from onehop.verify.margins import NEAR_TIE, margin
from onehop.verify.report import Check
from onehop.verify.subject import Subject

TOKEN = 1e-4  # nats: what rounding in float32 may do to a token's log-probability, with room for large vocabularies
SEARCHED = 1e-3  # nats: and to the sum of a whole hypothesis
ROW_PAIRS = 4  # of a packed row


class Largest:
    """The largest absolute difference so far, and where; a difference that is not a number is larger than any."""

    def __init__(self) -> None:
        self.value, self.where = 0.0, ""

    def see(self, difference: Tensor, where: str) -> None:
        """Take a look at some differences."""
        value = float(difference.abs().max()) if difference.numel() else 0.0
        if not (math.isnan(self.value) or value <= self.value):
            self.value, self.where = value, where

    def check(self, name: str, unit: str, tolerance: float) -> Check:
        """Return it as the result of a check."""
        detail = "" if self.value <= tolerance else f"largest at {self.where}"
        return Check(name, unit, tolerance, self.value, detail=detail)


def batched(subject: Subject) -> Check:
    """Batched = single: each line alone, and in a padded batch beside others; greedy and beam outputs too."""
    largest, translator = Largest(), subject.translator
    for batch in subject.forced():
        together = translator.token_log_probs(batch)
        for row, place in enumerate(batch.pairs):
            length = int(batch.target_lengths[row])
            alone = translator.token_log_probs(subject.batch([place]))[0, :length]
            largest.see(together[row, :length] - alone, subject.place(place))
    found = largest.check("batched = single", "nats, of a token", TOKEN)
    ways = [(subject.greedy, subject.targets), (subject.beam, [found[0] for found in subject.hypotheses])]
    compared = [compare(subject, decode, alone, subject.together(decode)) for decode, alone in ways]
    detail = next((text for text in (found.detail, *(told for *_, told in compared)) if text), "")
    differences, near = (sum(values) for values in zip(*(counts[:2] for counts in compared), strict=True))
    return Check(found.name, found.unit, found.tolerance, found.measured, differences, near, detail)


def compare(
    subject: Subject, decode: DecodeConfig, alone: Sequence[Candidate], together: Sequence[Candidate]
) -> tuple[int, int, str]:
    """Return how many outputs differ, how many only by a near tie, and where the first difference is."""
    differences, near, detail = 0, 0, ""
    for place, (one, other) in enumerate(zip(alone, together, strict=True)):
        if one.tokens == other.tokens:
            continue
        gap = margin(subject.translator, subject.lines.sources[place], decode)
        if gap < NEAR_TIE:
            near += 1
            continue
        differences += 1
        told = f"{subject.place(place)}: beam {decode.beam_size}, margin {gap:.2g}: {other.text!r}, not {one.text!r}"
        detail = detail or told
    return differences, near, detail


@torch.inference_mode()
def cached(subject: Subject) -> Check:
    """Cached = uncached: one token after another with a state, and the whole target at once; the whole vocabulary."""
    largest, model = Largest(), subject.translator.model
    for batch in subject.forced():
        memory = model.encode(Source(batch.source, batch.source_lengths))
        inputs = shift_right(batch.target)
        whole, _ = model.decode(inputs, model.start(memory))
        state = model.start(memory)
        for t in range(inputs.size(1)):
            step, state = model.decode(inputs[:, t : t + 1], state)
            rows = (t < batch.target_lengths).nonzero().flatten()
            one, other = (model.logits(x[rows]).float().log_softmax(-1) for x in (step[:, 0], whole[:, t]))
            for row, difference in zip(rows.tolist(), (one - other).abs().amax(-1), strict=True):
                largest.see(difference, f"{subject.place(batch.pairs[row])}, token {t + 1}")
    return largest.check("cached = uncached", "nats, of a token", TOKEN)


@torch.inference_mode()
def packed(subject: Subject) -> Check:
    """Packed = padded: four pairs in a row, each a segment of its own, and each in a row of its own, alone."""
    largest, translator = Largest(), subject.translator
    for places in subject.groups():
        found = _packed_log_probs(translator.model, pack(subject, places))
        lengths = [len(subject.targets[place].tokens) + 1 for place in places]
        for place, values in zip(places, found.split(lengths), strict=True):
            alone = translator.token_log_probs(subject.batch([place]))[0]
            largest.see(values - alone, subject.place(place))
    return largest.check("packed = padded", "nats, of a token", TOKEN)


def pack(subject: Subject, places: Sequence[int]) -> Batch:
    """Return lines with their greedy outputs, four in a row, in this order."""
    sides = [subject.lines.sources[i] for i in places], [subject.targets[i].tokens for i in places]
    pairs, rows = np.arange(len(places)), np.arange(len(places)) // ROW_PAIRS
    source, target = (map(torch.from_numpy, Ragged.from_rows(side).packed(pairs, rows)) for side in sides)
    tokens, lengths, segments = source
    target_tokens, target_lengths, target_segments = target
    count = int(target_lengths.sum())
    batch = Batch(tokens, lengths, target_tokens, target_lengths, tuple(places), count, segments, target_segments)
    return batch.to(subject.translator.device)


def _packed_log_probs(model: Any, batch: Batch) -> Tensor:
    """Return the log-probability of each target token, pair behind pair."""
    memory = model.encode(Source(batch.source, batch.source_lengths, batch.source_segments))
    inputs = shift_right(batch.target, batch.target_segments)
    hidden, _ = model.decode(inputs, model.start(memory), segments=batch.target_segments)
    real = torch.arange(batch.target.size(1), device=hidden.device) < batch.target_lengths.unsqueeze(1)
    log_probs = model.logits(hidden[real]).float().log_softmax(-1)
    return log_probs.gather(1, batch.target[real].unsqueeze(1)).squeeze(1)


def searched(subject: Subject) -> Check:
    """Beam score = forced decoding: of every hypothesis that is found, before and after the length penalty."""
    largest, translator, decode = Largest(), subject.translator, subject.beam
    score = penalty(decode.length_penalty, decode.alpha)
    for place, candidates in enumerate(subject.hypotheses):
        sources = [subject.lines.sources[place]] * len(candidates)
        batch = next(evaluation_batches(sources, [c.tokens for c in candidates], 1 << 40))
        forced = translator.token_log_probs(batch)
        for row, number in enumerate(batch.pairs):
            candidate = candidates[number]
            length = len(candidate.tokens) + candidate.complete
            log_prob = float(forced[row, :length].sum())
            found = torch.tensor([candidate.log_prob, candidate.score])
            where = f"{subject.place(place)}, hypothesis {number + 1}"
            largest.see(found - torch.tensor([log_prob, score(log_prob, length)]), where)
            if EOS in candidate.tokens:
                largest.see(torch.tensor(torch.nan), f"{where}, which holds an end mark")
    return largest.check("beam score = forced decoding", "nats, of a hypothesis", SEARCHED)
