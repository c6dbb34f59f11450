"""Sampling: targets drawn token by token from what the model says, shaped by filters.

What is drawn depends on the model, the rules, and a seed for each draw; not on which rows stand together. Each draw
has a generator of its own, asked on the processor, so that the numbers are the same on every device. A token is found
by inverting the cumulative distribution at one such number.

The log-probability of a hypothesis is the model's own, before any filter, as forced decoding gives it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from onehop.decode import filters as f
from onehop.decode.filters import Filter
from onehop.decode.prefix import FREE, forced, joined, padded
from onehop.decode.search import Hypothesis, Rules, differences
from onehop.decode.step import Step
from onehop.errors import ConfigError, ModelError


def sampling_filters(
    temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0
) -> tuple[Filter, ...]:
    """Return the filters of these settings in their order; with the defaults none, which is the model itself.

    Args:
        temperature: Above 0; 1 is the model's own distribution.
        top_k: Tokens to keep (Fan 2018); 0: all.
        top_p: Probability of the nucleus to keep (Holtzman 2020), in (0, 1]; 1: all tokens.
        min_p: Least share of the largest probability (Nguyen 2024), in [0, 1]; 0: all tokens.

    Raises:
        ConfigError: A value is out of range.

    Example:
        >>> logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
        >>> for keep in sampling_filters(top_k=3, top_p=0.8):
        ...     logits = keep(logits)
        >>> logits.softmax(-1)
        tensor([[0.6250, 0.3750, 0.0000, 0.0000]])
    """
    if not (temperature > 0 and top_k >= 0 and 0 < top_p <= 1 and 0 <= min_p <= 1):
        raise ConfigError(
            f"temperature={temperature}, top_k={top_k}, top_p={top_p}, min_p={min_p}: out of range",
            "Use temperature > 0, top_k >= 0, top_p in (0, 1] and min_p in [0, 1].",
        )
    found = [f.temperature(temperature)] if temperature != 1 else []
    found += [f.top_k(top_k)] if top_k else []
    found += [f.top_p(top_p)] if top_p < 1 else []
    found += [f.min_p(min_p)] if min_p else []
    return tuple(found)


def draw_seed(*numbers: int) -> int:
    """Return the seed of one draw from the numbers that name it, in [0, 2^63).

    Example:
        >>> draw_seed(1, 17, 0) == draw_seed(1, 17, 0) != draw_seed(1, 17, 1)
        True
    """
    digest = hashlib.sha256(":".join(map(str, numbers)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Sampler:
    """The state machine of sampling: one row for each draw; the sibling of `BeamSearch`.

    Example:
        >>> follows = torch.tensor([[0.0, 0, 0, 0], [0, 0, 99, 0], [0, 0, 0, 99], [99, 0, 0, 0]])  # 1 -> 2 -> 3 -> 0
        >>> machine = Sampler(Rules(1, onehop.decode.penalty("none", 0.0), begin=1, end=0))
        >>> ids = machine.admit([5], seeds=[7])
        >>> while machine.ids:
        ...     keep = machine.advance(follows[machine.last])
        >>> machine.finished[0].tokens
        [2, 3]
    """

    def __init__(self, rules: Rules, filters: Sequence[Filter] = ()) -> None:
        self.rules, self.filters = rules, tuple(filters)
        self.ids: list[int] = []  # of the live draws, by the order of admission
        self.finished: dict[int, Hypothesis] = {}
        self.last = torch.empty(0, dtype=torch.int64)  # (B,) the tokens to feed next
        self._log_probs = torch.empty(0)  # (B,)
        self._tokens = torch.empty(0, 0, dtype=torch.int64)  # (B, longest)
        self._sums = torch.empty(0, 0)  # (B, longest) log-probabilities up to each token
        self._chances = torch.empty(0, 0)  # (B, longest) in [0, 1): where to cut the cumulative distribution
        self._lengths = torch.empty(0, dtype=torch.int64)  # (B,) tokens so far
        self._limits = torch.empty(0, dtype=torch.int64)  # (B,) most tokens, the end mark included
        self._prefixes = torch.empty(0, 0, dtype=torch.int64)  # (B, P) what each target must begin with
        self._admitted = 0

    def admit(
        self,
        limits: Sequence[int],
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> list[int]:
        """Take new draws behind the live ones; return their numbers.

        Args:
            limits: The most tokens each may have, at least 1; the end mark counts.
            seeds: One for each draw, in [0, 2^63).
            device: Of the logits to come.
            prefixes: Tokens that each must begin with, which count; default: none.
        """
        count = len(limits)
        ids = list(range(self._admitted, self._admitted + count))
        self._admitted += count
        self.ids += ids
        longest = max(self._tokens.size(1), max(limits, default=0))
        chances = [
            torch.rand(most, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
            for most, seed in zip(limits, seeds, strict=True)
        ]
        fresh = torch.nn.utils.rnn.pad_sequence(chances, batch_first=True) if chances else torch.empty(0, 0)
        self._chances = torch.cat([_widened(x.to(device), longest) for x in (self._chances, fresh)])
        empty = torch.zeros(count, longest, dtype=torch.int64, device=device)
        self._tokens = torch.cat([_widened(self._tokens.to(device), longest), empty])
        self._sums = torch.cat([_widened(self._sums.to(device), longest), empty.float()])
        self._log_probs = torch.cat([self._log_probs.to(device), torch.zeros(count, device=device)])
        self._lengths = torch.cat([self._lengths.to(device), torch.zeros(count, dtype=torch.int64, device=device)])
        self._limits = torch.cat([self._limits.to(device), torch.tensor(limits, dtype=torch.int64, device=device)])
        first = torch.full((count,), self.rules.begin, dtype=torch.int64, device=device)
        self.last = torch.cat([self.last.to(device), first])
        self._prefixes = joined(self._prefixes.to(device), padded(prefixes or [[]] * count, device))
        return ids

    def advance(self, logits: Tensor) -> Tensor | None:
        """Read `logits (B, V)` of the tokens in `last`, draw the next ones and go one token further.

        Returns:
            Which rows to keep, the others are finished; None when all live on.

        Raises:
            ModelError: The model's scores are not numbers.
        """
        logits = logits.float()
        log_probs = logits - logits.logsumexp(-1, keepdim=True)
        if bool(log_probs.amax(-1).isnan().any()):
            raise ModelError(
                "the model's scores are not numbers (NaN)",
                "Its training diverged: train again with a lower train.learning_rate.",
            )
        word, possible = self._draw(log_probs)
        self._log_probs = self._log_probs + log_probs.gather(1, word.unsqueeze(1)).squeeze(1)
        self._tokens = self._tokens.scatter(1, self._lengths.unsqueeze(1), word.unsqueeze(1))
        self._sums = self._sums.scatter(1, self._lengths.unsqueeze(1), self._log_probs.unsqueeze(1))
        self._lengths, self.last = self._lengths + 1, word
        at_end = word == self.rules.end
        return self._leave(at_end, possible, at_end | ~possible | (self._lengths >= self._limits))

    def _draw(self, log_probs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next token of each row, and whether the rules allow any."""
        allowed = self._allowed(log_probs)
        possible = allowed.amax(-1) != -math.inf
        for keep in self.filters:
            allowed = keep(allowed)
        chance = self._chances.gather(1, self._lengths.unsqueeze(1))
        word = invert(allowed.masked_fill(~possible.unsqueeze(1), 0.0).softmax(-1), chance)
        wanted = forced(self._prefixes, self._lengths)
        if wanted is not None:
            inside = wanted != FREE
            word, possible = torch.where(inside, wanted, word), possible | inside
        return word, possible

    def _allowed(self, log_probs: Tensor) -> Tensor:
        """Return the log-probabilities with -inf for what the rules forbid."""
        rules = self.rules
        allowed = log_probs.clone()
        allowed[:, list(rules.never)] = -math.inf
        if rules.min_length:
            allowed[self._lengths < rules.min_length, rules.end] = -math.inf
        if rules.no_repeat_ngram:
            allowed = f.without_repeats(allowed, self._tokens, self._lengths, rules.no_repeat_ngram)
        return allowed

    def _leave(self, at_end: Tensor, possible: Tensor, done: Tensor) -> Tensor | None:
        """Take the draws that ended, and drop their rows; return which live on, or None if all do."""
        if not bool(done.any()):
            return None
        for row in (done & possible).nonzero().squeeze(1).tolist():
            length, complete = int(self._lengths[row]), bool(at_end[row])
            tokens, log_prob = self._tokens[row, : length - complete].tolist(), float(self._log_probs[row])
            score = float(self.rules.penalty(log_prob, length))
            each = differences(self._sums[row, :length].tolist())
            self.finished[self.ids[row]] = Hypothesis(tokens, log_prob, score, complete, each)
        keep = (~done).nonzero().squeeze(1)
        self.ids = [self.ids[row] for row in keep.tolist()]
        self.last, self._log_probs, self._tokens = self.last[keep], self._log_probs[keep], self._tokens[keep]
        self._chances, self._prefixes, self._sums = self._chances[keep], self._prefixes[keep], self._sums[keep]
        self._lengths, self._limits = self._lengths[keep], self._limits[keep]
        return keep


