"""Files of sentences with a label for each word: CoNLL columns, CoNLL-U, and lists in JSON lines.

A file with the ending `.conllu` has the ten columns of Universal Dependencies; `.jsonl` an object with two lists for
each sentence; any other has a word and its columns on each line, and an empty line between sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from onehop.data.columns import distinct
from onehop.data.labelled import objects
from onehop.errors import DataError, nearest
from onehop.files import read_lines

CONLLU = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
WORDS = re.compile(r"(words?|tokens?|forms?)", re.IGNORECASE)
LABELS = re.compile(r"((ner|pos|upos|chunk|bio|iob)[_ ]?)?(tags?|labels?)|upos|ner", re.IGNORECASE)
COMMENT = re.compile(r"#\s*[\w.]+\s*=|#\s*newdoc|#\s*newpar")
COLUMNS = re.compile(r"#\s*global\.columns\s*=\s*(.*)")
DOCUMENT = "-DOCSTART-"
NAMED = "Name it: --text-column and --label-column (in a recipe: data.text_columns and data.label_column)."
RETURNS = "End lines with a line feed: tr '\\r' '\\n' < FILE > NEW"
EVEN = "Write as many columns on every line, and an empty line between sentences."


@dataclass(frozen=True)
class TagColumns:
    """Which columns hold words and labels.

    Args:
        words: Name of the words' column, or its number from 1; empty: found.
        labels: The same of the labels' column; empty: found.
        labelled: Whether there must be labels.
    """

    words: str = ""
    labels: str = ""
    labelled: bool = True


FOUND = TagColumns()


@dataclass(frozen=True)
class Sentence:
    """Words with a label each.

    Args:
        words: In their order.
        labels: Of each word; empty where labels were not asked for and there are none.
        where: File and line of the first word.
    """

    words: tuple[str, ...]
    labels: tuple[str, ...]
    where: str


@dataclass(frozen=True)
class Tagged:
    """A file of sentences, opened.

    Args:
        path: The file.
        columns: What words and labels were taken from, for people.
        sentences: Can be gone through once.
    """

    path: str
    columns: tuple[str, str]
    sentences: Iterator[Sentence]


def open_tagged(path: str | Path, columns: TagColumns = FOUND) -> Tagged:
    """Open a file of sentences, whose ending tells its form; they are read as they are asked for.

    Raises:
        FileError: The file cannot be read.
        DataError: It has not the columns that are asked for; of a line that does not fit, when that is read.
    """
    name = str(path)
    plain = name.removesuffix(".gz").removesuffix(".zst")
    if plain.endswith(".jsonl"):
        return _of_objects(name, columns)
    lines = _numbered(name, conllu=plain.endswith(".conllu"))
    head: list[tuple[int, list[str]]] = []
    for number, fields in lines:
        head.append((number, fields))
        if fields and fields[0] != COMMENTS:
            break
    else:
        raise DataError("no sentence", "Write a word and its label on each line.", name)
    number, first = head[-1]
    named = next((fields[1:] for _, fields in head if fields and fields[0] == COMMENTS), [])
    names = list(CONLLU) if plain.endswith(".conllu") else named or [str(n) for n in range(1, len(first) + 1)]
    if len(first) != len(names):
        problem = f"{len(first)} columns where the {'form' if not named else 'header'} has {len(names)}"
        raise DataError(problem, EVEN, f"{name}:{number}")
    words, labels = _places(names, columns, f"{name}:{number}")
    found = names[words], names[labels] if labels is not None else ""
    return Tagged(name, found, _sentences(name, chain(head, lines), len(names), words, labels))


# ------------------------------------------------------------------------------------------------ columns

COMMENTS = "\0"  # begins the fields of a header that names columns


def _numbered(path: str, *, conllu: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the fields of each line: none of a blank one; comments are left out."""
    tabs: bool | None = True if conllu else None
    for number, line in enumerate(read_lines(path), 1):
        line = line.rstrip("\r")
        if not line.strip():
            yield number, []
            continue
        if "\r" in line:
            raise DataError("a carriage return inside a line", RETURNS, f"{path}:{number}")
        if named := COLUMNS.match(line):
            yield number, [COMMENTS, *named[1].split()]
            continue
        if (conllu and line.startswith("#")) or (COMMENT.match(line) and not (tabs and "\t" in line)):
            continue
        tabs = "\t" in line if tabs is None else tabs
        yield number, line.split("\t") if tabs else line.split()


