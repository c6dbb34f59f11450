"""Texts as rows that a model can read: whole, cut, or divided into windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onehop.text import Ledger, limit_windows


@dataclass(frozen=True)
class Windows:
    """What is read of a text.

    Args:
        rows: Tokens of its windows, mostly one; none where the text was dropped, or is not to be read.
        lost: Tokens that were cut off, or dropped.
    """

    rows: list[list[int]]
    lost: int

    @property
    def count(self) -> int:
        """How many windows the text was divided into; 0 where it was not."""
        return len(self.rows) if len(self.rows) > 1 else 0


def divide(
    encoded: Sequence[list[int]], pieces: Callable[[Sequence[int]], list[str]], ledger: Ledger,
    where: Sequence[str], *, empty: bool,
) -> list[Windows]:  # fmt: skip
    """Return what is read of each text, by the ledger's policy.

    Args:
        encoded: Tokens of each.
        pieces: From tokens to their texts.
        ledger: With the limit; it counts what is lost.
        where: The place of each, for messages.
        empty: Whether a text without tokens is read.

    Raises:
        LengthError: A text is too long, and the policy is "error".
    """
    found: list[Windows] = []
    for tokens, place in zip(encoded, where, strict=True):
        before = ledger.tokens
        rows = [[]] if empty else list[list[int]]()
        if tokens:
            rows = limit_windows(tokens, pieces, ledger, place)
        found.append(Windows(rows, ledger.tokens - before))
    return found


def outputs(each: Sequence[Windows], values: Tensor) -> Iterator[Tensor]:
    """Yield the rows of `values (N, ...)` that belong to the windows of each text."""
    yield from values.split([len(windows.rows) for windows in each])


def average(windows: Windows, values: Tensor) -> Tensor:
    """Return the mean of what was found for the windows of a text, by their tokens; of a single value it itself."""
    if len(values) == 1:
        return values[0]
    sizes = torch.tensor([len(row) + 1 for row in windows.rows], dtype=values.dtype)
    return (sizes / sizes.sum()) @ values
