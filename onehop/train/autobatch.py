"""`train.batch_tokens = "auto"`: the smallest batch that this machine trains on at nearly its best speed.

Small batches make more updates of the same text; larger ones waste less of the machine. So budgets of tokens are tried,
from 1,000 doubling to 64,000, on the longest pairs, forward and backward and without an update.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from onehop.data import Batch, Pair, evaluation_batches
from onehop.tasks.translation import Translator
from onehop.train.memory import GIB, Memory
from onehop.train.objective import Loss

BUDGETS = tuple(1_000 * 2**n for n in range(7))
NEAR = 0.9  # of the best speed
SHARE = 0.5  # of the free memory that a batch may take
LONG = 2.0  # seconds of a trial after which it is not repeated
LINES = 100_000  # among which the longest are looked for


@dataclass(frozen=True)
class Trial:
    """What a batch of a budget took.

    Args:
        budget: Tokens.
        speed: Target tokens a second, forward and backward.
        memory: Bytes beyond what was in use before.
    """

    budget: int
    speed: float
    memory: int


def find_batch_tokens(
    translator: Translator, pairs: Sequence[Pair], loss_sum: Loss, device: str, tell: Callable[[str], None]
) -> int:
    """Return a number for `train.batch_tokens`, measured; random generators are left as they were."""
    model, memory = translator.model.to(device), Memory(torch.device(device))
    free = memory.free()
    batches = longest_batches(translator, pairs)
    generators = [torch.cuda.current_device()] if memory.cuda else []
    with torch.random.fork_rng(generators):
        measured = (trial(translator, batch.to(device), budget, loss_sum, memory) for budget, batch in batches)
        trials = list(worthwhile(measured, free))
    model.zero_grad(set_to_none=True)
    found = choose(trials, free)
    figures = ", ".join(f"{t.budget:,}: {t.speed:,.0f} tokens/s, {t.memory / GIB:.2f} GiB" for t in trials)
    tell(f"batch: {found:,} tokens, the smallest near the best speed ({figures}; {free / GIB:.1f} GiB are free)")
    return found


def longest_batches(translator: Translator, pairs: Sequence[Pair]) -> Iterator[tuple[int, Batch]]:
    """Yield for each budget the batch of the longest pairs that fills it, for as long as there are so many pairs."""
    limit = translator.settings.text.max_length
    some = pairs[:: max(1, len(pairs) // LINES)]
    sources = translator.source_tokenizer.encode_batch([pair.source for pair in some])
    targets = translator.target_tokenizer.encode_batch([pair.target for pair in some])
    sides = [pair for pair in zip(sources, targets, strict=True) if max(map(len, pair)) <= limit]
    sides.sort(key=lambda pair: -max(map(len, pair)))
    longest = 1 + max(map(len, sides[0]))
    for budget in BUDGETS:
        rows = max(1, budget // longest)
        if rows > len(sides) and budget > BUDGETS[0]:
            return
        yield budget, next(evaluation_batches(*zip(*sides[:rows], strict=True), batch_tokens=rows * longest))


def trial(translator: Translator, batch: Batch, budget: int, loss_sum: Loss, memory: Memory) -> Trial:
    """Measure a batch: the best of three goes, of which the first warms up, or fewer if they take long."""
    model, best, took = translator.model.train(), float("inf"), 0.0
    memory.begin()
    for _ in range(3):
        began = time.perf_counter()
        loss = loss_sum(model, batch) / batch.num_targets
        loss.backward()
        memory.synchronise()
        seconds = time.perf_counter() - began
        best, took = min(best, seconds), took + seconds
        model.zero_grad(set_to_none=True)
        if took > LONG:
            break
    return Trial(budget, batch.num_targets / best, memory.used())


def worthwhile(trials: Iterable[Trial], free: float) -> Iterator[Trial]:
    """Yield trials until two in a row were hardly faster than what came before, or the next might be too large."""
    best, idle = 0.0, 0
    for one in trials:
        yield one
        idle = idle + 1 if NEAR * one.speed <= best else 0
        best = max(best, one.speed)
        if idle == 2 or 2 * one.memory > SHARE * free:
            return


def choose(trials: Sequence[Trial], free: float) -> int:
    """Return the smallest budget near the best speed, of those whose memory is free; the first if none is.

    Example:
        >>> choose([Trial(1000, 50.0, 1), Trial(2000, 95.0, 2), Trial(4000, 100.0, 4)], free=100)
        2000
    """
    fit = [one for one in trials if one.memory <= SHARE * free] or trials[:1]
    best = max(one.speed for one in fit)
    return next(one.budget for one in fit if one.speed >= NEAR * best)