def _places(names: Sequence[str], columns: TagColumns, where: str) -> tuple[int, int | None]:
    """Return the places of the words' column and of the labels'."""
    distinct(names, where)
    words = _place(names, columns.words, where) if columns.words else None
    labels = _place(names, columns.labels, where) if columns.labels else None
    if words is None:
        words = names.index("FORM") if "FORM" in names else 0
    if labels is None and columns.labelled:
        labels = names.index("UPOS") if "UPOS" in names else len(names) - 1
    if words == labels:
        raise DataError("one column of words, and none of labels", NAMED, where)
    return words, labels


def _place(names: Sequence[str], name: str, where: str) -> int:
    by_name = {one.casefold(): place for place, one in enumerate(names)}
    if name.casefold() in by_name:
        return by_name[name.casefold()]
    if name.isdecimal() and 1 <= int(name) <= len(names):
        return int(name) - 1
    hint = nearest(name, names) or f"there are: {', '.join(names)}"
    raise DataError(f"no column {name!r}; {hint}", NAMED, where)


def _sentences(
    path: str, lines: Iterator[tuple[int, list[str]]], width: int, words: int, labels: int | None
) -> Iterator[Sentence]:
    rows: list[tuple[str, str]] = []
    begun = 0
    for number, fields in chain(lines, [(0, [])]):
        if fields and fields[0] == COMMENTS:
            continue
        if not fields:
            if rows and rows[0][0] != DOCUMENT:
                found = tuple(label for _, label in rows) if labels is not None else ()
                yield Sentence(tuple(word for word, _ in rows), found, f"{path}:{begun}")
            rows = []
            continue
        if len(fields) != width:
            problem = f"{len(fields)} columns where the first line has {width}"
            raise DataError(problem, EVEN, f"{path}:{number}")
        if width == len(CONLLU) and re.fullmatch(r"\d+[-.]\d+", fields[0]):
            continue  # words that are written as one, and words that are not written
        label = fields[labels].strip() if labels is not None else ""
        if labels is not None and not label:
            raise DataError(f"no label of the word {fields[words]!r}", EVEN, f"{path}:{number}")
        begun = begun if rows else number
        rows.append((fields[words], label))


# ------------------------------------------------------------------------------------------------ objects


def _of_objects(path: str, columns: TagColumns) -> Tagged:
    found = objects(path)
    first = next(((number, value) for number, value in found if value), None)
    if first is None:
        raise DataError("no sentence", 'Write an object for each: {"words": [...], "labels": [...]}.', path)
    number, value = first
    words = columns.words or _key(value, WORDS, "words", f"{path}:{number}")
    labels = columns.labels
    if not labels and columns.labelled:
        labels = _key(value, LABELS, "labels", f"{path}:{number}")
    return Tagged(path, (words, labels), _read_objects(path, chain([first], found), words, labels))


def _key(value: dict[str, Any], pattern: re.Pattern[str], what: str, where: str) -> str:
    names = [name for name, row in value.items() if isinstance(row, list)]
    some = [name for name in names if pattern.fullmatch(name)]
    if len(some) != 1:
        problem = f"{'several keys' if some else 'no key'} of {what} among: {', '.join(some or value)}"
        raise DataError(problem, NAMED, where)
    return some[0]


def _read_objects(path: str, rows: Iterator[tuple[int, dict[str, Any]]], words: str, labels: str) -> Iterator[Sentence]:
    for number, value in rows:
        if not value:
            continue
        sides: list[tuple[str, ...]] = []
        for name in (words, *filter(None, [labels])):
            row = value.get(name)
            if not isinstance(row, list) or not all(isinstance(one, str) for one in row):
                remedy = "Write names of labels, not their numbers." if name == labels else "Write strings."
                raise DataError(f"{name!r} is no list of strings", remedy, f"{path}:{number}")
            sides.append(tuple(row))
        if len({*map(len, sides)}) > 1:
            problem = f"{len(sides[0])} words and {len(sides[1])} labels"
            raise DataError(problem, "Write a label for each word.", f"{path}:{number}")
        if sides[0]:
            yield Sentence(sides[0], sides[1] if labels else (), f"{path}:{number}")
