"""Texts that are to be near each other or not: pairs with a score, pairs of like meaning, and triplets.

A table has two columns of texts and one of scores (`sentence1`, `sentence2`, `score`); or columns of texts alone: one
that asks (`query`, `anchor` …), one that is to be found for it (`positive`, `answer` …), and any number that are not to
be found (`negative` …), in that order. `.csv` and `.tsv` need no names where their columns are in that order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from math import isfinite
from pathlib import Path

from onehop.data.arrow import arrow_columns
from onehop.data.columns import distinct
from onehop.data.csv_tables import csv_rows
from onehop.data.labelled import joined, objects
from onehop.errors import DataError, nearest
from onehop.files import read_lines

SCORES = re.compile(r"(.*[_ ])?(score|similarity|relatedness|rating|label|gold)", re.I)
TEXT = "(sentence|text|sent|question|s)"
FIRST = re.compile(rf"(.*[_ ])?(anchor|query|question|source|premise|{TEXT}_?[1a])|first[_ ]{TEXT}|{TEXT}_?0", re.I)
SECOND = re.compile(
    r"(.*[_ ])?(positive|pos|answer|passage|document|context|target|duplicate|entailment|hypothesis|"
    rf"{TEXT}_?[2b])|second[_ ]{TEXT}",
    re.I,
)
ONE = re.compile(rf"{TEXT}_?1", re.I)  # the second where another is 0
NAME = re.compile(r"[A-Za-z_][\w .-]{0,29}")
SEEN = 100  # rows that tell whether the first has names
OTHERS = re.compile(r"(.*[_ ])?(hard_)?(negative|neg|contradiction)s?_?\d*", re.I)
FORMS = (
    "Name the columns: data.text_columns (two or more, in order) and, where there are scores, data.label_column; or "
    "write a table of sentence1, sentence2 and score, or of query, positive and, if you have them, negative."
)


@dataclass(frozen=True)
class Alike:
    """A row of a table.

    Args:
        texts: Two with a score; else the one that asks, that which is to be found, and those that are not.
        score: How alike the two are; None where the table has no such column.
        where: File and place, for messages.
        whole: Whether no text is empty, nor the cell of the score.
    """

    texts: tuple[str, ...]
    score: float | None = None
    where: str = "input"
    whole: bool = True

    @property
    def text(self) -> str:
        """All texts as one string, with a mark between."""
        return joined(self.texts)


@dataclass(frozen=True)
class AlikeColumns:
    """How the columns of texts and scores are to be found.

    Args:
        texts: Names of the texts' columns in order, or their numbers from 1 in a table without names; empty: found.
        score: Name of the column of scores, or its number; empty: found.

    Example:
        >>> AlikeColumns().find(["id", "sentence1", "sentence2", "score"])
        (('sentence1', 'sentence2'), 'score')
        >>> AlikeColumns().find(["query", "positive", "negative_1", "negative_2"])
        (('query', 'positive', 'negative_1', 'negative_2'), '')
    """

    texts: tuple[str, ...] = ()
    score: str = ""

    @property
    def given(self) -> tuple[str, ...]:
        """The columns that were asked for."""
        return (*self.texts, *filter(None, [self.score]))

    def find(self, names: Sequence[str], where: str = "") -> tuple[tuple[str, ...], str] | None:
        """Return the names of the columns of texts, and of that of scores, empty for none; None where no names tell.

        Raises:
            DataError: A column that was asked for does not exist, several may hold the scores, or two have one name.
        """
        distinct(names, where)
        for name in self.given:
            if name not in names:
                raise DataError(
                    f"no column {name!r}; {nearest(name, names) or 'there are: ' + ', '.join(names)}", FORMS, where
                )
        others = [name for name in names if name not in self.given]
        texts = self.texts or self._texts(others)
        scores = [] if len(texts) > 2 else [name for name in others if name not in texts and SCORES.fullmatch(name)]
        if len(texts) < 2:
            return None
        if len(scores) > 1 and not self.score:
            raise DataError(f"several columns may hold the scores: {', '.join(scores)}", FORMS, where)
        if self.score and len(texts) > 2:
            raise DataError(f"{len(texts)} columns of texts and a score, which is of two", FORMS, where)
        return tuple(texts), self.score or (scores[0] if scores else "")

    def _texts(self, names: Sequence[str]) -> tuple[str, ...]:
        sides = [[name for name in names if known.fullmatch(name)] for known in (FIRST, SECOND, OTHERS)]
        if len(sides[0]) == 2 and not sides[1] and sides[0][0].endswith("0") and ONE.fullmatch(sides[0][1]):
            sides[1] = [sides[0].pop()]
        if len(sides[0]) != 1 or len(sides[1]) != 1:
            return ()
        return sides[0][0], sides[1][0], *sides[2]


@dataclass(frozen=True)
class AlikeTable:
    """A table, opened.

    Args:
        texts: Names of the columns of texts; their numbers where the table names none.
        score: Name of the column of scores; empty for none.
        unused: Names of other columns.
        rows: In their order, those with an empty cell too; blank lines are left out.
    """

    texts: tuple[str, ...]
    score: str
    unused: tuple[str, ...]
    rows: Iterable[Alike]

    @property
    def named(self) -> str:
        """What the columns are taken for, in words."""
        first, second, *others = map(repr, self.texts)
        told = f"for {first} is to be found {second}"
        if self.score:
            told = f"texts from {first} and {second}, scores from {self.score!r}"
        elif others:
            told += f", and not {', '.join(others)}"
        if all(name.isdecimal() for name in self.texts):
            told += "; the first row is no row of names"
        return told + (f"; not used: {', '.join(self.unused)}" if self.unused else "")


def open_alike(path: str | Path, columns: AlikeColumns | None = None) -> AlikeTable:
    r"""Open a table: `.csv`, `.tsv` or `.jsonl`, also `.gz` and `.zst`; `.parquet`, or a saved data set.

    Raises:
        FileError: The file cannot be read.
        DataError: It is no such table, its columns cannot be told, or a score is no finite number.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "pairs.tsv"
        >>> _ = path.write_text("It rains.\tIt pours.\t4\nIt rains.\tIt snows.\t2.5\n")
        >>> [(row.texts[1], row.score) for row in open_alike(path).rows]
        [('It pours.', 4.0), ('It snows.', 2.5)]
    """
    name, columns = str(path), columns or AlikeColumns()
    ending = "folder" if Path(path).is_dir() else Path(name.removesuffix(".gz").removesuffix(".zst")).suffix
    if ending == ".jsonl":
        return _of_objects(name, columns)
    if ending in (".csv", ".tsv"):
        return _of_rows(name, csv_rows(name) if ending == ".csv" else _tsv(name), columns)
    if ending == "folder" or name.endswith(".parquet"):
        (texts, score), rows = arrow_columns(path, lambda names: _known(columns, names, name), fractions=True)
        cells = ((f"{name}:row {number}", row) for number, row in enumerate(rows, 1))
        return AlikeTable(texts, score, (), _rows(cells, len(texts), bool(score)))
    raise DataError(f"the ending {ending!r} tells no table", "Use .csv, .tsv, .jsonl or .parquet.", name)


def _known(columns: AlikeColumns, names: Sequence[str], where: str) -> tuple[tuple[str, ...], str]:
    found = columns.find(names, where)
    if found is None:
        raise DataError(f"no two columns of texts among: {', '.join(names)}", FORMS, where)
    return found


def _tsv(path: str) -> Iterator[tuple[int, Sequence[str]]]:
    return ((number, line.split("\t") if line else []) for number, line in enumerate(read_lines(path), 1))


def _of_rows(path: str, lines: Iterator[tuple[int, Sequence[str]]], columns: AlikeColumns) -> AlikeTable:
    """Open a table of rows with or without names."""
    first = next(lines, None)
    if first is None:
        raise DataError("a table without rows", FORMS, path)
    names, some = list(first[1]), list(islice(lines, SEEN))
    lines = chain(some, lines)
    numbered = bool(columns.given) and all(name.isdecimal() for name in columns.given)
    found = None if numbered and not set(columns.given) <= set(names) else columns.find(names, f"{path}:1")
    if found is None:
        bare = [fields for _, fields in some if len(fields) == len(names)]
        if (len(names) not in (2, 3) and not numbered) or (not numbered and _names_columns(names, bare)):
            raise DataError(f"no two columns of texts among: {', '.join(names)}", FORMS, f"{path}:1")
        scored = len(names) == 3 and all(_is_number(row[2]) for row in (names, *bare) if row[2].strip())
        names, lines = [str(number) for number in range(1, len(names) + 1)], chain([first], lines)
        found = (tuple(names[:2]), "3") if scored else (tuple(names), "")
        if numbered and (known := columns.find(names, f"{path}:1")):
            found = known
    texts, score = found
    unused = tuple(name for name in names if name not in (*texts, score))
    places = [names.index(name) for name in (*texts, *filter(None, [score]))]

    def cells() -> Iterator[tuple[str, list[str]]]:
        for line, fields in lines:
            if fields and len(fields) != len(names):
                problem = f"{len(fields)} fields where the first row has {len(names)}"
                raise DataError(problem, "Mend the row.", f"{path}:{line}")
            if fields:
                yield f"{path}:{line}", [fields[place] for place in places]

    return AlikeTable(texts, score, unused, _rows(cells(), len(texts), bool(score)))


def _names_columns(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row holds names that tell nothing: words above numbers, or single words above texts.

    Example:
        >>> _names_columns(["a", "b", "sim"], [["It rains.", "It pours.", "0.5"]])
        True
        >>> _names_columns(["It rains.", "It pours.", "0.5"], [["It rains.", "It snows.", "0.2"]])
        False
    """
    for place, name in enumerate(first):
        cells = [row[place] for row in rows if row[place].strip()]
        if cells and not _is_number(name) and all(map(_is_number, cells)):
            return True
    texts = [cell for row in rows for cell in row[:2]]
    long = sum(" " in cell.strip() for cell in texts)
    return bool(texts) and 2 * long > len(texts) and all(NAME.fullmatch(name) and " " not in name for name in first)


