"""Small tasks and a short training, for what can only be measured on a model that has learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.data import evaluation_batches
from onehop.decode import Rules, penalty, search, stepper
from onehop.lab.parts import model
from onehop.nn import Source
from onehop.tasks.translation_loss import loss_sum

LETTERS, FIRST = 10, 3  # letters are the tokens 3 to 12, behind padding and the two marks
BEGIN, END = 1, 2
Strings = list[list[int]]
Rewrite = Callable[[Sequence[int]], list[int]]


def strings(count: int, longest: int, shortest: int = 1) -> Strings:
    """Return random strings of letters."""
    lengths = torch.randint(shortest, longest + 1, (count,)).tolist()
    return [torch.randint(FIRST, FIRST + LETTERS, (length,)).tolist() for length in lengths]


def copied(letters: Sequence[int]) -> list[int]:
    """Return the same string."""
    return list(letters)


def backwards(letters: Sequence[int]) -> list[int]:
    """Return the string from its end."""
    return list(reversed(letters))


def descend(module: nn.Module, loss: Callable[[], Tensor], updates: int, rate: float = 3e-3) -> None:
    """Train with Adam: the rate rises over 50 updates and falls linearly to zero; gradients are clipped at 1."""
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    for update in range(1, updates + 1):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(update / 50, 1 - (update - 1) / updates)
        optimizer.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()


def learned(
    family: str, settings: dict[str, Any], rewrite: Rewrite, updates: int, lengths: tuple[int, int] = (1, 10)
) -> Any:
    """Return a model that was trained to rewrite strings, 64 new ones at each update."""
    student = model(family, settings, FIRST + LETTERS).train()

    def loss() -> Tensor:
        sources = strings(64, lengths[1], lengths[0])
        batch = next(evaluation_batches(sources, [rewrite(source) for source in sources], 10_000))
        return loss_sum(student, batch) / batch.num_targets

    descend(student, loss, updates)
    return student.eval()


def rewritten(student: Any, sources: Strings) -> Strings:
    """Return what a model writes for strings, by greedy search."""
    found: Strings = []
    for source in sources:
        with torch.no_grad():
            state = student.start(student.encode(Source(torch.tensor([[*source, END]]))))
        rules = Rules(1, penalty("none", 0.0), BEGIN, END)
        found.append(search(stepper(student), state, rules, [len(source) + 5])[0][0].tokens)
    return found


def share_right(student: Any, rewrite: Rewrite, sources: Strings) -> float:
    """Return the share of strings that a model rewrites without a mistake."""
    found = rewritten(student, sources)
    return sum(out == rewrite(source) for out, source in zip(found, sources, strict=True)) / len(sources)


def probe(x: Tensor, wanted: Tensor, classes: int, fitted: int) -> float:
    """Fit a linear probe by least squares, one column for each class, and return the share that it finds elsewhere.

    Args:
        x: States `(N, T, D)`.
        wanted: The class of each, `(N, T)`.
        classes: How many there are.
        fitted: Rows to fit it to; the others are tried.
    """
    x = torch.cat([x, torch.ones_like(x[..., :1])], -1).double()
    columns = F.one_hot(wanted[:fitted].flatten(), classes).double()
    weight = torch.linalg.lstsq(x[:fitted].flatten(0, 1), columns).solution
    return float(((x[fitted:] @ weight).argmax(-1) == wanted[fitted:]).double().mean())
