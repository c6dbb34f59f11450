"""Reading labelled text for the doctor: tables with all their columns, sentences of words, and questions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from onehop.data.arrow import arrow_columns
from onehop.data.columns import distinct
from onehop.data.csv_tables import csv_rows
from onehop.data.json_lines import parse_json
from onehop.data.label_sets import find_sets, label_set, written
from onehop.data.labelled import LABELS, NUMBERS, TEXTS, LabelColumns
from onehop.data.questions import read_questions
from onehop.data.tagged import open_tagged
from onehop.errors import DataError, nearest
from onehop.files import read_lines
from onehop.metrics.schemes import find_scheme, is_legal

Table = dict[str, list[str]]
SENTENCES = (".conll", ".conllu", ".bio", ".iob", ".iob2")
MOST_DIFFERENT = 0.5  # share of the rows with a label of their own from which these are no labels
UNNAMED = ["1", "2"]  # what a table of two columns without names gets


@dataclass(frozen=True)
class Split:
    """The labelled rows of a file.

    Args:
        name: Of the split.
        path: Of the file.
        bodies: The text of each row; of several columns, with tabs between.
        values: Its label; of a sentence, those of its words, with spaces between; of a question, its answer; of a set
            of labels what `onehop.data.label_sets.written` says.
        places: Where it stands.
        labels: What is judged as labels, each with its place: of a sentence, those of its words; of a set, each of it;
            of numbers and of answers, none.
        kind: `labels`, `sets` of them, `numbers`, `words` or `answers`.
        columns: What was taken for `label` and for `text`.
        table: All columns, where it is a table.
        separator: Between the labels of a cell that is a set of them; empty where those are JSON lists.
        headed: Whether the file names its columns; else they are numbered from 1.
    """

    name: str
    path: str
    bodies: list[str]
    values: list[str]
    places: list[str]
    labels: tuple[list[str], list[str]]
    kind: str
    columns: tuple[str, tuple[str, ...]]
    table: Table
    separator: str = ""
    headed: bool = True

    def __len__(self) -> int:
        return len(self.values)


def read_split(
    name: str, path: str | Path, label: str = "", texts: Sequence[str] = (), separator: str | None = None
) -> Split:
    """Read labelled text of any form that training reads.

    Args:
        name: Of the split.
        path: A table (`.csv`, `.tsv`, `.jsonl`, `.parquet`, a saved data set), sentences of words (`.conll` and others,
            `.jsonl` with lists of words) or questions (`.json`, `.jsonl` with contexts).
        label: The label's column, or where a table names none its number, from 1; empty: found by its name.
        texts: The texts' columns, likewise; empty: found.
        separator: Between the labels of a cell, "" for JSON lists; None: found, or each cell is one label.

    Raises:
        FileError: It cannot be read.
        DataError: It has another form, or no such column.
    """
    ending = "" if Path(path).is_dir() else Path(str(path).removesuffix(".gz").removesuffix(".zst")).suffix
    form = _form(path) if ending == ".jsonl" and not label and not texts else ending
    if form in (*SENTENCES, "words"):
        return _sentences(name, str(path))
    if form in (".json", "questions"):
        return _questions(name, str(path))
    table, lines, headed = _read(path, ending, LabelColumns(tuple(texts), label))
    if not (headed or label or texts):
        first, second = (len(set(table[column])) for column in UNNAMED)
        label = UNNAMED[second <= first]
    label, found = _columns(table, str(path), label, texts)
    bodies = list(map("\t".join, zip(*(table[column] for column in found), strict=True)))
    values = [value.strip() for value in table[label]]
    places = [f"{path}:{line}" for line in lines]
    columns = label, tuple(found)
    separator = find_sets(values) if separator is None else separator
    if separator is not None:
        sets = [label_set(value, separator) for value in values]
        flat = (
            [one for row in sets for one in row],
            [place for place, row in zip(places, sets, strict=True) for _ in row],
        )
        told = [*map(written, sets)]
        return Split(name, str(path), bodies, told, places, flat, "sets", columns, table, separator, headed)
    numbers = are_numbers(values)
    judged = ([], []) if numbers else (values, places)
    kind = "numbers" if numbers else "labels"
    return Split(name, str(path), bodies, values, places, judged, kind, columns, table, headed=headed)


def are_numbers(values: Sequence[str]) -> bool:
    """Whether targets are numbers to be learnt, and no labels: most are different, or some is not whole.

    Example:
        >>> are_numbers(["1", "2", "1", "2"]), are_numbers(["2.5", "4", "0.1"])
        (False, True)
    """
    given = [value for value in values if value]
    try:
        found = [float(value) for value in given]
    except ValueError:
        return False
    if not found or not all(map(isfinite, found)):
        return False
    return any(value != int(value) for value in found) or len(set(found)) > MOST_DIFFERENT * len(found)


def illegal(split: Split) -> list[str]:
    """Return the places of sentences whose labels do not fit the scheme that all labels together tell."""
    scheme = find_scheme(set(split.labels[0])) if split.kind == "words" else "none"
    rows = (row.split() for row in split.values)
    return [place for place, row in zip(split.places, rows, strict=True) if not is_legal(row, scheme)]


def _form(path: str | Path) -> str:
    """Return what the first object of JSON lines is: `words`, `questions`, or nothing for a row of a table."""
    for line in read_lines(path):
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                return ""
            if not isinstance(value, dict):
                return ""
            if {"question", "context", "answers"} <= value.keys():
                return "questions"
            lists = [row for row in value.values() if isinstance(row, list) and all(isinstance(w, str) for w in row)]
            return "words" if len(lists) > 1 else ""
    return ""


def _sentences(name: str, path: str) -> Split:
    opened = open_tagged(path)
    found = list(opened.sentences)
    if not found:
        raise DataError("no sentence", "Write a word and its label on each line.", path)
    labels = [label for one in found for label in one.labels], [one.where for one in found for _ in one.labels]
    bodies, values = [" ".join(one.words) for one in found], [" ".join(one.labels) for one in found]
    columns = opened.columns[1], (opened.columns[0],)
    return Split(name, path, bodies, values, [one.where for one in found], labels, "words", columns, {})


def _questions(name: str, path: str) -> Split:
    found = list(read_questions(path))
    if not found:
        raise DataError("no question", "Check that this is the file you meant.", path)
    bodies = [f"{one.question}\t{one.context}" for one in found]
    values = [one.answers[0].text if one.answers else "" for one in found]
    columns = "answers", ("question", "context")
    return Split(name, path, bodies, values, [one.where for one in found], ([], []), "answers", columns, {})


def _columns(table: Table, where: str, label: str, texts: Sequence[str]) -> tuple[str, list[str]]:
    """Return the columns of the label and of the texts."""
    for name in filter(None, (label, *texts)):
        if name not in table:
            hint = nearest(name, table) or f"there are: {', '.join(table)}"
            raise DataError(f"no column {name!r}; {hint}", "Name them with --label and --text.", where)
    found = [label] if label else [name for name in table if LABELS.fullmatch(name) and name not in texts]
    found = found or [name for name in table if NUMBERS.fullmatch(name) and name not in texts]
    if not found:
        raise DataError(f"no column of labels among: {', '.join(table)}", "Name it with --label.", where)
    if len(found) > 1:
        raise DataError(f"several columns may hold the labels: {', '.join(found)}", "Name one with --label.", where)
    others = [name for name in table if name != found[0]]
    if not others:
        raise DataError("one column where two are needed", "Give a text and a label for each row.", where)
    named = [name for name in others if TEXTS.fullmatch(name)]
    longest = max(others, key=lambda name: float(np.mean([len(value) for value in table[name]] or [0])))
    return found[0], list(texts) or named or [longest]


def _read(path: str | Path, ending: str, columns: LabelColumns) -> tuple[Table, list[str], bool]:
    """Return the columns of a table, the line of each row, or its number, and whether the file names the columns."""
    if ending in (".parquet", ""):
        return *_arrow(path), True
    if ending == ".jsonl":
        return *_objects(path), True
    if ending not in (".csv", ".tsv"):
        raise DataError(f"the ending {ending!r} tells no table", "Use .csv, .tsv, .jsonl or .parquet.", str(path))
    rows, lines = _fields(path, ending)
    names = rows[0] if rows else []
    headed = _are_names(names, columns)
    if headed:
        rows, lines = rows[1:], lines[1:]
    else:
        names = [str(number) for number in range(1, len(names) + 1)]
    if not rows:
        raise DataError("a table without rows", "Write the names of the columns, then the rows.", str(path))
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(names):
            problem = f"{len(row)} fields where the first row has {len(names)}"
            raise DataError(problem, "Mend the row.", f"{path}:{line}")
    distinct(names, f"{path}:1")
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}, list(map(str, lines)), headed


def _are_names(first: Sequence[str], columns: LabelColumns) -> bool:
    """Whether a table's first row names its columns, as training reads it."""
    if columns.numbered:
        return set(columns.given) <= set(first)
    if len(first) != len(UNNAMED) or columns.given or len(set(first)) != len(first):
        return True
    return any(replace(columns, numbers=numbers).find(first) for numbers in (False, True))


