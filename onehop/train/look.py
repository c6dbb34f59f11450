"""The cheap part of the data doctor, before a training on labelled text of any task: some rows, and all for leaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from onehop.data import Pair, PairStore
from onehop.data import Split as Divided
from onehop.data.check.finding import SHOWN, Finding, judge
from onehop.data.check.labels import examine
from onehop.data.check.tables import Split
from onehop.data.check.text import plain
from onehop.data.label_sets import read
from onehop.data.labelled import SEPARATOR
from onehop.train.choose import Tell

CHECKED = 20_000  # rows whose texts and labels are looked at


@dataclass(frozen=True)
class Rows:
    """What is looked at.

    Args:
        pairs: Texts with their targets; of several columns, and of words, with U+001E between.
        size: How many there are.
        where: From the number of one, from 0, to its place.
    """

    pairs: Iterable[Pair]
    size: int
    where: Callable[[int], str]


def look_at_store(kind: str, store: PairStore, split: Divided, tell: Tell) -> None:
    """Look at a store of texts with labels or numbers, and at validation texts of files of their own; see `look`."""
    given = split.validation if not len(split.held) else []
    training = Rows(store, len(store), lambda number: store.where(number).source)
    look(kind, training, Rows(given, len(given), lambda number: split.where(number).source), tell)


def look(kind: str, training: Rows, validation: Rows, tell: Tell) -> None:
    """Tell what looks wrong with some of the rows, and how many of those for validation are trained on.

    Args:
        kind: What the targets are: `labels`, `sets` of labels, `numbers`, `words` (the labels of words) or `answers`.
        training: Some of these are looked at.
        validation: Those of files of their own, which are compared with all; else none.
        tell: Hears it.
    """
    step, given = -(-training.size // CHECKED) or 1, list(validation.pairs)
    known: dict[str, list[int]] = {}
    for number, pair in enumerate(given):
        known.setdefault(_key(pair), []).append(number)
    places: list[str] = []
    some: list[Pair] = []
    leaked: dict[str, set[int]] = {"overlap": set(), "source-overlap": set()}
    for number, pair in enumerate(training.pairs):
        if number % step == 0:
            some.append(pair)
            places.append(training.where(number))
        for row in known.get(_key(pair), ()) if known else ():
            leaked["overlap" if given[row].target == pair.target else "source-overlap"].add(row)
    leaked["source-overlap"] -= leaked["overlap"]
    findings = examine(split_of(kind, some, places))
    for name, rows in leaked.items():
        if rows:
            lines = [validation.where(row) for row in sorted(rows)[:SHOWN]]
            findings.append(judge(name, "valid", len(rows), len(given), lines))
    for finding in findings:
        if finding.severity != "note" and finding.name not in ("label-constant", "label-missing", "label-everywhere"):
            tell(told(finding))


def told(finding: Finding) -> str:
    """Return a finding in a line."""
    detail = f": {finding.detail}" if finding.detail else ""
    first = f", first {finding.lines[0]}" if finding.lines else ""
    grave = finding.severity == "error"  # for a file that is checked; training goes on
    known = f"data: warning: {finding.count:,} {finding.kind.what} ({finding.name}{first}){detail}"
    return f"{known}; this can ruin the model. {finding.kind.remedy}" if grave else known


def split_of(kind: str, pairs: Sequence[Pair], places: list[str]) -> Split:
    """Return rows as the doctor looks at them."""
    between = " " if kind == "words" else "\t"
    bodies = [pair.source.removesuffix(SEPARATOR).replace(SEPARATOR, between) for pair in pairs]
    values = [pair.target.removesuffix(SEPARATOR).replace(SEPARATOR, " ") for pair in pairs]
    labels: tuple[list[str], list[str]] = ([], [])
    if kind == "labels":
        labels = values, places
    elif kind in ("words", "sets"):
        rows = [value.split() if kind == "words" else read(value) for value in values]
        labels = (
            [label for row in rows for label in row],
            [place for place, row in zip(places, rows, strict=True) for _ in row],
        )
    return Split("data", "", bodies, values, places, labels, kind, ("", ()), {})


def _key(pair: Pair) -> str:
    return plain(pair.source.replace(SEPARATOR, " ")).lower()
