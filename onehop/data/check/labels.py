"""Labelled text: labels that are missing, constant or rare, told by another column or the text, or that contradict."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onehop.data.check.encoding import faults
from onehop.data.check.finding import SHOWN, Finding, Report, judge, ordered
from onehop.data.check.inputs import Chunk, Tally
from onehop.data.check.mojibake import Mojibake
from onehop.data.check.text import plain
from onehop.data.csv_tables import csv_rows
from onehop.data.labelled import LABELS, TEXTS
from onehop.errors import DataError, nearest
from onehop.files import read_lines

Table = dict[str, list[str]]
RARE = 5  # rows of a label
NOTHING = {"nan", "none", "null", "n/a", "na", "?", "-"}
SURER, STRETCH = 0.8, 20  # share of the usual label's errors that a telling column mends; rows of a stretch of numbers
TOLD = 0.99  # share of the rows whose label a column tells
MOST_DIFFERENT = 0.5  # share of the rows with a label of their own from which these are no labels
MOST_LABELS = 0.2  # labels that are more of the rows than this are values, not classes
CHECKED = ["encoding", "empty texts", "labels", "leaking columns", "duplicates"]


@dataclass(frozen=True)
class Split:
    """The labelled rows of a file: the text, label and place of each."""

    name: str
    bodies: list[str]
    values: list[str]
    places: list[str]

    def encoding(self) -> list[Finding]:
        """Return what is wrong with its characters."""
        tally = Tally()
        for kind, rows in faults(self.bodies, Mojibake(self.bodies)):
            tally.rows(kind, Chunk("", 0, self.bodies, self.bodies, lambda row, _: self.places[row]), rows)
        return tally.findings(self.name, len(self.values))


def check_labels(
    path: str | Path, *, label: str = "", texts: Sequence[str] = (), others: Mapping[str, str | Path] | None = None
) -> Report:
    r"""Look for what would ruin a training on labelled text.

    Args:
        path: A table, `.csv`, `.tsv` or `.jsonl`, plain or compressed; its first row names the columns.
        label: The label's column; empty: the one that has such a name.
        texts: The texts' columns; empty: those that have such names, or the one with the longest values.
        others: Tables with the same columns that are not trained on, by the name of their split, `valid` or `test`.

    Raises:
        FileError: A file cannot be read.
        DataError: It is no such table, or has no such column.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "rooms.csv"
        >>> _ = file.write_text("text,label\n" + "A quiet room.,good\n" * 10, "utf-8")
        >>> [finding.name for finding in check_labels(file).findings if finding.severity == "error"]
        ['label-constant']
        >>> check_labels(file, others={"test": file}).findings[0].name
        'overlap'
    """
    table, lines = _read(path)
    label, texts = _columns(table, str(path), label, texts)
    train = _split("data", table, lines, str(path), label, texts)
    findings = [*train.encoding(), *judge_labelled(train.values, train.bodies, train.places)]
    for name in table:
        if name != label and name not in texts and (share := _tells(table[name], train.values)) >= TOLD:
            size = len(train.values)
            findings.append(judge("label-leak", "data", round(share * size), size, [], f"column {name!r}"))
    sizes = {"data": len(train.values)}
    for name, other in (others or {}).items():
        table, lines = _read(other)
        _columns(table, str(other), label, texts)
        seen = _split(name, table, lines, str(other), label, texts)
        sizes[name] = len(seen.values)
        findings += [*seen.encoding(), *_beside(train, seen)]
    checked = [*CHECKED, *(["overlap"] if others else [])]
    return Report(sizes, checked, ordered(findings), columns={"label": [label], "text": [*texts]})


def _split(name: str, table: Table, lines: list[int], path: str, label: str, texts: Sequence[str]) -> Split:
    bodies = list(map("\t".join, zip(*(table[column] for column in texts), strict=True)))
    return Split(name, bodies, [value.strip() for value in table[label]], [f"{path}:{line}" for line in lines])


def _beside(train: Split, seen: Split) -> Iterator[Finding]:
    """Yield what a split shares with the training data, and its labels that those do not have."""
    known: defaultdict[str, set[str]] = defaultdict(set)
    for body, value in zip(train.bodies, train.values, strict=True):
        known[_key(body)].add(value)
    labels, found = set(train.values), dict[str, list[str]]()
    for body, value, place in zip(seen.bodies, seen.values, seen.places, strict=True):
        there = known.get(_key(body)) if _key(body) else None
        names = [
            "label-missing" if not value else "label-unknown" if value not in labels else "",
            "" if there is None else "overlap" if value in there else "source-overlap",
        ]
        for name in filter(None, names):
            found.setdefault(name, []).append(place)
    for name, rows in found.items():
        yield judge(name, seen.name, len(rows), len(seen.values), rows[:SHOWN])


def _key(body: str) -> str:
    return plain(body).lower()


def judge_labelled(values: list[str], bodies: list[str], places: list[str]) -> list[Finding]:
    """Return what is wrong with labels, and with texts beside them.

    Args:
        values: The label of each row.
        bodies: Its text.
        places: Where it stands, for messages.

    Example:
        >>> rows = ["1", "2"]
        >>> [finding.name for finding in judge_labelled(["good", "good"], ["Quiet.", "Bright."], rows)][0]
        'label-constant'
    """
    return [*_of_labels(values, places), *_of_texts(values, bodies, places)]


def _of_labels(values: list[str], places: list[str]) -> Iterator[Finding]:
    counts = Counter(value for value in values if value)
    missing = [place for place, value in zip(places, values, strict=True) if not value]
    if missing:
        yield judge("label-missing", "data", len(missing), len(values), missing[:SHOWN])
    if len(counts) == 1:
        yield judge("label-constant", "data", len(values), len(values), places[:1], f"always {next(iter(counts))!r}")
    folded: defaultdict[str, set[str]] = defaultdict(set)
    for value in counts:
        folded[" ".join(value.casefold().split())].add(value)
    for name, wrong in (
        ("label-variants", {value for same in folded.values() if len(same) > 1 for value in same}),
        ("label-nothing", {value for value in counts if value.lower() in NOTHING}),
    ):
        if wrong:
            rows = [place for place, value in zip(places, values, strict=True) if value in wrong]
            yield judge(name, "data", len(rows), len(values), rows[:SHOWN], ", ".join(map(repr, sorted(wrong)[:SHOWN])))
    if len(counts) > MOST_DIFFERENT * len(values):
        yield judge("label-values", "data", len(counts), len(values), [])
    rare = {value for value, count in counts.items() if count < RARE}
    if rare and len(counts) <= MOST_LABELS * len(values) + 2:
        rows = [place for place, value in zip(places, values, strict=True) if value in rare]
        names = ", ".join(sorted(rare)[:SHOWN])
        yield judge("label-rare", "data", len(rows), len(values), rows[:SHOWN], f"{len(rare)} labels: {names}")


def _of_texts(values: list[str], bodies: list[str], places: list[str]) -> Iterator[Finding]:
    keys = list(map(_key, bodies))
    known: defaultdict[str, set[str]] = defaultdict(set)
    twice: list[str] = []
    for key, value, place in zip(keys, values, places, strict=True):
        if value in known[key]:
            twice.append(place)
        known[key].add(value)
    against = [place for key, place in zip(keys, places, strict=True) if len(known[key]) > 1]
    empty = [place for key, place in zip(keys, places, strict=True) if not key]
    for name, rows in (("empty-sides", empty), ("duplicates", twice), ("label-conflict", against)):
        if rows:
            yield judge(name, "data", len(rows), len(values), rows[:SHOWN])
    named = [
        place
        for key, value, place in zip(keys, values, places, strict=True)
        if len(value) > 2 and not value.replace(".", "").isdigit() and value.lower() in key
    ]
    if named and len(named) >= 0.5 * len(values):
        yield judge("label-leak", "data", len(named), len(values), named[:SHOWN], "the label's name in the text")


def _tells(column: list[str], values: list[str]) -> float:
    """Return for what share of the rows the column tells the label; 0 where it adds little to the usual label.

    Values that repeat tell by themselves, numbers by the stretch that they lie in. A column of texts that are all
    different tells nothing that could be learnt.
    """
    size, usual = len(values), Counter(values).most_common(1)[0][1]
    groups = column if len(set(column)) <= 0.5 * size else _ranked(column)
    if not groups or usual == size:
        return 0.0
    by_value: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for value, label in zip(groups, values, strict=True):
        by_value[value][label] += 1
    right = sum(counts.most_common(1)[0][1] for counts in by_value.values())
    return right / size if size - right <= (1 - SURER) * (size - usual) else 0.0


def _ranked(column: list[str]) -> list[str]:
    """Return the stretch of `STRETCH` rows, by size, that each number lies in; nothing where these are no numbers."""
    try:
        numbers = np.array([float(value) for value in column])
    except ValueError:
        return []
    ranks = np.argsort(np.argsort(numbers, kind="stable"), kind="stable")
    return [str(rank // STRETCH) for rank in ranks.tolist()]


# ------------------------------------------------------------------------------------------------ reading


def _columns(table: Table, where: str, label: str, texts: Sequence[str]) -> tuple[str, list[str]]:
    """Return the columns of the label and of the texts."""
    for name in filter(None, (label, *texts)):
        if name not in table:
            hint = nearest(name, table) or f"there are: {', '.join(table)}"
            raise DataError(f"no column {name!r}; {hint}", "Name them with --label and --text.", where)
    found = [label] if label else [name for name in table if LABELS.fullmatch(name) and name not in texts]
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


def _read(path: str | Path) -> tuple[Table, list[int]]:
    """Return the columns of a table, and the line of each row."""
    ending = Path(str(path).removesuffix(".gz").removesuffix(".zst")).suffix
    if ending == ".jsonl":
        return _objects(path)
    if ending not in (".csv", ".tsv"):
        raise DataError(f"the ending {ending!r} tells no table", "Use .csv, .tsv or .jsonl.", str(path))
    rows, lines = _fields(path, ending)
    if len(rows) < 2:
        raise DataError("a table without rows", "Write the names of the columns, then the rows.", str(path))
    size = len(rows[0])
    for row, line in zip(rows, lines, strict=True):
        if len(row) != size:
            raise DataError(f"{len(row)} fields where the first row has {size}", "Mend the row.", f"{path}:{line}")
    if len(set(rows[0])) < size:
        raise DataError("two columns of one name", "Name each column once, in the first row.", f"{path}:1")
    return {name: [row[place] for row in rows[1:]] for place, name in enumerate(rows[0])}, lines[1:]


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


def _objects(path: str | Path) -> tuple[Table, list[int]]:
    rows: list[dict[str, str]] = []
    lines: list[int] = []
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"not JSON: {error}", "Write an object for each line.", f"{path}:{number}") from error
            if not isinstance(value, dict):
                raise DataError("not an object", "Write an object for each line.", f"{path}:{number}")
            rows.append({str(key): "" if item is None else str(item) for key, item in value.items()})
            lines.append(number)
    if not rows:
        raise DataError("a table without rows", "Write an object for each line.", str(path))
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, "") for row in rows] for name in names}, lines
