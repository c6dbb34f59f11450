"""Comma-separated tables (RFC 4180): text with commas, quotes or line ends stands in double quotes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from onehop.data.columns import Columns
from onehop.data.pair import Pair
from onehop.errors import DataError
from onehop.files import read_lines

Row = tuple[int, list[str]]  # the line it begins on, and its fields
LONGEST = 1 << 30  # characters of a field; Python's own limit is 131,072
QUOTES = 'Put text with commas or quotes in double quotes, and double those inside: "Yes, ""sir""."'


def read_csv(path: str | Path, columns: Columns) -> Iterator[Pair]:
    """Yield the pairs of a CSV file; see `onehop.data.read_table`.

    The first row is a header if its fields are names that tell which column is which, or if `columns` names some. An
    unquoted blank line gives an empty pair.
    """
    rows = csv_rows(path)
    first = next(rows, None)
    if first is None:
        return
    header = columns.find(first[1], f"{path}:1")
    if header is None and len(first[1]) == 2:
        places = 0, 1
    else:
        names = header or columns.choose(first[1], f"{path}:1")
        places = first[1].index(names[0]), first[1].index(names[1])
    size = len(first[1])
    for line, fields in rows if header else chain([first], rows):
        if not fields:
            yield Pair("", "")
        elif len(fields) != size:
            raise DataError(f"{len(fields)} fields where the first row has {size}", QUOTES, f"{path}:{line}")
        else:
            yield Pair(fields[places[0]], fields[places[1]])


def csv_header(path: str | Path, columns: Columns) -> tuple[str, str] | None:
    """Return the names of the two columns, or None where there is no header."""
    first = next(csv_rows(path), None)
    return columns.find(first[1], f"{path}:1") if first else None


def csv_rows(path: str | Path) -> Iterator[Row]:
    """Yield the rows of a CSV file, each with the line that it begins on.

    Raises:
        DataError: It is not CSV.
    """
    csv.field_size_limit(LONGEST)
    reader = csv.reader((line + "\n" for line in read_lines(path)), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"not CSV: {error}", QUOTES, f"{path}:{line}") from error
        yield line, fields
