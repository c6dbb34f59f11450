"""Readers of parallel text: two files line by line, and tables of several forms.

Each reader streams one pair for each line (of CSV, Parquet and saved data sets: each row) of the file, so that the
n-th pair always stands on line n; lines that hold no text give empty pairs, and whoever collects the pairs decides
what to do with those. Text files that end in `.gz` or `.zst` are decompressed on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from onehop.data.arrow import arrow_header, read_arrow
from onehop.data.columns import Columns
from onehop.data.csv_tables import csv_header, read_csv
from onehop.data.json_lines import parse_json
from onehop.data.pair import Pair
from onehop.errors import DataError, nearest
from onehop.files import read_lines

EXAMPLE = '{"source": "A small dog.", "target": "Ein kleiner Hund."}'
FOUND = Columns()
ROWS = frozenset({".csv", ".parquet", "folder"})


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


def read_table(path: str | Path, columns: Columns = FOUND) -> Iterator[Pair]:
    r"""Yield the pairs of one file, whose ending tells its form.

    `.tsv` and `.txt`: source, tab, target; further columns are ignored. `.jsonl`: an object for each line
    with the strings `source` and `target`; line ends inside the strings are part of the text. `.csv`: comma-separated
    (RFC 4180), with a header or not. `.parquet`, and a folder that `datasets.save_to_disk` wrote: two columns of
    text. Blank lines give empty pairs.

    Args:
        path: The file, or the folder of a saved data set.
        columns: How the two columns of CSV, Parquet and saved data sets are found.

    Raises:
        FileError: The file cannot be read.
        DataError: The ending is unknown, the file is not UTF-8 or damaged, or a line has no pair; tells the
            line. Or pyarrow is needed and not installed.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "pairs.csv"
        >>> _ = path.write_text('id,de,en\n1,"Ja, gern.","Yes, please."\n')
        >>> list(read_table(path, Columns(source_language="en", target_language="de")))
        [Pair(source='Yes, please.', target='Ja, gern.')]
    """
    form = _form(path)
    if form == ".csv":
        yield from read_csv(path, columns)
    elif form in ROWS:
        yield from read_arrow(path, columns)
    else:
        yield from _read_lines(path, LINES[form])


def table_columns(path: str | Path, columns: Columns) -> tuple[str, str] | None:
    r"""Return the names of the columns that `read_table` takes source and target from; None where it goes by place.

    Raises:
        OnehopError: As `read_table`.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "pairs.csv"
        >>> _ = path.write_text("id,src,tgt\n1,Yes.,Ja.\n")
        >>> table_columns(path, Columns())
        ('src', 'tgt')
    """
    form = _form(path)
    if form == ".csv":
        return csv_header(path, columns)
    return arrow_header(path, columns) if form in ROWS else None


def numbering(path: str | Path) -> str:
    """Return what the pairs of a table are numbered by in messages: lines, `""`, or rows, `"row "`."""
    return "row " if _form(path) in ROWS else ""


def _form(path: str | Path) -> str:
    """Return the ending that tells the form, or `folder`."""
    if Path(path).is_dir():
        return "folder"
    name = str(path)
    ending = Path(name.removesuffix(".gz").removesuffix(".zst")).suffix
    if ending not in LINES.keys() | ROWS or (ending == ".parquet" and not name.endswith(ending)):
        raise DataError(
            f"the ending {Path(name).suffix!r} tells no form of pairs",
            "Use .tsv or .txt (source, tab, target), .csv, .jsonl or .parquet, or give two files of lines.",
            where=name,
        )
    return ending


def _read_lines(path: str | Path, parse: Callable[[str], Pair]) -> Iterator[Pair]:
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
    value = parse_json(line, f"Write an object for each line: {EXAMPLE}")
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


LINES = {".tsv": parse_columns, ".txt": parse_columns, ".jsonl": parse_object}
