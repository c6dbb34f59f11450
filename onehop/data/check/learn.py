"""What a corpus teaches about itself before it is judged: words that go together, sides, lengths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onehop.data.check.alignment import FEWEST, Strength, strength
from onehop.data.check.association import Association, count_words, rarest
from onehop.data.check.beside import log_lengths
from onehop.data.check.inputs import Chunk
from onehop.data.check.language import Sides, learn_sides
from onehop.data.check.lengths import Ratio, learn_ratio
from onehop.data.check.mojibake import Mojibake
from onehop.data.check.text import Text

NONE = np.zeros(0, np.int32)
BLOCK = 128  # lines that follow each other
MOST = 100_000  # pairs of the sample
WORDS, DIFFERENT = 3, 0.5  # words of a line, and share of the lines that no other is equal to, of sentences
UNLIKE = 4.0  # standard deviation of their lengths, in sixteenths of an octave
LANGUAGE, JUDGED = 6, 12  # parts of it that teach what the sides look like, and how clear the alignment is


@dataclass(frozen=True)
class Lessons:
    """What was learnt.

    Args:
        association: Of the words of both sides.
        strong: How clearly aligned lines stand out.
        sides: What each side looks like.
        ratio: Of the sides' lengths.
        spoilt: What of each side was read as another encoding.
        sentences: Whether both sides are sentences: of several words, nearly each another one, of unlike lengths.
        stride: The sample has the blocks whose number it divides.
    """

    association: Association
    strong: Strength
    sides: Sides
    ratio: Ratio
    spoilt: tuple[Mojibake, Mojibake]
    sentences: bool
    stride: int

    def seen(self, first: int, count: int) -> npt.NDArray[np.bool_]:
        """Return which of the pairs from a number on the sample has."""
        return np.arange(first, first + count) // BLOCK % self.stride == 0


class Sample:
    """Blocks of pairs, evenly spread over a corpus of unknown size: whenever there are too many, every second goes.

    Args:
        most: Pairs that are kept.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most, self.stride, self.size = most, 1, 0
        self._blocks: dict[int, tuple[list[str], list[str]]] = {}

    def add(self, chunk: Chunk) -> None:
        """Take what is wanted of a chunk."""
        first, end = chunk.first, chunk.first + len(chunk)
        self.size = end
        for block in range(first // BLOCK, (end - 1) // BLOCK + 1):
            if block % self.stride == 0:
                low, high = max(block * BLOCK, first) - first, min((block + 1) * BLOCK, end) - first
                kept = self._blocks.setdefault(block, ([], []))
                kept[0].extend(chunk.sources[low:high])
                kept[1].extend(chunk.targets[low:high])
        while len(self._blocks) * BLOCK > self.most:
            self.stride *= 2
            self._blocks = {block: rows for block, rows in self._blocks.items() if block % self.stride == 0}

    def pairs(self) -> Iterable[tuple[list[str], list[str]]]:
        """Yield the pairs, about 4,000 at a time."""
        blocks = list(self._blocks.values())
        for start in range(0, len(blocks), 32):
            part = blocks[start : start + 32]
            yield [line for block in part for line in block[0]], [line for block in part for line in block[1]]


def learn(sample: Sequence[tuple[list[str], list[str]]], stride: int = 1) -> Lessons:
    """Learn from a sample of pairs: sources and targets, some lines that follow each other at a time."""
    spread = sample[:: max(1, -(-len(sample) // LANGUAGE))]
    pairs = [(Text(sources), Text(targets)) for sources, targets in spread]
    sides, sentences = learn_sides(pairs), all(_sentences([pair[side] for pair in pairs]) for side in (0, 1))
    spoilt = (
        Mojibake(line for part in sample for line in part[0]),
        Mojibake(line for part in sample for line in part[1]),
    )
    lengths = [np.concatenate([pair[side].lengths for pair in pairs] or [np.zeros(0, np.int64)]) for side in (0, 1)]
    del pairs
    ratio = learn_ratio(*lengths)
    size = sum(len(sources) for sources, _ in sample)
    if size < FEWEST:
        nothing = Association((NONE, NONE), 0), Strength(0.0, 1.0)
        return Lessons(*nothing, sides, ratio, spoilt, sentences, stride)
    counts = tuple(count_words(Text(pair[side]) for pair in sample) for side in (0, 1))
    found = [tuple(rarest(Text(pair[side]), counts[side]) for side in (0, 1)) for pair in sample]
    association = Association((counts[0], counts[1]), size)
    for source, target in found:
        association.learn(source, target)
    judged = found[:: max(1, -(-len(found) // JUDGED))]
    scores = [association.scores(source, target, np.ones(len(source), bool)) for source, target in judged]
    strong = strength(np.concatenate(scores) if scores else np.zeros((0, 1), np.float32))
    return Lessons(association, strong, sides, ratio, spoilt, sentences, stride)


def _sentences(texts: Sequence[Text]) -> bool:
    """Whether these are sentences rather than labels, single words, or lines sorted by length."""
    size = sum(map(len, texts))
    words = sum(len(text.words[0]) for text in texts)
    different = len(np.unique(np.concatenate([text.hashes for text in texts]))) if texts else 0
    unlike = bool(texts) and float(np.std(log_lengths(np.concatenate([text.lengths for text in texts])))) >= UNLIKE
    return unlike and words >= WORDS * size and different >= DIFFERENT * size