def _of_objects(path: str, columns: AlikeColumns) -> AlikeTable:
    rows = ((number, value) for number, value in objects(path) if value)
    first = next(rows, None)
    if first is None:
        raise DataError("a table without rows", FORMS, path)
    some = [first, *islice(rows, SEEN)]
    names = list(dict.fromkeys(name for _, value in some for name in value))
    texts, score = _known(columns, names, f"{path}:{first[0]}")
    unused = tuple(name for name in names if name not in (*texts, score))

    def cells() -> Iterator[tuple[str, list[str]]]:
        for number, value in chain(some, rows):
            row: list[str] = []
            for name in (*texts, *filter(None, [score])):
                item = value.get(name, "")
                if name not in value:
                    raise DataError(f"no key {name!r}", "Write every key in every object.", f"{path}:{number}")
                item = "" if item is None else item  # an empty cell
                wrong = not isinstance(item, int | float | str) if name == score else not isinstance(item, str)
                if wrong or isinstance(item, bool):
                    kind = type(item).__name__
                    problem = f"{name!r} is a {kind}, not a {'number' if name == score else 'string'}"
                    raise DataError(problem, "Mend the object.", f"{path}:{number}")
                row.append(str(item))
            yield f"{path}:{number}", row

    return AlikeTable(texts, score, unused, _rows(cells(), len(texts), bool(score)))


def _rows(cells: Iterable[tuple[str, Sequence[str]]], texts: int, scored: bool) -> Iterator[Alike]:
    for where, row in cells:
        whole = all(text.strip() for text in row)
        yield Alike(tuple(row[:texts]), number(row[texts], where) if scored and whole else None, where, whole)


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False


def number(text: str, where: str) -> float:
    """Return the score that a cell holds.

    Raises:
        DataError: It holds no finite number.
    """
    if not _is_number(text):
        raise DataError(f"the score {text.strip()!r} is no finite number", "Mend or remove the row.", where)
    return float(text)