def invert(probabilities: Tensor, chance: Tensor) -> Tensor:
    """Return the token at which the cumulative distribution of each row passes its chance: int64 `(B,)`.

    Args:
        probabilities: `(B, V)`, summing to about 1; a token of probability 0 is never returned.
        chance: `(B, 1)` in [0, 1).

    Example:
        >>> invert(torch.tensor([[0.5, 0.0, 0.5]] * 2), torch.tensor([[0.4], [0.5]])).tolist()
        [0, 2]
    """
    upto = probabilities.cumsum(-1)
    last = (upto >= upto[:, -1:]).int().argmax(-1)  # the last token that has any probability
    found = torch.searchsorted(upto, chance * upto[:, -1:], right=True).squeeze(1)
    return torch.minimum(found, last)


def _widened(rows: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(rows, [0, width - rows.size(1)])


@torch.inference_mode()
def sample(
    step: Step,
    state: Any,
    rules: Rules,
    limits: Sequence[int],
    seeds: Sequence[Sequence[int]],
    filters: Sequence[Filter] = (),
    device: torch.device | str = "cpu",
    prefixes: Sequence[Sequence[int]] | None = None,
) -> list[list[Hypothesis]]:
    """Draw targets for a batch of examples: for each example, in order, one for each of its seeds, in their order.

    Args:
        step: Of the model.
        state: Of its rows, one for each example, before the first token.
        rules: What a target may be; `beam_size` and `stop` play no part.
        limits: The most tokens of each target, its end mark included.
        seeds: For each example those of its draws, as many for each; see `draw_seed`.
        filters: What shapes each distribution, applied in order; see `sampling_filters`.
        device: Of the model.
        prefixes: Tokens that each target must begin with; its score counts them. Default: none.

    Example:
        >>> follows = torch.tensor([[0.0, 0, 0, 0], [0, 0, 9, 9], [9, 0, 0, 0], [9, 0, 0, 0]])  # 1 -> 2 or 3 -> 0
        >>> rules = Rules(1, onehop.decode.penalty("none", 0.0), begin=1, end=0)
        >>> step = lambda tokens, state: (follows[tokens], state)
        >>> found = sample(step, onehop.nn.State(1), rules, [5], [range(20)], sampling_filters(top_k=2, top_p=0.9))
        >>> sorted({tuple(hypothesis.tokens) for hypothesis in found[0]})
        [(2,), (3,)]
    """
    each = [example for example, draws in enumerate(seeds) for _ in draws]
    machine = Sampler(rules, filters)
    known = None if prefixes is None else [prefixes[example] for example in each]
    ids = machine.admit(
        [limits[example] for example in each], [seed for draws in seeds for seed in draws], device, known
    )
    state = state.select(torch.tensor(each, dtype=torch.int64, device=device))
    while machine.ids:
        logits, state = step(machine.last, state)
        keep = machine.advance(logits)
        if keep is not None:
            state = state.select(keep)
    found = iter(ids)
    return [[machine.finished[i] for i in (next(found) for _ in draws) if i in machine.finished] for draws in seeds]
