"""Tables of labelled texts: which columns hold texts and labels, and one pair of text and label for each row.

Several columns of text become one string with a mark between them, so that everything that reads pairs (the store on
disk, the split by hash, batches) reads labelled texts too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from onehop.data.arrow import arrow_columns
from onehop.data.columns import distinct
from onehop.data.csv_tables import csv_rows
from onehop.data.json_lines import parse_json
from onehop.data.label_sets import label_set, written
from onehop.data.pair import Pair
from onehop.errors import DataError, nearest
from onehop.files import read_lines

LABELS = re.compile(r"(.*[_ ])?(label|labels|class|category|target|sentiment|intent|gold|y)", re.IGNORECASE)
TEXTS = re.compile(r"(.*[_ ])?(text|sentence|review|title|body|document|premise|hypothesis|question)\d?", re.IGNORECASE)
NUMBERS = re.compile(r"(.*[_ ])?(score|similarity|rating|stars|value|number|target|label|y)", re.IGNORECASE)
SEPARATOR = "\x1e"  # between the texts of several columns
FEW = 4  # rows, fewer than which tell nothing of the first
SEEN = 1_000  # rows that tell which of two columns without names holds the labels
NAMED = "Name them: --text-column and --label-column (in a recipe: data.text_columns and data.label_column)."
Fields = Sequence[str]


def joined(texts: Sequence[str]) -> str:
    """Return the texts of several columns as one string; the mark between them is taken out of the texts.

    Example:
        >>> joined(["It rains.", "It is wet."]).split(SEPARATOR)
        ['It rains.', 'It is wet.']
    """
    return SEPARATOR.join(text.replace(SEPARATOR, " ") for text in texts)


@dataclass(frozen=True)
class LabelColumns:
    """How the columns of texts and labels are to be found.

    Args:
        texts: Names of the texts' columns, in the order in which they are read, or where a table names none their
            numbers, from 1; empty: found by their names.
        label: Name of the labels' column; empty: found.
        labelled: Whether there must be labels; without, only texts are looked for.
        numbers: Whether the labels are numbers, such as scores.
        many: Whether a text has any number of labels; a row's label is then what `onehop.data.label_sets.written` says.
        separator: What stands between several labels of a cell, if they are no JSON list.

    Example:
        >>> LabelColumns().find(["id", "sentiment", "review"])
        (('review',), 'sentiment')
    """

    texts: tuple[str, ...] = ()
    label: str = ""
    labelled: bool = True
    numbers: bool = False
    many: bool = False
    separator: str = ""

    @property
    def given(self) -> tuple[str, ...]:
        """The columns that were asked for."""
        return (*self.texts, *filter(None, [self.label]))

    @property
    def _targets(self) -> str:
        return "numbers" if self.numbers else "labels"

    def _of_targets(self, names: Sequence[str]) -> list[str]:
        """Return the columns that may hold the labels."""
        known = NUMBERS if self.numbers else LABELS
        return [self.label] if self.label else [n for n in names if known.fullmatch(n) and n not in self.texts]

    @property
    def numbered(self) -> bool:
        """Whether those are numbers of columns, from 1, as of a table without names."""
        return bool(self.given) and all(name.isdecimal() for name in self.given)

    def find(self, names: Sequence[str], where: str = "") -> tuple[tuple[str, ...], str] | None:
        """Return the names of the texts' columns and of the labels', or None where no names tell.

        Raises:
            DataError: A column that was asked for does not exist, several may hold the labels, or two have one name.
        """
        distinct(names, where)
        for name in self.given:
            if name not in names:
                hint = nearest(name, names) or f"there are: {', '.join(names)}"
                raise DataError(f"no column {name!r}; {hint}", NAMED, where)
        labels = self._of_targets(names)
        if len(labels) > 1 and self.labelled:
            raise DataError(f"several columns may hold the {self._targets}: {', '.join(labels)}", NAMED, where)
        others = [name for name in names if name not in labels]
        texts = list(self.texts) or [name for name in others if TEXTS.fullmatch(name)]
        if not texts and labels and len(others) == 1:
            texts = others
        if not texts or not (labels or not self.labelled):
            return None
        return tuple(texts), labels[0] if labels else ""

    def choose(self, names: Sequence[str], where: str) -> tuple[tuple[str, ...], str]:
        """Return `find`.

        Raises:
            DataError: No names tell.
        """
        found = self.find(names, where)
        if found is None:
            wanted = f"texts and {self._targets}" if self.labelled and not self._of_targets(names) else "texts"
            remedy = NAMED if self.labelled else "Name them: --text-column"
            if len(names) == 1 and (marks := [mark for mark in (";", "|", "\t") if mark in names[0]]):
                remedy = (
                    f"{marks[0]!r} stands between the columns of this file: save it with commas, or as .tsv with tabs."
                )
            raise DataError(f"no columns of {wanted} among: {', '.join(names)}", remedy, where)
        return found


FOUND = LabelColumns()


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        texts: Of its columns; all empty where the row is blank.
        label: As the table has it.
        number: The line of the file on which it begins, from 1; of a columnar table its own number.
    """

    texts: Fields
    label: str
    number: int


