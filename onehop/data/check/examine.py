"""One split, looked at from its first pair to its last: what can be told of pairs one by one, or of neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from onehop.data.check.alignment import Stretch, stretches
from onehop.data.check.association import REACH, Words, rarest
from onehop.data.check.beside import FEWEST, log_lengths, place_of
from onehop.data.check.encoding import faults
from onehop.data.check.finding import SHOWN, Finding, judge
from onehop.data.check.inputs import Chunk, Places, Tally
from onehop.data.check.learn import Lessons
from onehop.data.check.near import Signatures, signatures
from onehop.data.check.repeats import Hashed

DROP, SWAP = 1, 2  # what a cleaned copy does with a pair, bit by bit


class Examination:
    """Looks at the pairs of a split and remembers what is needed later: hashes, scores and verdicts.

    Args:
        split: Its name.
        lessons: What the training data taught.
        learnt: Whether the lessons are from this split.
        near: Whether signatures for near duplicates are kept, 48 bytes a pair.
        found: What reading the split counts faults in.
    """

    def __init__(self, split: str, lessons: Lessons, learnt: bool, near: bool, found: Tally) -> None:
        self.split, self.lessons, self.size = split, lessons, 0
        self.hashed, self.places, self.found = Hashed(), Places(), found
        self._learnt, self._near = learnt, near
        self._verdicts: list[npt.NDArray[np.uint8]] = []
        self._signatures: list[Signatures] = []
        self._scores: list[npt.NDArray[np.float16]] = []
        self._lengths: list[npt.NDArray[np.uint8]] = []
        self._files: list[int] = []  # the number of each file's first pair
        self._file = ""
        self._tail: tuple[Words, Words] | None = None

    def look(self, chunk: Chunk) -> None:
        """Look at the next pairs."""
        self.places.add(chunk)
        self.size = chunk.first + len(chunk)
        source, target = chunk.texts
        verdict = np.zeros(len(chunk), np.uint8)
        for name, rows, side, action in self._rows(chunk):
            self.found.rows(name, chunk, rows, side)
            verdict |= rows.astype(np.uint8) * np.uint8(action)
        self._verdicts.append(verdict)
        self.hashed.add(source.hashes, target.hashes)
        if self._near:
            self._signatures.append(signatures(source, target))
        self._align(chunk)

    def _rows(self, chunk: Chunk) -> Iterator[tuple[str, npt.NDArray[np.bool_], int, int]]:
        """Yield kinds of findings, the rows that have them, the side and the verdict."""
        source, target = chunk.texts
        lessons = self.lessons
        empty = (source.lengths == 0) | (target.lengths == 0)
        yield "empty-sides", empty, 0, DROP
        for side, lines in enumerate((chunk.sources, chunk.targets)):
            for name, rows in faults(lines, lessons.spoilt[side]):
                yield name, rows, side, DROP * (name in ("replacement-characters", "lone-surrogates"))
        same = (source.hashes == target.hashes) & (source.lengths > 0)
        letters = source.sums(source.scripts > 0, source.line_of) > 1
        yield "copied-sources", _copied(chunk, same & letters), 1, DROP
        yield "length-ratio", lessons.ratio.outliers(source.lengths, target.lengths), 0, 0
        swapped, *wrong = lessons.sides.exchanged(source, target)
        yield "swapped-sides", swapped & ~same, 0, SWAP
        odd = [lessons.sides.odd_script(text, side) & ~swapped & ~same for side, text in enumerate(chunk.texts)]
        for side in (0, 1):
            yield "wrong-script", odd[side], side, 0
            yield "wrong-language", wrong[side] & ~odd[side], side, 0

    # -------------------------------------------------------------------------------------------- neighbours

    def _align(self, chunk: Chunk) -> None:
        """Score the lines of which all neighbours are there."""
        self._lengths.append(np.stack([log_lengths(text.lengths) for text in chunk.texts], 1))
        if chunk.file != self._file:
            self._files.append(chunk.first)
            self._file, self._tail = chunk.file, None
        if not self.lessons.strong.enough:
            return
        counts = self.lessons.association.counts
        words = rarest(chunk.texts[0], counts[0]), rarest(chunk.texts[1], counts[1])
        context, both = 0, words
        if self._tail:
            context = len(self._tail[0])
            both = tuple(np.concatenate([old, new]) for old, new in zip(self._tail, words, strict=True))
        seen = self.lessons.seen(chunk.first - context, len(both[0])) & self._learnt
        found = self.lessons.association.scores(both[0], both[1], seen).astype(np.float16)
        # the last lines of the chunk before were scored without their neighbours in this one
        if context:
            self._scores[-1][-min(REACH, context) :] = found[max(0, context - REACH) : context]
        self._scores.append(found[context:])
        self._tail = both[0][-2 * REACH :], both[1][-2 * REACH :]

    def courses(self) -> list[tuple[int, list[Stretch]]]:
        """Return, for each file, the number of its first pair and its stretches, as the words tell them."""
        if not self._scores:
            return []
        self._scores = [np.concatenate(self._scores)]
        return [(first, stretches(self._scores[0][first:end], self.lessons.strong)) for first, end in self._spans()]

    def shifts(self) -> Iterator[Finding]:
        """Yield what is wrong with the alignment: by words, and where they tell nothing by lengths."""
        shifted, unrelated = [], []
        self._lengths = [np.concatenate(self._lengths)] if self._lengths else []
        for first, course in self.courses() or self._by_length():
            for part in course:
                moved = shifted if part.offset else unrelated
                if part.offset != 0:
                    moved.append((first + part.first, part))
        certain = self.lessons.strong.enough or self.lessons.sides.able  # what looks alike may be talk and reply
        for name, parts in (("shifted-lines", shifted), ("unrelated-lines", unrelated)):
            if parts:
                count = sum(part.last - part.first for _, part in parts)
                lines = [self.places.where(number, 1) for number, _ in parts[:SHOWN]]
                told = [
                    _told(where, part, self._hint(number, part))
                    for where, (number, part) in zip(lines, parts[:SHOWN], strict=True)
                ]
                yield judge(name, self.split, count, self.size, lines, "; ".join(told), certain)

    def _spans(self) -> Iterator[tuple[int, int]]:
        """Yield the numbers of each file's first pair and of the one behind its last."""
        yield from zip(self._files, [*self._files, self.size][1:], strict=True)

    def _by_length(self) -> Iterator[tuple[int, list[Stretch]]]:
        """Yield the stretch of each file of sentences that lengths show to be beside the wrong lines as a whole."""
        for first, end in self._spans():
            if self.lessons.sentences and end - first >= FEWEST:
                yield first, [Stretch(0, end - first, place_of(self._lengths[0][first:end]))]

    def _hint(self, number: int, part: Stretch) -> int | None:
        """Return where the lines of a stretch belong that the words found no place for."""
        size = part.last - part.first
        if part.offset is not None or size < FEWEST:
            return None
        return place_of(self._lengths[0][number : number + size])

    # -------------------------------------------------------------------------------------------- verdicts

    @property
    def verdicts(self) -> npt.NDArray[np.uint8]:
        """What a cleaned copy does with each pair; may be changed in place."""
        self._verdicts[:] = [np.concatenate(self._verdicts) if self._verdicts else np.zeros(0, np.uint8)]
        return self._verdicts[0]

    @property
    def signs(self) -> Signatures:
        """The signatures of all pairs."""
        self._signatures[:] = [np.concatenate(self._signatures)] if self._signatures else []
        return self._signatures[0] if self._signatures else np.zeros((0, 24), np.uint16)


def _copied(chunk: Chunk, same: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which of the rows that are the same once normalised are so as they stand.

    To restore case, accents or blanks is a task, in which target and source differ in nothing else.
    """
    copied = np.zeros_like(same)
    for row in np.flatnonzero(same):
        copied[row] = chunk.sources[row].strip() == chunk.targets[row].strip()
    return copied


def _told(where: str, part: Stretch, hint: int | None) -> str:
    lines = f"{part.last - part.first:,} lines from {where} on"
    if part.offset is None and not hint:
        return lines
    by = "" if part.offset else "by their lengths, "
    return f"{lines}: {by}source line n belongs to target line n{part.offset or hint:+d}"
