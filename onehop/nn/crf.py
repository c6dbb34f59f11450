"""Sequences of labels: the likeliest that is allowed, and a linear-chain CRF (Lafferty et al. 2001).

A CRF scores a sequence by what each word says of its label and by each pair of neighbouring labels,

    s(x, y) = start[y_1] + sum_t emissions[t, y_t] + sum_t transitions[y_t, y_t+1] + end[y_T],

and p(y | x) = exp(s(x, y) - log Z(x)). The forward algorithm sums over all C^T sequences in T steps; the gradient of
log Z by the emissions is the probability of each label at each word (Eisner 2016), so there is no backward algorithm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Allowed:
    """Which labels may begin a sentence, follow each other, and end one.

    Args:
        start: `(C,)` bool.
        pairs: `(C, C)` bool, from a label (row) to the next (column).
        end: `(C,)` bool.
    """

    start: Tensor
    pairs: Tensor
    end: Tensor

    @classmethod
    def of(cls, labels: Sequence[str], may_follow: Callable[[str | None, str | None], bool]) -> Allowed:
        """Return what a rule allows, which is asked of two labels; None stands for the start and the end.

        Example:
            >>> Allowed.of(["O", "B-a", "I-a"], lambda one, other: other != "I-a" or one in ("B-a", "I-a")).start
            tensor([ True,  True, False])
        """
        return cls(
            torch.tensor([may_follow(None, label) for label in labels]),
            torch.tensor([[may_follow(one, other) for other in labels] for one in labels]),
            torch.tensor([may_follow(label, None) for label in labels]),
        )


class Crf(nn.Module):
    """Scores of neighbouring labels.

    Args:
        num_labels: C.

    Example:
        >>> crf = Crf(2)
        >>> emissions, lengths = torch.zeros(1, 3, 2), torch.tensor([3])
        >>> crf.log_likelihood(emissions, torch.tensor([[0, 1, 0]]), lengths)  # one of eight, all alike
        tensor([-2.0794], grad_fn=<SubBackward0>)
    """

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(num_labels))
        self.transitions = nn.Parameter(torch.zeros(num_labels, num_labels))
        self.end = nn.Parameter(torch.zeros(num_labels))

    def score(self, emissions: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        """Return `s(x, y)`, `(N,)`, for emissions `(N, T, C)` and labels `(N, T)` of sentences of at least a word."""
        real = torch.arange(labels.size(1), device=labels.device) < lengths.unsqueeze(1)
        each = emissions.gather(2, labels.unsqueeze(2)).squeeze(2)
        pairs = self.transitions[labels[:, :-1], labels[:, 1:]]
        last = labels.gather(1, lengths.unsqueeze(1) - 1).squeeze(1)
        inside = (each * real).sum(1) + (pairs * real[:, 1:]).sum(1)
        return self.start[labels[:, 0]] + inside + self.end[last]

    def log_partition(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """Return log Z, `(N,)`, by the forward algorithm."""
        alpha = self.start + emissions[:, 0]
        for t in range(1, emissions.size(1)):
            after = (alpha.unsqueeze(2) + self.transitions).logsumexp(1) + emissions[:, t]
            alpha = torch.where((t < lengths).unsqueeze(1), after, alpha)
        return (alpha + self.end).logsumexp(1)

    def log_likelihood(self, emissions: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        """Return log p(y | x), `(N,)`."""
        return self.score(emissions, labels, lengths) - self.log_partition(emissions, lengths)

    def marginals(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """Return the probability of every label at every word, `(N, T, C)`, without a gradient."""
        with torch.inference_mode(False), torch.enable_grad():
            given = emissions.clone().requires_grad_()
            return torch.autograd.grad(self.log_partition(given, lengths).sum(), given)[0]


def viterbi(emissions: Tensor, lengths: Tensor, allowed: Allowed, crf: Crf | None = None) -> list[list[int]]:
    """Return the sequence of labels with the largest score of those that are allowed, for each sentence.

    Args:
        emissions: `(N, T, C)`; log-probabilities, or what a CRF was trained with.
        lengths: `(N,)`, words of each sentence, at least one.
        allowed: What may follow what. There must be a sequence that it allows.
        crf: Whose scores count besides.

    Example:
        >>> allowed = Allowed.of(["up", "down"], lambda one, other: one != other)
        >>> viterbi(torch.tensor([[[0.0, 1.0], [0.0, 2.0]]]), torch.tensor([2]), allowed)
        [[0, 1]]
    """
    none = float("-inf")
    zero = emissions.new_zeros(())
    start, pairs, end = (
        torch.where(may.to(emissions.device), zero if scores is None else scores.detach().to(emissions.dtype), none)
        for may, scores in (
            (allowed.start, crf and crf.start), (allowed.pairs, crf and crf.transitions), (allowed.end, crf and crf.end)
        )
    )  # fmt: skip
    best = start + emissions[:, 0]
    came: list[Tensor] = []
    ends = [best]
    for t in range(1, emissions.size(1)):
        values, places = (best.unsqueeze(2) + pairs).max(1)
        best = values + emissions[:, t]
        came.append(places)
        ends.append(best)
    lasts = [int((ends[size - 1][row] + end).argmax()) for row, size in enumerate(lengths.tolist())]
    steps = torch.stack(came, 1).tolist() if came else [[] for _ in lasts]
    found: list[list[int]] = []
    for last, size, back in zip(lasts, lengths.tolist(), steps, strict=True):
        path = [last]
        for t in range(size - 2, -1, -1):
            path.append(back[t][path[-1]])
        found.append(path[::-1])
    return found
