"""Reading for the doctor: the forms that training reads, but a fault is counted where reading can go on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt

from onehop.data.check.finding import SHOWN, Finding, judge
from onehop.data.check.text import Text
from onehop.data.columns import Columns
from onehop.data.pair import Pair
from onehop.data.readers import LINES, numbering, read_table
from onehop.errors import DataError
from onehop.files import open_lines

CHUNK_PAIRS, CHUNK_CHARACTERS = 4_096, 250_000


class Tally:
    """Counts lines by the kind of finding, and remembers the first few of each."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._lines: dict[str, list[str]] = {}
        self._details: dict[str, str] = {}

    def add(self, name: str, lines: list[str], count: int | None = None, detail: str = "") -> None:
        """Count some lines; `lines` may be but the first of them."""
        self.counts[name] = self.counts.get(name, 0) + (len(lines) if count is None else count)
        known = self._lines.setdefault(name, [])
        known += lines[: SHOWN - len(known)]
        if detail:
            self._details.setdefault(name, detail)

    def rows(self, name: str, chunk: Chunk, found: npt.NDArray[np.bool_], side: int = 0) -> None:
        """Count the rows of a chunk for which `found` is true."""
        rows = np.flatnonzero(found)
        if len(rows):
            self.add(name, [chunk.locate(int(row), side) for row in rows[:SHOWN]], len(rows))

    def findings(self, split: str, total: int) -> list[Finding]:
        """Return what was counted."""
        return [
            judge(name, split, count, total, self._lines[name], self._details.get(name, ""))
            for name, count in self.counts.items()
            if count
        ]


@dataclass
class Chunk:
    """Pairs that follow each other in one file.

    Args:
        file: What tells the file from others of the split.
        first: Number of the first pair in its split, from 0.
        sources: Texts.
        targets: As many.
        locate: From a row and a side, 0 or 1, to `file:line`.
    """

    file: str
    first: int
    sources: list[str]
    targets: list[str]
    locate: Callable[[int, int], str]

    @cached_property
    def texts(self) -> tuple[Text, Text]:
        """Both sides as arrays."""
        return Text(self.sources), Text(self.targets)

    def __len__(self) -> int:
        return len(self.sources)


@dataclass
class Input:
    """A file of pairs, or two parallel files.

    Args:
        source: The file, or that of the sources.
        target: The targets' file; empty for a table.
        columns: How columns of tables are found.
    """

    source: str
    target: str = ""
    columns: Columns = field(default_factory=Columns)

    def pairs(self, faults: Tally) -> Iterator[Pair]:
        """Yield a pair for each line; what cannot be read is an empty pair, or the end, and noted in `faults`."""
        if self.target:
            yield from self._parallel(faults)
            return
        place = numbering(self.source)
        if place or (parse := LINES.get(self.ending)) is None:
            yield from self._strict(faults)
        else:
            yield from self._table(parse, faults)

    @property
    def ending(self) -> str:
        """The ending that tells the form."""
        return Path(self.source.removesuffix(".gz").removesuffix(".zst")).suffix

    def _parallel(self, faults: Tally) -> Iterator[Pair]:
        sides = lenient_lines(self.source, faults), lenient_lines(self.target, faults)
        sizes = [0, 0]
        for left, right in zip_longest(*sides):
            sizes[0] += left is not None
            sizes[1] += right is not None
            yield Pair(left or "", right or "")
        if sizes[0] != sizes[1]:
            shorter = int(sizes[1] < sizes[0])
            where = f"{(self.source, self.target)[shorter]}:{min(sizes)}"
            said = f"{self.source} has {sizes[0]:,} lines, {self.target} {sizes[1]:,}"
            faults.add("line-count", [where], abs(sizes[0] - sizes[1]), said)

    def _table(self, parse: Callable[[str], Pair], faults: Tally) -> Iterator[Pair]:
        for number, line in enumerate(lenient_lines(self.source, faults), 1):
            try:
                pair = parse(line)
            except DataError as error:
                faults.add("unreadable", [f"{self.source}:{number}"], detail=error.problem)
                pair = Pair("", "")
            yield pair

    def _strict(self, faults: Tally) -> Iterator[Pair]:
        try:
            yield from read_table(self.source, self.columns)
        except DataError as error:
            faults.add("unreadable", [error.where or self.source], detail=error.problem)


def lenient_lines(path: str, faults: Tally) -> Iterator[str]:
    """Yield the lines of a file; one that is not UTF-8 is read as Windows-1252, in which all bytes are text."""
    found = open_lines(path)
    try:
        for number, raw in enumerate(found, 1):
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError:
                faults.add("not-utf-8", [f"{path}:{number}"])
                line = raw.decode("cp1252", "replace").replace("\ufffd", "?")
            yield line
    except DataError as error:
        faults.add("unreadable", [error.where or path], detail=error.problem)


def chunks(inputs: Sequence[Input], faults: Tally) -> Iterator[Chunk]:
    """Yield the pairs of all files, some thousands at a time; a chunk ends where its file ends."""
    number = 0
    for entry in inputs:
        rows: list[Pair] = []
        line, size = 1, 0
        for pair in entry.pairs(faults):
            rows.append(pair)
            size += len(pair[0]) + len(pair[1])
            if len(rows) == CHUNK_PAIRS or size > CHUNK_CHARACTERS:
                yield _chunk(entry, number, line, rows)
                number, line, rows, size = number + len(rows), line + len(rows), [], 0
        if rows:
            yield _chunk(entry, number, line, rows)
            number += len(rows)


def _chunk(entry: Input, number: int, line: int, rows: list[Pair]) -> Chunk:
    names, place = (entry.source, entry.target or entry.source), "" if entry.target else numbering(entry.source)

    def locate(row: int, side: int) -> str:
        return f"{names[side]}:{place}{line + row}"

    return Chunk(f"{id(entry)}", number, [row[0] for row in rows], [row[1] for row in rows], locate)


class Places:
    """Finds file and line of a pair by its number, when its chunk is gone."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._locate: list[Callable[[int, int], str]] = []

    def add(self, chunk: Chunk) -> None:
        """Remember where a chunk lies."""
        self._firsts.append(chunk.first)
        self._locate.append(chunk.locate)

    def where(self, number: int, side: int = 0) -> str:
        """Return `file:line` of a pair."""
        place = bisect_right(self._firsts, number) - 1
        return self._locate[place](number - self._firsts[place], side)

    def first(self, numbers: npt.NDArray[np.int64], side: int = 0) -> list[str]:
        """Return the places of the first few of some pairs."""
        return [self.where(int(number), side) for number in numbers[:SHOWN]]
