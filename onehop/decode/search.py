"""Beam search as a small state machine, and the short loop around it. Greedy search is a beam of one.

The machine knows tokens and scores; the loop hands it logits and does to the model's state what it is told. Examples
are admitted at any time and leave when they are finished, so a batch can be refilled while it runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from onehop.decode.filters import without_repeats
from onehop.decode.penalties import Penalty
from onehop.decode.prefix import FREE, forced, joined, padded
from onehop.decode.step import Best, BestStep, Step
from onehop.errors import ModelError

ROOM = 64  # tokens that memory is taken for at first; most hypotheses end long before their limit


@dataclass(frozen=True)
class Rules:
    """What a search looks for, or a sampler draws.

    Args:
        beam_size: Hypotheses followed at once; 1 is greedy search. Nothing to a sampler, as `stop` is.
        penalty: Score from log-probability and length.
        min_length: Fewest tokens before the end mark.
        stop: `count`: when `beam_size` hypotheses are finished; `bound`: when, besides, no live one can still come to
            score better than the worst of the kept, which is exact for the space the beam explores.
        begin: Token that stands before every target.
        end: Token that ends every target.
        never: Tokens that no target holds.
        no_repeat_ngram: No target holds the same so many tokens in a row twice; 0: it may.
    """

    beam_size: int
    penalty: Penalty
    begin: int
    end: int
    never: tuple[int, ...] = ()
    min_length: int = 0
    stop: Literal["count", "bound"] = "count"
    no_repeat_ngram: int = 0

    @property
    def candidates(self) -> int:
        """How many tokens of a row can matter: those that go on, one that ends, and those that may not be."""
        return self.beam_size + 1 + len(self.never)


@dataclass(frozen=True)
class Hypothesis:
    """A finished target.

    Args:
        tokens: Without begin and end mark.
        log_prob: Sum over the tokens and the end mark, in nats.
        score: After the length penalty.
        complete: False where it was ended by the maximum length and has no end mark.
        log_probs: Of each token, and of the end mark behind them where there is one.
    """

    tokens: list[int]
    log_prob: float
    score: float
    complete: bool
    log_probs: tuple[float, ...] = ()


class BeamSearch:
    """The state machine. Row `b * beam_size + k` of every tensor is beam `k` of live example `b`.

    Example:
        >>> follows = torch.tensor([[0.0, 0, 0, 0], [0, 0, 9, 0], [0, 0, 0, 9], [9, 0, 0, 0]])  # 1 -> 2 -> 3 -> 0
        >>> rules = Rules(beam_size=1, penalty=onehop.decode.penalty("average", 0.0), begin=1, end=0)
        >>> machine = BeamSearch(rules)
        >>> ids = machine.admit([5])
        >>> while machine.ids:
        ...     rows, keep = machine.advance(follows[machine.last])
        >>> machine.finished[0][0].tokens
        [2, 3]
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.ids: list[int] = []  # of the live examples, by the order of admission
        self.finished: dict[int, list[Hypothesis]] = {}
        self.last = torch.empty(0, dtype=torch.int64)  # (B*K,) the tokens to feed next
        self._scores = torch.empty(0, rules.beam_size)  # (B, K) log-probabilities; -inf: no such hypothesis yet
        self._tokens = torch.empty(0, rules.beam_size, 0, dtype=torch.int64)  # (B, K, longest)
        self._sums = torch.empty(0, rules.beam_size, 0)  # (B, K, longest) log-probabilities up to each token
        self._lengths = torch.empty(0, dtype=torch.int64)  # (B,) tokens so far
        self._limits = torch.empty(0, dtype=torch.int64)  # (B,) most tokens, the end mark included
        self._prefixes = torch.empty(0, 0, dtype=torch.int64)  # (B, P) what each target must begin with
        self._admitted = 0

    def admit(
        self,
        limits: Sequence[int],
        device: torch.device | str = "cpu",
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> list[int]:
        """Take new examples behind the live ones; return their numbers.

        Args:
            limits: The most tokens each may have, at least 1; the end mark counts.
            device: Of the logits to come.
            prefixes: Tokens that each must begin with, which count; default: none.
        """
        count, beams = len(limits), self.rules.beam_size
        ids = list(range(self._admitted, self._admitted + count))
        self._admitted += count
        self.ids += ids
        self.finished.update({i: [] for i in ids})
        scores = torch.full((count, beams), -math.inf, device=device)
        scores[:, 0] = 0.0  # all beams of an example start equal, so only one may count
        longest = max(self._tokens.size(2), min(max(limits, default=0), ROOM))
        fresh = torch.zeros(count, beams, longest, dtype=torch.int64, device=device)
        old = torch.nn.functional.pad(self._tokens.to(device), [0, longest - self._tokens.size(2)])
        self._tokens = torch.cat([old, fresh])
        sums = torch.nn.functional.pad(self._sums.to(device), [0, longest - self._sums.size(2)])
        self._sums = torch.cat([sums, torch.zeros(count, beams, longest, device=device)])
        self._scores = torch.cat([self._scores.to(device), scores])
        self._lengths = torch.cat([self._lengths.to(device), torch.zeros(count, dtype=torch.int64, device=device)])
        self._limits = torch.cat([self._limits.to(device), torch.tensor(limits, dtype=torch.int64, device=device)])
        first = torch.full((count * beams,), self.rules.begin, dtype=torch.int64, device=device)
        self.last = torch.cat([self.last.to(device), first])
        self._prefixes = joined(self._prefixes.to(device), padded(prefixes or [[]] * count, device))
        return ids

    def advance(self, logits: Tensor | Best) -> tuple[Tensor, Tensor | None]:
        """Read `logits (B*K, V)` of the tokens in `last` and go one token further.

        Args:
            logits: Of all tokens; or `Rules.candidates` of the likeliest, where there are neither prefixes nor an
                n-gram rule.

        Returns:
            rows: `(B*K,)`: row `i` continues what row `rows[i]` was; to be applied to the model's state first.
            keep: `(B',)`: then keep these examples, the others are finished; None when all live on.

        Raises:
            ModelError: The model's scores are not numbers.
        """
        beams, examples = self.rules.beam_size, len(self.ids)
        scores, words = self._candidates(logits)
        total = (self._scores.view(-1, 1) + scores).view(examples, -1)
        best, flat = total.topk(min(2 * beams, total.size(1)))  # (B, 2K): each row ends in at most one way
        if bool(best[:, 0].isnan().any()):
            raise ModelError(
                "the model's scores are not numbers (NaN)",
                "Its training diverged: train again with a lower train.learning_rate.",
            )
        beam, word = flat // scores.size(1), words.view(examples, -1).gather(1, flat)
        at_end, full = word == self.rules.end, self._lengths + 1 >= self._limits
        self._finish(best, beam, word, at_end | full.unsqueeze(1))
        live, order = best.masked_fill(at_end, -math.inf).topk(beams)
        beam, word = beam.gather(1, order), word.gather(1, order)
        self._append(beam, word, live)
        self._scores, self._lengths, self.last = live, self._lengths + 1, word.flatten()
        if beams == 1:
            return torch.arange(examples, device=beam.device), self._leave(full)
        rows = (beam + torch.arange(examples, device=beam.device).unsqueeze(1) * beams).flatten()
        return rows, self._leave(full)

    def _append(self, beam: Tensor, word: Tensor, live: Tensor) -> None:
        """Let each hypothesis be what `beam (B, K)` was, and one token longer."""
        beams = self.rules.beam_size
        if self._lengths.numel() and int(self._lengths.max()) == self._tokens.size(2):
            wider = [0, self._tokens.size(2)]
            self._tokens, self._sums = (torch.nn.functional.pad(x, wider) for x in (self._tokens, self._sums))
        if beams > 1:
            origin = beam.unsqueeze(2).expand(-1, -1, self._tokens.size(2))
            self._tokens, self._sums = self._tokens.gather(1, origin), self._sums.gather(1, origin)
        place = self._lengths.view(-1, 1, 1).expand(-1, beams, 1)
        self._tokens.scatter_(2, place, word.unsqueeze(2))  # both are this machine's own
        self._sums.scatter_(2, place, live.unsqueeze(2))

    def _candidates(self, logits: Tensor | Best) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and tokens of the best continuations of each row.

        K that go on and one that ends are all that a row can contribute, so the vocabulary is normalised but never
        sorted or copied. What must not be chosen keeps its share of the probability: scores stay those of the model.
        """
        rules = self.rules
        if isinstance(logits, Best):
            return logits.scores.masked_fill(self._banned(logits.tokens), -math.inf), logits.tokens
        logits = allowed = logits.float()
        if rules.no_repeat_ngram:
            tokens, lengths = self._tokens.flatten(0, 1), self._lengths.repeat_interleave(rules.beam_size)
            allowed = without_repeats(logits, tokens, lengths, rules.no_repeat_ngram)
        top, words = allowed.topk(min(rules.candidates, logits.size(1)))
        total = logits.logsumexp(-1, keepdim=True)
        scores = (top - total).masked_fill(self._banned(words), -math.inf)
        wanted = forced(self._prefixes, self._lengths)
        return (scores, words) if wanted is None else self._force(wanted, logits - total, scores, words)

    def _banned(self, words: Tensor) -> Tensor:
        """Return which of `words (B*K, N)` must not come next."""
        rules = self.rules
        if set(rules.never) == {*range(len(rules.never))}:
            banned = words < len(rules.never)  # as a rule the marks that stand first
        else:
            banned = torch.zeros_like(words, dtype=torch.bool)
            for token in rules.never:
                banned |= words == token
        if rules.min_length:
            short = (self._lengths < rules.min_length).repeat_interleave(rules.beam_size).unsqueeze(1)
            banned |= short & (words == rules.end)
        return banned

    def _force(self, wanted: Tensor, log_probs: Tensor, scores: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """Put the token of the prefix, `wanted (B,)`, in the place of all candidates of its example's rows."""
        wanted = wanted.repeat_interleave(self.rules.beam_size).unsqueeze(1)
        inside = wanted != FREE
        first = torch.arange(words.size(1), device=words.device) == 0
        own = log_probs.gather(1, wanted.clamp(min=0))
        scores = torch.where(inside, own.masked_fill(~first, -math.inf), scores)
        return scores, torch.where(inside & first, wanted, words)

    def _finish(self, best: Tensor, beam: Tensor, word: Tensor, ended: Tensor) -> None:
        """Take those of the first K candidates that ended, by the end mark or by their length."""
        beams, end = self.rules.beam_size, self.rules.end
        for b, k in (ended[:, :beams] & best[:, :beams].isfinite()).nonzero().tolist():
            length, last = int(self._lengths[b]), int(word[b, k])
            tokens = self._tokens[b, beam[b, k], :length].tolist() + ([] if last == end else [last])
            log_prob = float(best[b, k])
            score = float(self.rules.penalty(log_prob, length + 1))
            each = differences([*self._sums[b, beam[b, k], :length].tolist(), log_prob])
            self.finished[self.ids[b]].append(Hypothesis(tokens, log_prob, score, last == end, each))

    def _leave(self, full: Tensor) -> Tensor | None:
        """Drop the examples that are done; return which live on, or None if all do."""
        best = self._scores.max(1).values.tolist()
        limits = self._limits.tolist()
        done = [f or self._enough(*x) for f, *x in zip(full.tolist(), self.ids, best, limits, strict=True)]
        if not any(done):
            return None
        for i, gone in zip(self.ids, done, strict=True):
            if gone:
                self.finished[i].sort(key=lambda h: -h.score)
                del self.finished[i][self.rules.beam_size :]
        keep = torch.tensor([b for b, gone in enumerate(done) if not gone], dtype=torch.int64, device=full.device)
        self.ids = [i for i, gone in zip(self.ids, done, strict=True) if not gone]
        self.last = self.last.view(-1, self.rules.beam_size)[keep].flatten()
        self._tokens, self._scores, self._prefixes = self._tokens[keep], self._scores[keep], self._prefixes[keep]
        self._lengths, self._limits, self._sums = self._lengths[keep], self._limits[keep], self._sums[keep]
        return keep

    def _enough(self, i: int, best: float, limit: int) -> bool:
        """Whether example `i`, whose best live log-probability is `best`, needs no further look."""
        if best == -math.inf:
            return True
        if len(self.finished[i]) < self.rules.beam_size:
            return False
        kept = sorted((h.score for h in self.finished[i]), reverse=True)[self.rules.beam_size - 1]
        return self.rules.stop == "count" or kept >= float(self.rules.penalty(best, limit))


def differences(sums: Sequence[float]) -> tuple[float, ...]:
    """Return what each of the sums adds to the one before it.

    Example:
        >>> differences([-1.0, -1.5])
        (-1.0, -0.5)
    """
    return tuple(after - before for before, after in zip([0.0, *sums], sums, strict=False))


@torch.inference_mode()
def search(
    step: Step | BestStep,
    state: Any,
    rules: Rules,
    limits: Sequence[int],
    device: torch.device | str = "cpu",
    prefixes: Sequence[Sequence[int]] | None = None,
) -> list[list[Hypothesis]]:
    """Decode a batch of examples to their ends; best hypothesis first, for each example in order.

    Args:
        step: Of the model.
        state: Of its rows, one for each example, before the first token.
        rules: What to look for.
        limits: The most tokens of each target, its end mark included.
        device: Of the model.
        prefixes: Tokens that each target must begin with; its score counts them. Default: none.

    Example:
        >>> follows = torch.tensor([[0.0, 0, 0, 0], [0, 0, 9, 0], [0, 0, 0, 9], [9, 0, 0, 0]])  # 1 -> 2 -> 3 -> 0
        >>> rules = Rules(beam_size=2, penalty=onehop.decode.penalty("none", 0.0), begin=1, end=0)
        >>> found = search(lambda tokens, state: (follows[tokens], state), onehop.nn.State(1), rules, limits=[5])
        >>> found[0][0].tokens
        [2, 3]
    """
    machine = BeamSearch(rules)
    ids = machine.admit(limits, device, prefixes)
    state = state.expand(rules.beam_size)
    while machine.ids:
        logits, state = step(machine.last, state)
        rows, keep = machine.advance(logits)
        if rules.beam_size > 1:
            state = state.reorder(rows)
        if keep is not None:
            state = state.select(keep)
    return [machine.finished[i] for i in ids]
