"""Learning where to look from reward alone (Xu 2015, section 4.1; Williams 1992).

A draw passes no gradient. What it leads to is a reward, and the logarithm of its probability, weighted by how much
better than expected the reward was, has the gradient of the expected reward as its expectation.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from onehop.nn.attention.selects import Choice, Hard


class Reinforce:
    """The part of a loss that hard attention learns from, with its moving baseline.

    The reward of a draw is the log-probability of the tokens that it can still change: its own and those behind it.
    The paper takes that of the whole text; both have the same expectation, and this one varies less. The baseline is
    counted by token, since texts differ in length.

    Args:
        reward: The paper's lambda_r, of the reward's gradient.
        entropy: The paper's lambda_e, of the entropy of the weights, which keeps them from settling early.
        decay: Of the baseline, `b = 0.9 b + 0.1 log p(y)` in the paper.

    Example:
        >>> from onehop.nn.attention.selects import choices
        >>> learn, scores = Reinforce(), torch.zeros(1, 1, 2, 3, requires_grad=True)
        >>> with choices() as made:
        ...     _ = Hard(expected=0.0).train()(scores)
        >>> term = learn.term(made, torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), guess=-2.0)
        >>> term.backward()
        >>> float(term.detach()), bool(scores.grad.any())
        (0.0, True)
    """

    def __init__(self, reward: float = 1.0, entropy: float = 0.002, decay: float = 0.9) -> None:
        self.reward, self.entropy, self.decay = reward, entropy, decay
        self.baseline: float | None = None
        self._heard: list[tuple[Tensor, int]] = []  # reward and tokens of each batch since the last update

    def term(
        self, made: Sequence[Choice], losses: Float[Tensor, "B T"], real: Bool[Tensor, "B T"], guess: float
    ) -> Float[Tensor, ""]:
        """Return 0, with the gradient that hard attention learns from, to be added to a sum of losses.

        Args:
            made: What was drawn.
            losses: Of each token, in nats; zero where none is.
            real: Where there is a token.
            guess: The baseline before the first update, such as the reward of a uniform guess.
        """
        T = real.size(1)
        log_prob, entropy = (_by_position(made, name, T) for name in ("log_prob", "entropy"))
        baseline = guess if self.baseline is None else self.baseline
        gained = torch.where(real, -losses.detach() - baseline, 0.0)
        advantage = torch.where(real, _from_here_on(gained), 0.0)
        sought = self.reward * (advantage * log_prob).sum() + self.entropy * entropy.masked_fill(~real, 0.0).sum()
        self._heard.append((-losses.detach().sum(), int(real.sum())))
        return sought.detach() - sought

    def updated(self) -> None:
        """Move the baseline by what the batches of an update were rewarded with, however many they were."""
        if self._heard:
            mean = float(sum(float(reward) for reward, _ in self._heard)) / max(1, sum(n for _, n in self._heard))
            if isfinite(mean):
                self.baseline = mean if self.baseline is None else self.decay * self.baseline + (1 - self.decay) * mean
            self._heard.clear()

    @contextmanager
    def unheard(self) -> Generator[None]:
        """Inside, what is drawn does not count: to measure a step without taking it."""
        before = list(self._heard)
        try:
            yield
        finally:
            self._heard = before

    def state_dict(self) -> dict[str, float]:
        """Return what a resumed run must know."""
        return {} if self.baseline is None else {"baseline": self.baseline}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Put back what `state_dict` returned."""
        self.baseline = state.get("baseline")


def draws(model: nn.Module) -> bool:
    """Whether a model has hard attention.

    Example:
        >>> draws(onehop.models.build("recurrent", {"select": "hard"}, source_vocab=50))
        True
    """
    return any(isinstance(module, Hard) for module in model.modules())


def _by_position(made: Sequence[Choice], name: str, T: int) -> Tensor:
    """Return the sum over heads and layers, `(B, T)`, of calls over all positions or over one after the other."""
    calls = torch.cat([getattr(choice, name).sum(1) for choice in made], 1)
    return calls.unflatten(1, (-1, T)).sum(1)


def _from_here_on(x: Tensor) -> Tensor:
    return x.flip(1).cumsum(1).flip(1)
