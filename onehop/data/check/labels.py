"""Labelled text: labels that are missing, constant or rare, told by another column or the text, or that contradict."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onehop.data.check.coverage import Coverage
from onehop.data.check.encoding import faults
from onehop.data.check.finding import SHOWN, Finding, Report, judge, ordered
from onehop.data.check.inputs import CHUNK_PAIRS, Chunk, Tally
from onehop.data.check.mojibake import Mojibake
from onehop.data.check.near import BANDS, ROWS, Signatures, signatures
from onehop.data.check.near import near as nearly
from onehop.data.check.tables import MOST_DIFFERENT, Split, illegal, read_split
from onehop.data.check.text import plain
from onehop.data.label_sets import read
from onehop.errors import DataError

RARE = 5  # rows of a label
NOTHING = {"nan", "none", "null", "n/a", "na", "?", "-"}
SURER, STRETCH = 0.8, 20  # share of the usual label's errors that a telling column mends; rows of a stretch of numbers
TOLD = 0.99  # share of the rows whose label a column tells
MOST_TOLD = 100  # labels of sets, the commonest, that are compared with columns and texts
NEARLY = 0.95  # share of the rows from which a label of sets tells next to nothing
MOST_LABELS = 0.2  # labels that are more of the rows than this are values, not classes
CHECKED = ["encoding", "empty texts", "labels", "leaking columns", "duplicates"]


@dataclass(frozen=True)
class Labelling:
    """Labelled text that was looked at, with what a cleaned copy needs.

    Args:
        report: What was found.
        splits: The rows, `data` first.
    """

    report: Report
    splits: list[Split]


def check_labels(
    path: str | Path, *, label: str = "", texts: Sequence[str] = (), others: Mapping[str, str | Path] | None = None
) -> Report:
    r"""Look for what would ruin a training on labelled text; see `diagnose_labels`.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "rooms.csv"
        >>> _ = file.write_text("text,label\n" + "A quiet room.,good\n" * 10, "utf-8")
        >>> [finding.name for finding in check_labels(file).findings if finding.severity == "error"]
        ['label-constant']
        >>> check_labels(file, others={"test": file}).findings[0].name
        'overlap'
    """
    return diagnose_labels(path, label=label, texts=texts, others=others).report


def diagnose_labels(
    path: str | Path, *, label: str = "", texts: Sequence[str] = (), others: Mapping[str, str | Path] | None = None,
    separator: str | None = None, near: bool = False, coverage: Coverage | None = None,
) -> Labelling:  # fmt: skip
    """Look for what would ruin a training on labelled text.

    Args:
        path: A table, sentences with labels of words, or questions, in any form that training reads.
        label: The label's column; empty: the one that has such a name.
        texts: The texts' columns; empty: those that have such names, or the one with the longest values.
        others: Files of the same columns that are not trained on, by the name of their split, `valid` or `test`.
        separator: Between the labels of a cell that holds a set of them, "" for JSON lists; None: found, or each cell
            is one label.
        near: Look for near duplicates, too.
        coverage: Looks at the training texts with a model's tokenizer.

    Raises:
        FileError: A file cannot be read.
        DataError: It is no such file, or has no such column.
    """
    train = read_split("data", path, label, texts, separator)
    if train.kind == "sets":
        separator = train.separator
    splits = [train]
    findings = examine(train, unread=not texts)
    for name, other in (others or {}).items():
        seen = read_split(name, other, *train.columns, separator) if train.table else read_split(name, other)
        if seen.kind != train.kind and {seen.kind, train.kind} != {"labels", "numbers"}:
            raise DataError(f"{seen.kind} beside {train.kind}", "Give files of one form.", str(other))
        splits.append(seen)
        findings += [*_encoding(seen), *_beside(train, seen)]
    if near:
        findings += nearly_alike(splits)
    if coverage:
        for start in range(0, len(train), CHUNK_PAIRS):
            coverage.look(_chunk(train, start))
        findings += coverage.findings("data")
    more = {"overlap": bool(others), "near duplicates": near, "tokenizer": coverage is not None}
    checked = [*CHECKED, *(name for name, done in more.items() if done)]
    columns = {"label": [train.columns[0]], "text": [*train.columns[1]]}
    if train.kind == "sets":
        columns["label separator"] = [train.separator] if train.separator else []
    sizes = {split.name: len(split) for split in splits}
    report = Report(sizes, checked, ordered(findings), columns=columns, coverage=coverage.figures() if coverage else [])
    return Labelling(report, splits)


def examine(train: Split, *, unread: bool = True) -> list[Finding]:
    """Return what is wrong with the rows of training data by themselves.

    Args:
        train: The rows.
        unread: Whether columns that are taken for no text may yet become input, so that one may not tell the label.
    """
    return [*_encoding(train), *_of_split(train), *(_of_unread(train) if unread else ())]


def _of_split(split: Split) -> Iterator[Finding]:
    """Yield what is wrong with labels and with texts beside them."""
    if split.kind == "numbers":
        yield from _of_numbers(split)
    elif split.labels[0]:
        yield from _of_labels(*split.labels, sets=split.kind == "sets")
    if split.kind == "sets":
        yield from _of_sets(split)
    if rows := illegal(split):
        yield judge("label-scheme", "data", len(rows), len(split), rows[:SHOWN])
    yield from _of_texts(split.values, split.bodies, split.places, named=split.kind == "labels")


def _of_unread(split: Split) -> Iterator[Finding]:
    """Yield the other columns that tell labels."""
    for name, column in split.table.items():
        if name in (split.columns[0], *split.columns[1]):
            continue
        if split.kind == "labels" and (share := _tells(column, split.values)) >= TOLD:
            yield judge("label-leak", "data", round(share * len(split)), len(split), [], f"column {name!r}")
        for one, has in _each(split):
            if (share := _tells(column, has)) >= TOLD:
                told = f"column {name!r} tells {one!r}"
                yield judge("label-leak", "data", round(share * len(split)), len(split), [], told)


def _each(split: Split) -> Iterator[tuple[str, list[str]]]:
    """Yield each label that sets have but for rare ones, and whether each row has it."""
    sets = [set(read(value)) for value in split.values] if split.kind == "sets" else []
    for label, count in Counter(split.labels[0]).most_common(MOST_TOLD) if sets else ():
        if RARE <= count <= len(sets) - RARE:
            yield label, ["with" if label in row else "without" for row in sets]


def _of_sets(split: Split) -> Iterator[Finding]:
    """Yield what is wrong with sets of labels as a whole, and with each of their labels beside the texts."""
    size, counts = len(split), Counter(split.labels[0])
    if not counts:
        yield judge("label-missing", "data", size, size, split.places[:SHOWN], "no row has any label")
        return
    if len(set(split.values)) == 1:
        yield judge("label-constant", "data", size, size, split.places[:1], f"always {split.values[0]}")
        return
    if usual := [label for label, count in counts.items() if count > NEARLY * size]:
        names = ", ".join(map(repr, sorted(usual)[:SHOWN]))
        yield judge("label-everywhere", "data", max(counts.values()), size, [], names)
    keys = list(map(_key, split.bodies))
    for label, has in _each(split):
        if len(label) <= 2 or label.replace(".", "").isdigit():
            continue
        named = [(place, own) for key, place, own in zip(keys, split.places, has, strict=True) if label.lower() in key]
        telling = [place for place, own in named if own == "with"]
        if len(telling) >= 0.5 * counts[label] and len(telling) >= 0.5 * len(named):
            told = f"the name of {label!r} in the text"
            yield judge("label-leak", "data", len(telling), counts[label], telling[:SHOWN], told)


def _of_numbers(split: Split) -> Iterator[Finding]:
    missing = [place for place, value in zip(split.places, split.values, strict=True) if not value]
    if missing:
        yield judge("label-missing", "data", len(missing), len(split), missing[:SHOWN])
    if len({float(value) for value in split.values if value}) == 1:
        yield judge("label-constant", "data", len(split), len(split), split.places[:1], f"always {split.values[0]}")


def _encoding(split: Split) -> list[Finding]:
    """Return what is wrong with the characters of a split."""
    tally = Tally()
    for kind, rows in faults(split.bodies, Mojibake(split.bodies)):
        tally.rows(kind, Chunk("", 0, split.bodies, split.bodies, lambda row, _: split.places[row]), rows)
    return tally.findings(split.name, len(split))


def _chunk(split: Split, start: int) -> Chunk:
    """Return some of the texts as pairs with nothing, whose columns have blanks between."""
    texts = [body.replace("\t", " ") for body in split.bodies[start : start + CHUNK_PAIRS]]
    return Chunk(split.name, start, texts, [""] * len(texts), lambda row, _: split.places[start + row])


def nearly_alike(splits: Sequence[Split]) -> Iterator[Finding]:
    """Yield the rows nearly like an earlier one of the training data, and those of other splits like one of it."""
    signs: list[Signatures] = []
    for split in splits:
        parts = [signatures(*_chunk(split, start).texts) for start in range(0, len(split), CHUNK_PAIRS)]
        signs.append(np.concatenate(parts) if parts else np.empty((0, BANDS * ROWS), np.uint16))
    train = splits[0]
    known, same = {_key(body) for body in train.bodies}, set[str]()
    for split, own in zip(splits, signs, strict=True):
        rows: list[str] = []
        like = set((nearly(own) if split is train else nearly(own, signs[0])).tolist())
        for number, body in enumerate(split.bodies):
            equal = _key(body) in (same if split is train else known)
            if number in like and not equal:
                rows.append(split.places[number])
            same.add(_key(body))
        if rows:
            name = "near-duplicates" if split is train else "near-overlap"
            yield judge(name, split.name, len(rows), len(split), rows[:SHOWN])


def _beside(train: Split, seen: Split) -> Iterator[Finding]:
    """Yield what a split shares with the training data, and its labels that those do not have."""
    known: defaultdict[str, set[str]] = defaultdict(set)
    for body, value in zip(train.bodies, train.values, strict=True):
        known[_key(body)].add(value)
    labels, found = set(train.labels[0]), dict[str, list[str]]()
    for value, place in zip(*seen.labels, strict=True) if train.labels[0] else ():
        if not value or value not in labels:
            found.setdefault("label-unknown" if value else "label-missing", []).append(place)
    for body, value, place in zip(seen.bodies, seen.values, seen.places, strict=True):
        there = known.get(_key(body)) if _key(body) else None
        if there is not None:
            found.setdefault("overlap" if value in there else "source-overlap", []).append(place)
    for name, rows in found.items():
        total = len(seen.labels[0]) if name.startswith("label-") else len(seen)
        yield judge(name, seen.name, len(rows), total, list(dict.fromkeys(rows))[:SHOWN])


def _key(body: str) -> str:
    return plain(body).lower()


def _of_labels(values: list[str], places: list[str], *, sets: bool = False) -> Iterator[Finding]:
    """Yield what is wrong with labels; `sets`: whether a row may have any number of them, each judged by itself."""
    counts = Counter(value for value in values if value)
    missing = [place for place, value in zip(places, values, strict=True) if not value]
    if missing:
        yield judge("label-missing", "data", len(missing), len(values), missing[:SHOWN])
    if len(counts) == 1 and not sets:
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


def _of_texts(values: list[str], bodies: list[str], places: list[str], *, named: bool) -> Iterator[Finding]:
    """Yield what is wrong with texts; `named`: whether labels have names that texts may tell."""
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
    telling = [
        place
        for key, value, place in zip(keys, values, places, strict=True)
        if len(value) > 2 and not value.replace(".", "").isdigit() and value.lower() in key
    ]
    if named and telling and len(telling) >= 0.5 * len(values):
        yield judge("label-leak", "data", len(telling), len(values), telling[:SHOWN], "the label's name in the text")


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