def _fields(path: str | Path, ending: str) -> tuple[list[list[str]], list[int]]:
    rows: list[list[str]] = []
    lines: list[int] = []
    if ending == ".tsv":
        for number, line in enumerate(read_lines(path), 1):
            if line:
                rows.append(line.split("\t"))
                lines.append(number)
        return rows, lines
    for line, fields in csv_rows(path):
        if fields:
            rows.append(fields)
            lines.append(line)
    return rows, lines


def _objects(path: str | Path) -> tuple[Table, list[str]]:
    rows: list[dict[str, str]] = []
    lines: list[str] = []
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            value = parse_json(line, "Write an object for each line.", f"{path}:{number}")
            if not isinstance(value, dict):
                raise DataError("not an object", "Write an object for each line.", f"{path}:{number}")
            rows.append({str(key): _cell(item) for key, item in value.items()})
            lines.append(str(number))
    if not rows:
        raise DataError("a table without rows", "Write an object for each line.", str(path))
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, "") for row in rows] for name in names}, lines


def _cell(item: Any) -> str:
    if isinstance(item, list | dict):
        return json.dumps(item, ensure_ascii=False)
    return "" if item is None else str(item)


def _arrow(path: str | Path) -> tuple[Table, list[str]]:
    names: list[str] = []

    def every(found: list[str]) -> tuple[tuple[str, ...], str]:
        distinct(found, str(path))
        names[:] = found
        return tuple(found), ""

    rows = list(arrow_columns(path, every, fractions=True)[1])
    if not rows:
        raise DataError("a table without rows", "Save it with rows.", str(path))
    columns = {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    return columns, [f"row {number}" for number in range(1, len(rows) + 1)]
