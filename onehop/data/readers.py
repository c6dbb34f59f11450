"""Readers of parallel text: two files line by line, tab-separated tables, and JSON lines.

Each reader streams one pair for each line of the file, so that the n-th pair always stands on line n; lines
that hold no text give empty pairs, and whoever collects the pairs decides what to do with those. Files that
end in `.gz` or `.zst` are decompressed on the way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from onehop.errors import DataError, nearest
from onehop.files import read_lines

EXAMPLE = '{"source": "A small dog.", "target": "Ein kleiner Hund."}'


class Pair(NamedTuple):
    """A source sentence and its target.

    Example:
        >>> Pair("A small dog.", "Ein kleiner Hund.").target
        'Ein kleiner Hund.'
    """

    source: str
    target: str


def read_parallel(source: str | Path, target: str | Path) -> Iterator[Pair]:
    r"""Yield the pairs of two files, of which line n of one belongs to line n of the other.

    Raises:
        FileError: A file cannot be read.
        DataError: A file is not UTF-8 or damaged, or the files differ in their number of lines.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name, text in (("en", "Good day.\nYes.\n"), ("de", "Guten Tag.\nJa.\n")):
        ...     _ = (folder / name).write_text(text)
        >>> list(read_parallel(folder / "en", folder / "de"))[1]
        Pair(source='Yes.', target='Ja.')
    """
    sources, targets = read_lines(source), read_lines(target)
    number = 0
    for number, (left, right) in enumerate(zip_longest(sources, targets), 1):
        if left is None or right is None:
            rest = number + sum(1 for _ in (targets if left is None else sources))
            counts = (number - 1, rest) if left is None else (rest, number - 1)
            raise DataError(
                f"{source} has {counts[0]} lines and {target} has {counts[1]}",
                "Line n of one must belong to line n of the other; look for the place where they come apart.",
                where=f"{source if left is None else target}:{number - 1}",
            )
        yield Pair(left, right)


def read_table(path: str | Path) -> Iterator[Pair]:
    r"""Yield the pairs of one file, whose ending tells its form.

    `.tsv` and `.txt`: source, tab, target; further columns are ignored. `.jsonl`: an object for each line
    with the strings `source` and `target`; line ends inside the strings are part of the text. Blank lines
    give empty pairs.

    Raises:
        FileError: The file cannot be read.
        DataError: The ending is unknown, the file is not UTF-8 or damaged, or a line has no pair; tells the
            line.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "pairs.tsv"
        >>> _ = path.write_text("Yes.\tJa.\tfrom a phrase book\n")
        >>> list(read_table(path))
        [Pair(source='Yes.', target='Ja.')]
    """
    ending = Path(str(path).removesuffix(".gz").removesuffix(".zst")).suffix
    parse = {".tsv": parse_columns, ".txt": parse_columns, ".jsonl": parse_object}.get(ending)
    if parse is None:
        raise DataError(
            f"the ending {ending!r} tells no form of pairs",
            "Use .tsv or .txt (source, tab, target) or .jsonl, or give two files of lines.",
            where=str(path),
        )
    for number, line in enumerate(read_lines(path), 1):
        try:
            pair = parse(line)
        except DataError as error:
            raise DataError(error.problem, error.remedy, f"{path}:{number}") from error.__cause__
        yield pair


def parse_columns(line: str) -> Pair:
    """Return the pair in the first two of the tab-separated columns of a line."""
    columns = line.split("\t", 2)
    if len(columns) > 1:
        return Pair(columns[0], columns[1])
    if line.strip():
        raise DataError("one column where two are needed", "Write the source, a tab and the target.")
    return Pair("", "")


def parse_object(line: str) -> Pair:
    """Return the pair in a JSON object."""
    if not line.strip():
        return Pair("", "")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {error}", f"Write an object for each line: {EXAMPLE}") from error
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise DataError(f"a JSON {kind}, not an object", f"Write an object for each line: {EXAMPLE}")
    return Pair(_string(value, "source"), _string(value, "target"))


def _string(value: dict[str, Any], key: str) -> str:
    if key not in value:
        hint = nearest(key, value)
        raise DataError(f"no key {key!r}" + f"; {hint}" * bool(hint), f"Write {EXAMPLE}")
    if not isinstance(value[key], str):
        raise DataError(f"{key!r} is a {type(value[key]).__name__}, not a string", f"Write {EXAMPLE}")
    return value[key]
