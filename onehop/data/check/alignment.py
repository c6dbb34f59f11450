"""Lines that stand beside the wrong neighbour: where a shift begins, and by how many lines.

For every line and offset the association says how well source n goes with target n + offset. The most probable course
of offsets through the file, in which every change costs, is found over short blocks (Viterbi 1967) and each change is
then put on the line at which the two offsets' sums part. A further state stands for lines that go with no neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onehop.data.check.association import OFFSETS, REACH, Scores

BLOCK = 16  # lines
STRIP = 1_024 * BLOCK  # lines at once
CHANGE = 60.0  # what a change of offset costs, in lines' worth of evidence
NEAR = 3  # blocks on either side in which the line of a change is looked for
FEWEST = 200  # lines that can be judged
WEAKEST = 0.25  # margin of the best offset, in standard deviations, below which nothing is told
NOWHERE = len(OFFSETS)


@dataclass(frozen=True)
class Stretch:
    """Lines of one file with the same offset.

    Args:
        first: Number of its first line, from 0.
        last: Of the line behind it.
        offset: Source n belongs to target n + offset; None: to none near it.
    """

    first: int
    last: int
    offset: int | None


@dataclass(frozen=True)
class Strength:
    """How clearly aligned lines stand out in a corpus.

    Args:
        margin: Mean lead of the aligned offset over the others.
        spread: Standard deviation of that lead.
    """

    margin: float
    spread: float

    @property
    def enough(self) -> bool:
        """Whether a shift could be told from chance."""
        return self.margin > 0 and self.margin >= WEAKEST * self.spread


def strength(scores: Scores) -> Strength:
    """Measure how clearly the best offset of each stretch of a thousand lines leads."""
    if len(scores) < FEWEST:
        return Strength(0.0, 1.0)
    leads: list[npt.NDArray[np.float32]] = []
    for start in range(0, len(scores), 1_000):
        part = scores[start : start + 1_000].astype(np.float32)
        best = int(part.mean(0).argmax())
        leads.append(part[:, best] - np.delete(part, best, 1).mean(1))
    lead = np.concatenate(leads)
    return Strength(float(lead.mean()), float(lead.std()))


def stretches(scores: npt.NDArray[np.generic], strong: Strength) -> list[Stretch]:
    """Return the stretches of equal offset of a file, in their order; one at offset 0 if it is sound.

    Args:
        scores: Of each line and offset.
        strong: How clearly aligned lines stand out.
    """
    count = len(scores)
    if not strong.enough or count < FEWEST:
        return [Stretch(0, count, 0)] if count else []
    course = _course(np.concatenate(list(_blocks(scores, strong.margin))))
    changes = np.flatnonzero(course[1:] != course[:-1]) + 1
    states = [int(course[0]), *(int(course[place]) for place in changes)]
    edges = [0]
    for place, before, after in zip(changes, states[:-1], states[1:], strict=True):
        near = NEAR * (8 if NOWHERE in (before, after) else 1)
        low, high = max(edges[-1], (int(place) - near) * BLOCK), min(count, (int(place) + near) * BLOCK)
        part = _evidence(scores[low:high], strong.margin)
        part[:, NOWHERE] += 0.25  # half way between lines that go together, 0.75, and those that do not, -0.25
        gain = np.concatenate([np.zeros(1), np.cumsum(part[:, before] - part[:, after])])
        edges.append(low + int(gain.argmax()))
    edges.append(count)
    offsets = [None if state == NOWHERE else OFFSETS[state] for state in states]
    return [Stretch(*part) for part in zip(edges[:-1], edges[1:], offsets, strict=True)]


def _blocks(scores: npt.NDArray[np.generic], margin: float) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the evidence of the blocks of lines, some thousands at a time: that of all lines would be large."""
    for start in range(0, len(scores), STRIP):
        part = _evidence(scores[start : start + STRIP], margin)
        yield np.add.reduceat(part, np.arange(0, len(part), BLOCK), 0)


def _evidence(scores: npt.NDArray[np.generic], margin: float) -> npt.NDArray[np.float32]:
    """Return the evidence for each state, in units of the mean lead; that of no neighbour is 0."""
    values = scores.astype(np.float32)
    values = (values - values.mean(1, keepdims=True)) / margin - 0.25
    return np.concatenate([values, np.zeros((len(values), 1), np.float32)], 1)


def _course(blocks: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """Return the best state of each block, where every change costs."""
    stayed = np.zeros(blocks.shape, bool)
    came = np.zeros(len(blocks), np.int8)
    total = blocks[0].astype(np.float64)
    total[np.arange(len(total)) != REACH] -= CHANGE / 2  # files begin aligned, as a rule
    for index in range(1, len(blocks)):
        best = total.argmax()
        changed = total[best] - CHANGE
        stayed[index] = total >= changed
        came[index] = best
        total = np.maximum(total, changed) + blocks[index]
    course = np.empty(len(blocks), np.int8)
    course[-1] = total.argmax()
    for index in range(len(blocks) - 1, 0, -1):
        course[index - 1] = course[index] if stayed[index, course[index]] else came[index]
    return course
