"""Which side a line belongs to, by script and by character trigrams, both learnt from the corpus itself.

A naive Bayes classifier over hashed trigrams tells the two sides apart (after Cavnar and Trenkle 1994); a pair is
exchanged if each of its lines looks like the other side, a line is in the wrong language if it alone does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onehop.data.check.text import SCRIPTS, Text

BITS = 16
SEEN = 5  # occurrences of a trigram that says anything
LOUDEST = 4.0  # nats that one trigram may say
MARGIN = 8.0  # nats by which a line belongs to the other side
SUM = 24.0  # nats by which both lines of a pair do
NEIGHBOURS = 3  # lines beside an exchanged pair, in which less evidence is enough
ABLE = 0.9  # share of lines told apart, below which nothing is told
OWN = 0.02  # share of a side's letters from which a script is its own
ODD, LETTERS = 0.5, 4  # share of a line's letters that are of other scripts, and how many, to be odd
SHORT = 20  # characters of a line that is not judged alone
GROUPS = (("Han", "Kana"),)
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Sides:
    """What each side of a corpus looks like.

    Args:
        weights: For each trigram, by how many nats it is more likely on the source side.
        own: For each side, which scripts are its own.
        able: Whether the sides can be told apart.
    """

    weights: npt.NDArray[np.float32]
    own: tuple[Flags, Flags]
    able: bool

    def lean(self, text: Text) -> npt.NDArray[np.float64]:
        """Return by how many nats each line looks like the source side."""
        grams, lines = text.grams(BITS)
        return text.sums(self.weights[grams], lines)

    def exchanged(self, source: Text, target: Text) -> tuple[Flags, Flags, Flags]:
        """Return which pairs are exchanged, and which sources and targets alone are in the other's language."""
        if not self.able:
            nothing = np.zeros(len(source), bool)
            return nothing, nothing, nothing
        left, right = self.lean(source), self.lean(target)
        swapped = (left < -MARGIN) & (right > MARGIN) & (right - left > SUM)
        beside = (
            np.convolve(swapped, np.ones(2 * NEIGHBOURS + 1), "same")[: len(left)] > 0 if swapped.any() else swapped
        )
        swapped |= beside & (left < 0) & (right > 0) & (right - left > MARGIN)
        differ = source.hashes != target.hashes
        source_wrong = (-left > SUM) & (right < 0) & differ & (source.lengths > SHORT)
        target_wrong = (right > SUM) & (left > 0) & differ & (target.lengths > SHORT)
        return swapped, source_wrong, target_wrong

    def odd_script(self, text: Text, side: int) -> Flags:
        """Return which lines are mostly in scripts that their side hardly has."""
        foreign = ~self.own[side]
        foreign[0] = False
        if foreign[1:].all():
            return np.zeros(len(text), bool)
        letters = text.sums(text.scripts > 0, text.line_of)
        odd = text.sums(foreign[text.scripts], text.line_of)
        return (odd >= LETTERS) & (odd > ODD * letters)


def learn_sides(pairs: Iterable[tuple[Text, Text]]) -> Sides:
    """Learn what the sides of a sample look like.

    Args:
        pairs: Sources and targets, some lines at a time; iterated over twice.
    """
    pairs = list(pairs)
    counts, letters = np.zeros((2, 1 << BITS)), np.zeros((2, len(SCRIPTS)))
    for texts in pairs:
        for side, text in enumerate(texts):
            counts[side] += np.bincount(text.grams(BITS)[0], minlength=1 << BITS)
            letters[side] += np.bincount(text.scripts, minlength=len(SCRIPTS))
    rates = (counts + 0.5) / (counts.sum(1, keepdims=True) + 0.5 * (1 << BITS))
    weights = np.clip(np.log(rates[0] / rates[1]), -LOUDEST, LOUDEST).astype(np.float32)
    weights[counts.sum(0) < SEEN] = 0
    letters[:, 0] = 0
    own = letters >= OWN * np.maximum(letters.sum(1, keepdims=True), 1)
    for group in GROUPS:
        places = [SCRIPTS.index(name) for name in group]
        own[:, places] |= own[:, places].any(1, keepdims=True)
    sides = Sides(weights, (own[0], own[1]), True)
    right, total = 0, 0
    for source, target in pairs:
        right += int((sides.lean(source) > 0).sum() + (sides.lean(target) < 0).sum())
        total += 2 * len(source)
    return Sides(weights, (own[0], own[1]), total >= 200 and right >= ABLE * total)
