"""Pairs on disk: a corpus is read once, in a stream, and after that block by block in any order.

The pairs are spooled to a file that has no name (nothing is left behind, however the process ends) and that
stays in memory as long as it is small. Ten million pairs need about as much disk as their text and next to no
memory.
"""

from __future__ import annotations

import marshal
import tempfile
import threading
import weakref
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from onehop.data.columns import Columns
from onehop.data.pair import Pair
from onehop.data.readers import FOUND, numbering, read_parallel, read_table
from onehop.errors import DataError
from onehop.files import os_errors

BLOCK_PAIRS = 16_384
BLOCK_CHARACTERS = 1 << 23  # keeps a block of documents, rather than sentences, small in memory
MEMORY_BYTES = 64 << 20


class PairStore:
    """The pairs of a corpus, numbered from 0 in the order of the files, in blocks of at most 16,384.

    Pairs of which a side is empty or white space are left out and counted in `num_skipped`. Text comes back
    as it was
    read: tabs, NUL, line ends inside of JSON strings and lone surrogates from JSON escapes included.

    Args:
        folder: Where the spool file goes once the corpus is larger than 64 MiB; the system's own if None.

    Example:
        >>> store = PairStore()
        >>> store.add([Pair("Yes.", "Ja."), Pair("  ", "Nein.")], "talk.tsv")
        >>> len(store), store.num_skipped, store.where(0).source, store.block(0)
        (1, 1, 'talk.tsv:1', [Pair(source='Yes.', target='Ja.')])
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = str(folder or tempfile.gettempdir())
        self.num_skipped = 0
        self._file = tempfile.SpooledTemporaryFile(MEMORY_BYTES, dir=self.folder)  # noqa: SIM115
        self._lock = threading.Lock()
        self._offsets = [0]
        self._starts = [0]
        self._names: list[Pair] = []
        self._places: list[str] = []
        self._lines: dict[int, array[int]] = {}  # by file: the line of each pair, where they are not one a line
        self._first_lines = array(
            "q"
        )  # by file: its first pair's number in the store, and how many were skipped before
        self._first_skips = array("q")
        self._skipped = array("q")  # for each skipped pair, the number that the next kept pair got
        self.close = weakref.finalize(self, self._file.close)

    @classmethod
    def from_parallel(
        cls, sources: Sequence[str | Path], targets: Sequence[str | Path], folder: str | Path | None = None
    ) -> PairStore:
        """Read pairs of parallel files, one pair of files after the other.

        Raises:
            FileError: A file cannot be read, or the spool file cannot be written.
            DataError: The files do not match, are damaged, or hold no pair with text on both sides.
        """
        if len(sources) != len(targets):
            raise DataError(
                f"{len(sources)} source files and {len(targets)} target files",
                "Give a target file for each source file, in the same order.",
            )
        store = cls(folder)
        for source, target in zip(sources, targets, strict=True):
            store.add(read_parallel(source, target), str(source), str(target))
        return store._checked()

    @classmethod
    def from_tables(
        cls, paths: Sequence[str | Path], folder: str | Path | None = None, columns: Columns = FOUND
    ) -> PairStore:
        """Read tables of the forms that `read_table` knows, one after the other.

        Raises:
            FileError: A file cannot be read, or the spool file cannot be written.
            DataError: A line has no pair, a file is damaged, or there is no pair with text on both sides.
        """
        store = cls(folder)
        for path in paths:
            store.add(read_table(path, columns), str(path), place=numbering(path))
        return store._checked()

    def _checked(self) -> PairStore:
        if not len(self):
            raise DataError(
                f"no pair with text on both sides ({self.num_skipped} with an empty side)",
                "Check that these are the files you meant.",
                where=", ".join(name.source for name in self._names),
            )
        return self

    def add(self, pairs: Iterable[Pair], name: str, target_name: str = "", place: str = "") -> None:
        """Append the pairs of one file, or of two parallel ones; pair n stands on line n.

        Args:
            pairs: In the order of the file.
            name: Of the file, for messages.
            target_name: Of the targets' file, where it is another.
            place: What stands before the number of a line in messages, such as `row `.

        Raises:
            FileError: The spool file cannot be written.
        """
        self._names.append(Pair(name, target_name or name))
        self._places.append(place)
        self._first_lines.append(len(self))
        self._first_skips.append(len(self._skipped))
        sources: list[str] = []
        targets: list[str] = []
        characters = 0
        for source, target in pairs:
            if not source.strip() or not target.strip():
                self._skipped.append(len(self) + len(sources))
                continue
            sources.append(source)
            targets.append(target)
            characters += len(source) + len(target)
            if len(sources) == BLOCK_PAIRS or characters > BLOCK_CHARACTERS:
                self._write(sources, targets)
                sources, targets, characters = [], [], 0
        if sources:
            self._write(sources, targets)
        self.num_skipped = len(self._skipped)

    def add_numbered(self, rows: Iterable[tuple[int, Pair]], name: str, place: str = "") -> None:
        """Append the pairs of one file that do not stand one on each line, each with the number of its line.

        Args:
            rows: In the order of the file.
            name: Of the file, for messages.
            place: What stands before the number of a line in messages, such as `row `.

        Raises:
            FileError: The spool file cannot be written.
        """
        lines = self._lines[len(self._names)] = array("q")

        def pairs() -> Iterator[Pair]:
            for line, pair in rows:
                if pair.source.strip() and pair.target.strip():
                    lines.append(line)
                yield pair

        self.add(pairs(), name, place=place)

    def _write(self, sources: list[str], targets: list[str]) -> None:
        # marshal, because it is the fastest exact form of lists of strings, lone surrogates included; version
        # 2 writes
        # no references, which cost time and would tie the bytes to the interpreter's sharing of equal
        # strings.
        data = marshal.dumps((sources, targets), 2)
        with self._lock, os_errors(self.folder, "spool the pairs"):
            self._file.seek(self._offsets[-1])
            self._file.write(data)
            self._file.flush()
        self._offsets.append(self._offsets[-1] + len(data))
        self._starts.append(self._starts[-1] + len(sources))

    def __len__(self) -> int:
        return self._starts[-1]

    def __iter__(self) -> Iterator[Pair]:
        for index in range(self.num_blocks):
            yield from self.block(index)

    @property
    def num_blocks(self) -> int:
        """How many blocks there are."""
        return len(self._starts) - 1

    def numbers(self, index: int) -> range:
        """Return the numbers of the pairs of a block."""
        return range(self._starts[index], self._starts[index + 1])

    @property
    def num_files(self) -> int:
        """How many files, or pairs of parallel files, were read."""
        return len(self._names)

    def file(self, index: int) -> int:
        """Return the number of the file, from 0, that all pairs of a block come from."""
        return bisect_right(self._first_lines, self._starts[index]) - 1

    def columns(self, index: int) -> tuple[list[str], list[str]]:
        """Return the sources and the targets of a block.

        Raises:
            FileError: The spool file cannot be read.
        """
        start, end = self._offsets[index : index + 2]
        with self._lock, os_errors(self.folder, "read the spooled pairs"):
            self._file.seek(start)
            data = self._file.read(end - start)
        return marshal.loads(data)

    def block(self, index: int) -> list[Pair]:
        """Return the pairs of a block."""
        return list(map(Pair, *self.columns(index)))

    def where(self, number: int) -> Pair:
        """Return the file and line of each side of a pair, such as `train.en:17` and `train.de:17`."""
        file = bisect_right(self._first_lines, number) - 1
        place = number - self._first_lines[file]
        skips = bisect_right(self._skipped, number) - self._first_skips[file]
        line = self._lines[file][place] if file in self._lines else place + skips + 1
        return Pair(*(f"{name}:{self._places[file]}{line}" for name in self._names[file]))


def sample(store: PairStore, num_lines: int) -> Iterator[Pair]:
    """Yield `num_lines` pairs, evenly spread over the store and in its order; all if it has no more.

    Example:
        >>> store = PairStore()
        >>> store.add((Pair(str(n), str(n)) for n in range(10)), "numbers")
        >>> [pair.source for pair in sample(store, 4)]
        ['0', '2', '5', '7']
    """
    count = min(num_lines, len(store))
    taken = 0
    for index in range(store.num_blocks):
        numbers = store.numbers(index)
        sources, targets = store.columns(index)
        while taken < count and (number := taken * len(store) // count) < numbers.stop:
            place = number - numbers.start
            yield Pair(sources[place], targets[place])
            taken += 1
