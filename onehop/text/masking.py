"""Masked words: which are hidden for a model to find, and what takes their place (Devlin 2018, section 3.1, task 1).

Of all tokens 15 % are chosen. Of these 80 % become the mask, 10 % another token, which teaches the model to doubt what
it sees, and 10 % stay, which teaches it what an unhidden word looks like. What is drawn for a line depends on the
seed, the epoch and the number of the line, so neither on its batch nor on where training was resumed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CHOSEN, MASKED, RANDOM = 0.15, 0.8, 0.1  # shares: of all tokens; and of the chosen, the rest of whom stay


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
        share: Of the tokens that are chosen, from 0 to 1.

    Example:
        >>> masking = Masking(mask=4, words=range(5, 30), never={2, 3})
        >>> [row] = masking.hide([[2, 9, 8, 7, 6, 5, 9, 8, 7, 3]], lines=[3], seed=1, epoch=2)
        >>> row.places, row.targets, row.tokens
        ([1, 8], [9, 7], [2, 4, 8, 7, 6, 5, 9, 8, 4, 3])
    """

    def __init__(self, mask: int, words: Sequence[int], never: Collection[int] = (), share: float = CHOSEN) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share={share} must lie between 0 and 1")
        self.mask, self.words = mask, np.asarray(words, np.int64)
        self.never, self.share = np.asarray(sorted(never), np.int64), share

    def hide(self, rows: Sequence[Sequence[int]], lines: Sequence[int], seed: int, epoch: int) -> list[MaskedRow]:
        """Return each row with some of its tokens hidden; of a short one perhaps none.

        Args:
            rows: Tokens.
            lines: The number of each row in its data.
            seed: Of the run.
            epoch: How many times the data were read before.
        """
        return [self._hide(np.asarray(row, np.int64), line, seed, epoch) for row, line in zip(rows, lines, strict=True)]

    def _hide(self, row: npt.NDArray[np.int64], line: int, seed: int, epoch: int) -> MaskedRow:
        drawn = uniform(3 * len(row), seed, epoch, line)
        choose, become, which = drawn.reshape(3, len(row))
        chosen = (choose < self.share) & ~np.isin(row, self.never)
        other = self.words[(which * len(self.words)).astype(np.int64)]
        tokens = np.where(become < MASKED, self.mask, np.where(become < MASKED + RANDOM, other, row))
        places = chosen.nonzero()[0]
        return MaskedRow(np.where(chosen, tokens, row).tolist(), places.tolist(), row[places].tolist())


def uniform(count: int, *key: int) -> npt.NDArray[np.float64]:
    """Return numbers in [0, 1) that a key of whole numbers, not negative, decides.

    Example:
        >>> bool((uniform(3, 1, 2) == uniform(3, 1, 2)).all()), bool((uniform(3, 1, 2) == uniform(3, 2, 1)).any())
        (True, False)
    """
    return (np.random.PCG64(list(key)).random_raw(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
