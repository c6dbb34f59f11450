"""Which words go together across the two sides, learnt from the corpus itself; no dictionary, no language named.

Words are hashed; of each line the rarest ones that the sample knows are kept. The association of two words is their
pointwise mutual information (Church and Hanks 1990), a line's with another the mean over its words of the best partner
that each finds there, as IBM model 1 finds them (Brown et al. 1993). The words are counted together not only with those
of the line beside them but of all lines within `REACH`, so that a corpus that is shifted from its first line on teaches
as much, and no distance is favoured. A pair never testifies for itself: its own co-occurrences are taken off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from onehop.data.check.text import Text

Words = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int32]
Scores = npt.NDArray[np.float32]

KEPT = 6  # words of a line that are compared
WORD_BITS, PAIR_BITS = 18, 22
FEWEST = 3  # occurrences of a word that is worth comparing
REACH = 3  # lines that a shift is looked for
OFFSETS = range(-REACH, REACH + 1)
STRIP = 4_096  # lines at once: tables of KEPT x KEPT for each


def word_ids(text: Text) -> tuple[Words, npt.NDArray[np.int64]]:
    """Return the hashed words of all lines, and the line of each."""
    hashes, lines = text.words
    return (hashes >> np.uint64(64 - WORD_BITS)).astype(np.int32), lines


def count_words(texts: Iterable[Text]) -> Counts:
    """Return how often each hashed word occurs."""
    total = np.zeros(1 << WORD_BITS, np.int32)
    for text in texts:
        total += np.bincount(word_ids(text)[0], minlength=len(total)).astype(np.int32)
    return total


def rarest(text: Text, counts: Counts) -> Words:
    """Return the ids of each line's rarest words that occur often enough, (lines, KEPT); -1 where none is left."""
    ids, lines = word_ids(text)
    frequency = counts[ids]
    keep = frequency >= FEWEST
    ids, lines, frequency = ids[keep], lines[keep], frequency[keep]
    order = np.lexsort((ids, frequency, lines))
    ids, lines = ids[order], lines[order]
    fresh = np.ones(len(ids), bool)
    fresh[1:] = (ids[1:] != ids[:-1]) | (lines[1:] != lines[:-1])
    ids, lines = ids[fresh], lines[fresh]
    rank = np.arange(len(ids)) - np.searchsorted(lines, lines)
    found = np.full((len(text), KEPT), -1, np.int32)
    few = rank < KEPT
    found[lines[few], rank[few]] = ids[few]
    return found


class Association:
    """The words of a sample of pairs, and how often each two stood near each other.

    Args:
        counts: Occurrences of the words of both sides in the sample.
        num_lines: Pairs of the sample.
    """

    def __init__(self, counts: tuple[Counts, Counts], num_lines: int) -> None:
        self.counts = counts
        self._together = np.zeros(1 << PAIR_BITS, np.int32)
        self._logs = tuple(np.log(np.maximum(count, 1)).astype(np.float32) for count in counts)
        self._log_lines = np.float32(np.log(max(num_lines, 1)) - np.log(len(OFFSETS)))

    def learn(self, source: Words, target: Words) -> None:
        """Count the words of lines that follow each other together with those of their neighbours."""
        for offset in OFFSETS:
            for _, left, right in strips(source, target, offset):
                places = _places(left, right)
                np.add.at(self._together, places[places >= 0], np.int32(1))

    def scores(self, source: Words, target: Words, seen: npt.NDArray[np.bool_]) -> Scores:
        """Return how well each line goes with the target `offset` lines further on, (lines, offsets).

        Args:
            source: Words of lines that follow each other.
            target: Words of the lines beside them.
            seen: Which lines were learnt from.
        """
        found = np.zeros((len(source), len(OFFSETS)), np.float32)
        for column, offset in enumerate(OFFSETS):
            for first, left, right in strips(source, target, offset):
                found[first : first + len(left), column] = self._score(left, right, seen[first : first + len(left)])
        return found

    def _score(self, source: Words, target: Words, seen: npt.NDArray[np.bool_]) -> Scores:
        places = _places(source, target)
        together = self._together[places] - seen[:, None, None]
        values = np.log(np.maximum(together, 1), dtype=np.float32) + self._log_lines
        values = values - self._logs[0][source][:, :, None] - self._logs[1][target][:, None, :]
        values[(together < 2) | (places < 0)] = 0
        np.maximum(values, 0, out=values)
        sizes = [np.maximum((side >= 0).sum(1), 1) for side in (source, target)]
        means = values.max(1).sum(1) / sizes[1] + values.max(2).sum(1) / sizes[0]
        return means.astype(np.float32)


def strips(source: Words, target: Words, offset: int) -> Iterator[tuple[int, Words, Words]]:
    """Yield the lines that have a partner at an offset, some thousands at a time, and the number of the first."""
    first, last = max(0, -offset), min(len(source), len(target) - offset)
    for start in range(first, last, STRIP):
        end = min(start + STRIP, last)
        yield start, source[start:end], target[start + offset : end + offset]


def _places(source: Words, target: Words) -> npt.NDArray[np.int64]:
    """Return the place of each two words in the table of pairs, (lines, KEPT, KEPT); -1 where one is missing."""
    left, right = source[:, :, None].astype(np.uint32), target[:, None, :].astype(np.uint32)
    key = (left * np.uint32(0x9E3779B1)) ^ (right * np.uint32(0x85EBCA77))
    key = (key ^ (key >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    places = (key >> np.uint32(32 - PAIR_BITS)).astype(np.int64)
    places[(source[:, :, None] < 0) | (target[:, None, :] < 0)] = -1
    return places