@dataclass(frozen=True)
class Labelled:
    """A table of labelled texts, opened.

    Args:
        path: The file, or the folder of a saved data set.
        texts: Names of the texts' columns; empty where the table names none.
        label: Name of the labels' column.
        place: What stands before the number of a row in messages: nothing before that of a line, else `row `.
        rows: The rows, blank ones too.
    """

    path: str
    texts: tuple[str, ...]
    label: str
    place: str
    rows: Iterable[Row]

    def pairs(self) -> Iterator[Pair]:
        """Yield the joined texts and the label of each row, once."""
        return (pair for _, pair in self.numbered())

    def numbered(self) -> Iterator[tuple[int, Pair]]:
        """Yield the number of each row, and its pair, once."""
        return ((row.number, Pair(joined(row.texts), row.label.strip())) for row in self.rows)

    def where(self, row: Row) -> str:
        """Return the place of a row for messages: file and line, as an editor counts lines."""
        return f"{self.path}:{self.place}{row.number}"


def open_labelled(path: str | Path, columns: LabelColumns = FOUND) -> Labelled:
    r"""Open a table of labelled texts, whose ending tells its form; its rows are read as they are asked for.

    `.csv` and `.tsv`, with a row of names, or without one and with two columns, of which that with fewer values holds
    the labels (names that tell nothing are known by a label that no other row has); `.jsonl`, an object for each line;
    `.parquet`, and a folder that `datasets.save_to_disk` wrote. Text files may end in `.gz` or `.zst`.

    Args:
        path: The file, or the folder of a saved data set.
        columns: How the columns are found.

    Raises:
        FileError: The file cannot be read.
        DataError: Its ending is unknown, it is damaged, or its columns cannot be told.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "rooms.csv"
        >>> _ = path.write_text('id,review,sentiment\n1,"Quiet, bright.",good\n')
        >>> list(open_labelled(path).pairs())
        [Pair(source='Quiet, bright.', target='good')]
    """
    table = _opened(path, columns)
    if not (columns.many and columns.labelled):
        return table
    sets = (row._replace(label=written(label_set(row.label, columns.separator))) for row in table.rows)
    return replace(table, rows=sets)


def label_cells(path: str | Path, columns: LabelColumns) -> Iterator[str]:
    """Yield the labels of each row of a table of sets as its cell has them; of an object's list, as JSON.

    Raises:
        FileError: The file cannot be read.
        DataError: As `open_labelled`, where a row is damaged once it is reached.
    """
    return (row.label.strip() for row in _opened(path, columns).rows)


def _opened(path: str | Path, columns: LabelColumns) -> Labelled:
    """Open a table whose labels are as they stand in it."""
    name = str(path)
    ending = "folder" if Path(path).is_dir() else Path(name.removesuffix(".gz").removesuffix(".zst")).suffix
    if ending in (".csv", ".tsv"):
        return _open_rows(name, _csv(name) if ending == ".csv" else _tsv(name), columns)
    if ending == ".jsonl":
        return _open_objects(name, columns)
    if ending == "folder" or name.endswith(".parquet"):
        (texts, label), rows = arrow_columns(path, lambda names: columns.choose(names, name), fractions=columns.numbers)
        return Labelled(name, texts, label, "row ", _split(rows, len(texts)))
    raise DataError(
        f"the ending {Path(name).suffix!r} tells no table", "Use .csv, .tsv, .jsonl or .parquet.", name
    )  # fmt: skip


def _split(rows: Iterable[Fields], width: int) -> Iterator[Row]:
    numbered = enumerate(rows, 1)
    return (Row(fields[:width], fields[width] if len(fields) > width else "", number) for number, fields in numbered)


def _csv(path: str) -> Iterator[tuple[int, Fields]]:
    return csv_rows(path)


def _tsv(path: str) -> Iterator[tuple[int, Fields]]:
    return ((number, line.split("\t") if line else []) for number, line in enumerate(read_lines(path), 1))


