"""The one function that search sees: a token for each row and a state in, logits and the next state out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from onehop.nn.interfaces import Decoder

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]
"""`(tokens (B,), state) -> (logits (B, V), state)`; the state given is used up."""


def stepper(decoder: Decoder) -> Step:
    """Narrow a decoder to a step.

    Example:
        >>> model = onehop.models.build("transformer", {"preset": "transformer-tiny"}, source_vocab=50)
        >>> state = model.start(model.encode(onehop.nn.Source(torch.tensor([[7, 8, 2]]))))
        >>> logits, state = stepper(model)(torch.tensor([1]), state)
        >>> logits.shape
        torch.Size([1, 50])
    """

    def step(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        hidden, state = decoder.decode(tokens.unsqueeze(1), state)
        return decoder.logits(hidden[:, -1]), state

    return step


@dataclass(frozen=True)
class Best:
    """The likeliest tokens of each row, in place of the logits of all.

    Args:
        scores: `(B, N)` log-probabilities, the largest first.
        tokens: `(B, N)` int64.
    """

    scores: Tensor
    tokens: Tensor


@runtime_checkable
class Ranker(Protocol):
    """A decoder that finds the likeliest tokens without writing the logits of all."""

    def decode(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Read tokens; see `onehop.nn.Decoder`."""
        ...

    def best(self, hidden: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and tokens of the `count` likeliest, `(B, D)` -> `(B, count)`."""
        ...


BestStep = Callable[[Tensor, Any], tuple[Best, Any]]
"""`(tokens (B,), state) -> (the likeliest tokens, state)`; the state given is used up."""


def best_stepper(decoder: Ranker, count: int) -> BestStep:
    """Narrow a decoder to a step that gives the `count` likeliest tokens: `Rules.candidates` is what a search needs.

    Example:
        >>> model = onehop.models.build("transformer", {"preset": "transformer-tiny"}, source_vocab=50)
        >>> fast, _ = onehop.runtime.accelerate(model)
        >>> step = best_stepper(fast, 3) if hasattr(fast, "best") else None  # only where there are kernels
        >>> state = fast.start(fast.encode(onehop.nn.Source(torch.tensor([[7, 8, 2]]))))
        >>> step is None or step(torch.tensor([1]), state)[0].tokens.shape == (1, 3)
        True
    """

    def step(tokens: Tensor, state: Any) -> tuple[Best, Any]:
        hidden, state = decoder.decode(tokens.unsqueeze(1), state)
        return Best(*decoder.best(hidden[:, -1], count)), state

    return step


@dataclass(frozen=True)
class States:
    """The states of several models over the same rows: what is done to one is done to each.

    Example:
        >>> both = States((onehop.nn.State(1), onehop.nn.State(1)))
        >>> [state.beams for state in both.expand(4).parts]
        [4, 4]
    """

    parts: tuple[Any, ...]

    def select(self, examples: Tensor) -> States:
        """Keep these examples, in this order; see `onehop.nn.State`."""
        return States(tuple(part.select(examples) for part in self.parts))

    def reorder(self, rows: Tensor) -> States:
        """Let row `i` continue from what row `rows[i]` was."""
        return States(tuple(part.reorder(rows) for part in self.parts))

    def expand(self, beams: int) -> States:
        """Give each example `beams` equal rows."""
        return States(tuple(part.expand(beams) for part in self.parts))

    def merge(self, other: States) -> States:
        """Put the examples of `other` behind these."""
        return States(tuple(one.merge(two) for one, two in zip(self.parts, other.parts, strict=True)))

    def fork(self) -> States:
        """Return states that may be decoded without touching these."""
        return States(tuple(part.fork() for part in self.parts))


def ensemble(steps: Sequence[Step]) -> Step:
    """Let several models write one target: their probabilities are averaged at every token (Sutskever 2014).

    The mean is that of the probabilities, not of their logarithms: the logits returned are the logarithm of the mean
    of the models' softmaxes. All must share the target's vocabulary. The state is a `States` of theirs, in order.

    Example:
        >>> one, two = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log()
        >>> steps = [lambda tokens, state: (one, state), lambda tokens, state: (two, state)]
        >>> logits, _ = ensemble(steps)(torch.tensor([1]), States((None, None)))
        >>> logits.softmax(-1)
        tensor([[0.7000, 0.3000]])
    """

    def step(tokens: Tensor, state: States) -> tuple[Tensor, States]:
        found = [step(tokens, part) for step, part in zip(steps, state.parts, strict=True)]
        log_probs = [logits.float().log_softmax(-1) for logits, _ in found]
        return mean_probability(log_probs), States(tuple(part for _, part in found))

    return step


def mean_probability(log_probs: Sequence[Tensor]) -> Tensor:
    """Return the logarithm of the mean of probabilities that are given by their logarithms, each of the same shape.

    Example:
        >>> mean_probability([torch.tensor([0.2]).log(), torch.tensor([0.6]).log()]).exp()
        tensor([0.4000])
    """
    return torch.stack(list(log_probs)).logsumexp(0) - math.log(len(log_probs))
