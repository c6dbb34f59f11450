"""Masked words: which are hidden for a model to find, and what takes their place (Devlin 2018, section 3.1, task 1).

Of all tokens 15 % are chosen. Of these 80 % become the mask, 10 % another token, which teaches the model to doubt what
it sees, and 10 % stay, which teaches it what an unhidden word looks like. What is drawn for a line depends on the
seed, the epoch and the number of the line, so neither on its batch nor on where training was resumed.

Which tokens are chosen together is a part that is handed in: each by itself, all pieces of a word (the whole-word
masking that BERT's authors added in 2019), or spans of words (Joshi et al. 2020, "SpanBERT", section 3.1). Tokens may
also be chosen the oftener the rarer they are (Zhang et al. 2023, "Weighted Sampling for Masked Language Modeling").
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

CHOSEN, MASKED, RANDOM = 0.15, 0.8, 0.1  # shares: of all tokens; and of the chosen, the rest of whom stay
SHORTER, LONGEST_SPAN = 0.2, 10  # SpanBERT: P(length) of a span is geometric with this, up to so many words
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

Share = float | Floats
Choose = Callable[[Ints, Bools, Any, Floats], Ints]
"""From a row `(S,)`, which tokens may be hidden, the share to hide, and a number in [0, 1) for each token, to the place
whose fate each chosen token shares, and -1 for the others."""
MOST = 2.0  # times the share, that the rarest token is hidden: the model must also read it to learn what stands beside


@dataclass(frozen=True)
class MaskedRow:
    """A row of tokens of which some are to be found.

    Args:
        tokens: What the model reads.
        places: Where a token was chosen, from the first.
        targets: What stood there.
    """

    tokens: list[int]
    places: list[int]
    targets: list[int]


class Masking:
    """Hides tokens at random, the same for the same seed, epoch and line.

    Args:
        mask: The token that stands for a hidden one.
        words: The tokens that one of them is drawn from where another token stands in.
        never: Tokens that are never chosen: marks around and between texts.
        share: Of the other tokens that are chosen, from 0 to 1; for `single`, also one number for each token of the
            vocabulary, see `by_rarity`.
        choose: Which; `single` or an object of `WholeWords` or `Spans`.

    Example:
        >>> masking = Masking(mask=4, words=range(5, 30), never={2, 3})
        >>> [row] = masking.hide([[2, 9, 8, 7, 6, 5, 9, 8, 7, 3]], lines=[3], seed=1, epoch=2)
        >>> row.places, row.targets, row.tokens
        ([1, 8], [9, 7], [2, 4, 8, 7, 6, 5, 9, 8, 4, 3])
    """

    def __init__(
        self, mask: int, words: Sequence[int], never: Collection[int] = (), share: Share = CHOSEN,
        choose: Choose | None = None,
    ) -> None:  # fmt: skip
        if not (np.min(share) >= 0 and np.max(share) <= 1):
            raise ValueError(f"share={share} must lie between 0 and 1")
        self.mask, self.words = mask, np.asarray(words, np.int64)
        self.never, self.share = np.asarray(sorted(never), np.int64), share
        self.choose = choose or single

    def hide(self, rows: Sequence[Sequence[int]], lines: Sequence[int], seed: int, epoch: int) -> list[MaskedRow]:
        """Return each row with some of its tokens hidden; of a short one perhaps none.

        Args:
            rows: Tokens.
            lines: The number of each row in its data.
            seed: Of the run.
            epoch: How many times the data were read before.
        """
        return [self._hide(np.asarray(row, np.int64), line, seed, epoch) for row, line in zip(rows, lines, strict=True)]

    def _hide(self, row: Ints, line: int, seed: int, epoch: int) -> MaskedRow:
        drawn = uniform(3 * len(row), seed, epoch, line)
        choose, become, which = drawn.reshape(3, len(row))
        share = self.share[row] if isinstance(self.share, np.ndarray) else self.share
        fate = self.choose(row, ~np.isin(row, self.never), share, choose)
        chosen, become = fate >= 0, become[fate]  # of those that are not chosen, what they become is not looked at
        other = self.words[(which * len(self.words)).astype(np.int64)]
        tokens = np.where(become < MASKED, self.mask, np.where(become < MASKED + RANDOM, other, row))
        places = chosen.nonzero()[0]
        return MaskedRow(np.where(chosen, tokens, row).tolist(), places.tolist(), row[places].tolist())


def single(row: Ints, free: Bools, share: Share, draws: Floats) -> Ints:
    """Choose each token by itself, as the paper does; see `Choose`. The share may be another for each token."""
    return np.where((draws < share) & free, np.arange(len(row)), -1)


def by_rarity(counts: Ints, share: float, rarity: float) -> Floats:
    """Return how often each token is to be hidden, so that of all tokens as many are as without: `(V,)`, from 0 to 1.

    In proportion to `1 / frequency ** rarity`, which for words of content leaves more places where they are learnt; no
    token oftener than twice the share, so that it is also read.

    Args:
        counts: How often each token of the vocabulary stands in the text; as if it had stood there once more.
        share: Of all tokens.
        rarity: 0 hides all alike; Zhang et al. use 0.5.

    Example:
        >>> by_rarity(np.array([900, 99]), 0.1, 0.0).round(4).tolist()
        [0.1, 0.1]
        >>> by_rarity(np.array([900, 99]), 0.1, 0.5).round(4).tolist()
        [0.0889, 0.2]
    """
    counts = counts + 1
    weights, most = counts ** -float(rarity), min(1.0, MOST * share)
    low, high = 0.0, most / weights.min()
    for _ in range(64):  # the factor of the weights, halving where it may lie
        middle = (low + high) / 2
        too_many = float(counts @ np.minimum(most, middle * weights)) > share * float(counts.sum())
        low, high = (low, middle) if too_many else (middle, high)
    return np.minimum(most, low * weights)


class WholeWords:
    """Chooses words: all pieces of one or none; what becomes of each piece is drawn by itself. See `Choose`.

    Args:
        begins: For each token of the vocabulary whether it begins a word.

    Example:
        >>> words = WholeWords([True, True, False])  # the last token goes on with a word
        >>> words(np.array([0, 1, 2, 2]), np.ones(4, bool), 0.5, np.array([0.9, 0.1, 0.9, 0.9])).tolist()
        [-1, 1, 2, 3]
    """

    def __init__(self, begins: Sequence[bool]) -> None:
        self.begins = np.asarray(begins, bool)

    def __call__(self, row: Ints, free: Bools, share: float, draws: Floats) -> Ints:
        """Return the place of each chosen token, and -1 for the others."""
        starts = _starts(self.begins[row], free)
        return single(row, free, share, np.repeat(draws[starts], np.diff(starts, append=len(row))))


class Spans:
    """Chooses spans of whole words until the share is reached; a span shares one fate. See `Choose`.

    A span's length in words is geometric, cut off at `longest`: 3.8 on average in the paper. It begins at a word drawn
    evenly, and ends at a mark, at a word that is chosen already, and when enough is hidden.

    Args:
        begins: For each token of the vocabulary whether it begins a word.
        shorter: The geometric distribution's parameter: how likely each word is to be a span's last.
        longest: Most words of a span.

    Example:
        >>> spans = Spans([True] * 9)
        >>> spans(np.arange(9), np.ones(9, bool), 0.35, np.array([0.0, 0.6, 0.25, 0, 0, 0, 0, 0, 0])).tolist()
        [-1, -1, 2, 2, 2, -1, -1, -1, -1]
    """

    def __init__(self, begins: Sequence[bool], shorter: float = SHORTER, longest: int = LONGEST_SPAN) -> None:
        self.begins = np.asarray(begins, bool)
        self.up_to = lengths_up_to(shorter, longest)

    def __call__(self, row: Ints, free: Bools, share: float, draws: Floats) -> Ints:
        """Return the first place of the span of each chosen token, and -1 for the others."""
        fate = np.full(len(row), -1)
        starts = _starts(self.begins[row], free)
        if not len(starts):
            return fate
        ends = [*starts[1:].tolist(), len(row)]
        left = int(free.sum() * share + draws[0])  # rounded by a draw, so that short rows have their share too
        for length, place in zip(draws[1::2], draws[2::2], strict=False):
            if left <= 0:
                break
            first = int(place * len(starts))
            for word in range(first, min(len(starts), first + 1 + int(np.searchsorted(self.up_to, length, "right")))):
                start, end = int(starts[word]), ends[word]
                if left <= 0 or not free[start] or fate[start] >= 0:
                    break
                fate[start:end] = starts[first]
                left -= end - start
        return fate


def lengths_up_to(shorter: float, longest: int) -> Floats:
    """Return the probability that a span has at most 1, 2, ... words, up to one fewer than the longest.

    Example:
        >>> up_to = lengths_up_to(0.2, 10)
        >>> round(float(1 + sum(1 - up_to)), 3)  # the mean
        3.797
    """
    weights = (1 - shorter) ** np.arange(longest)
    return np.cumsum(weights / weights.sum())[:-1]


def _starts(begins: Bools, free: Bools) -> Ints:
    """Return where words begin, ascending, the first token and marks and what follows them among them."""
    starts = begins | ~free
    starts[:1] = True
    starts[1:] |= ~free[:-1]
    return starts.nonzero()[0]


def uniform(count: int, *key: int) -> Floats:
    """Return numbers in [0, 1) that a key of whole numbers, not negative, decides.

    Example:
        >>> bool((uniform(3, 1, 2) == uniform(3, 1, 2)).all()), bool((uniform(3, 1, 2) == uniform(3, 2, 1)).any())
        (True, False)
    """
    return (np.random.PCG64(list(key)).random_raw(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