def _open_rows(path: str, rows: Iterator[tuple[int, Fields]], columns: LabelColumns) -> Labelled:
    """Open a table of rows with or without names."""
    first = next(rows, None)
    if first is None:
        raise DataError("a table without rows", "Write the names of the columns, then the rows.", path)
    names = list(first[1])
    if columns.numbered and not set(columns.given) <= set(names):
        names, rows = [str(number) for number in range(1, len(names) + 1)], chain([first], rows)
    found = columns.find(names, f"{path}:1") if len(set(names)) == len(names) else None
    if found is None and len(names) == 2 and not columns.texts and not columns.label:
        some = list(islice(rows, SEEN))
        whole, rows = [fields for _, fields in some if len(fields) == 2], chain(some, rows)
        side = _label_side(names, whole)
        if _names_columns(names, whole, side, columns.numbers):
            texts, label = (names[1 - side],), names[side] if columns.labelled else ""
        else:
            texts, label, rows = (), "", chain([first], rows)
        places = [1 - side, side] if columns.labelled else [1 - side]
        return Labelled(path, texts, label, "", _chosen(path, rows, places, 2, columns.labelled))
    if found is None and len(names) == 1 and not columns.labelled:
        return Labelled(path, (), "", "", _chosen(path, chain([first], rows), [0], 1))
    texts, label = found or columns.choose(names, f"{path}:1")
    places = [names.index(name) for name in (*texts, *filter(None, [label]))]
    return Labelled(path, texts, label, "", _chosen(path, rows, places, len(names), bool(label)))


def _label_side(names: Sequence[str], rows: Sequence[Fields]) -> int:
    """Return which of two columns has fewer values: the second, where they have as many."""
    sizes = [len({fields[side] for fields in (names, *rows)}) for side in (0, 1)]
    return 1 if sizes[1] <= sizes[0] else 0


def _names_columns(first: Sequence[str], rows: Sequence[Fields], side: int, numbers: bool) -> bool:
    """Whether the first row of two columns names them, though the names tell nothing.

    Args:
        first: The row.
        rows: Those behind it, as many as were looked at.
        side: The column of labels.
        numbers: Whether they are numbers: then a name is what is none.
    """
    labels, own = [fields[side].strip() for fields in rows], first[side].strip()
    if numbers:
        return bool(labels) and not _is_number(own) and all(map(_is_number, filter(None, labels)))
    return own not in labels and len(labels) >= FEW and 2 * len(set(labels)) <= len(labels)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _chosen(
    path: str, rows: Iterable[tuple[int, Fields]], places: list[int], width: int, labelled: bool = True
) -> Iterator[Row]:
    """Yield the chosen fields of each row; a label stands at the last of the places, if there is one."""
    texts = places[:-1] if labelled and len(places) > 1 else places
    for line, fields in rows:
        if not fields:
            yield Row([""] * len(texts), "", line)
        elif len(fields) != width:
            raise DataError(f"{len(fields)} fields where the first row has {width}", "Mend the row.", f"{path}:{line}")
        else:
            label = fields[places[-1]] if len(texts) < len(places) else ""
            yield Row([fields[place] for place in texts], label, line)


def _open_objects(path: str, columns: LabelColumns) -> Labelled:
    rows = objects(path)
    before: list[tuple[int, dict[str, Any]]] = []
    for number, value in rows:
        before.append((number, value))
        if value:
            break
    if not before or not before[-1][1]:
        raise DataError("a table without rows", "Write an object for each line.", path)
    texts, label = columns.choose(list(before[-1][1]), f"{path}:{before[-1][0]}")
    return Labelled(path, texts, label, "", _of_objects(path, chain(before, rows), texts, label, columns))


def _of_objects(
    path: str, objects: Iterable[tuple[int, dict[str, Any]]], texts: Sequence[str], label: str, columns: LabelColumns
) -> Iterator[Row]:
    for number, value in objects:
        if not value:
            yield Row([""] * len(texts), "", number)
            continue
        row: list[str] = []
        for name in (*texts, *filter(None, [label])):
            if name not in value:
                raise DataError(f"no key {name!r}", "Write every key in every object.", f"{path}:{number}")
            item = value[name]
            if columns.many and name == label and isinstance(item, list):
                item = _listed(item, f"{path}:{number}")
            fits = columns.numbers and name == label and isinstance(item, float)
            wrong = isinstance(item, (dict, list, float)) or (name != label and not isinstance(item, str | None))
            if wrong and not fits:
                kind = type(item).__name__
                remedy = "Write it in quotes."
                if name == label and isinstance(item, list):
                    remedy = "Where a text may have several labels, the task is multilabel: --task multilabel"
                raise DataError(f"{name!r} is a {kind}, not a string", remedy, f"{path}:{number}")
            row.append("" if item is None else str(item))
        yield Row(row[: len(texts)], row[-1] if label else "", number)


def _listed(items: list[Any], where: str) -> str:
    """Return a list of labels as a cell holds it."""
    wrong = [item for item in items if not isinstance(item, str | int) or isinstance(item, bool)]
    if wrong:
        problem = f"a list of labels that holds a {type(wrong[0]).__name__}"
        raise DataError(problem, "Write labels in quotes.", where)
    return written([str(item).strip() for item in items])


def objects(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the object of each line, an empty one of a blank line.

    Raises:
        DataError: A line is no JSON object, or has a key twice.
    """
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            yield number, {}
            continue
        value = parse_json(line, "Write an object for each line.", f"{path}:{number}")
        if not isinstance(value, dict):
            raise DataError("not an object", "Write an object for each line.", f"{path}:{number}")
        yield number, value
