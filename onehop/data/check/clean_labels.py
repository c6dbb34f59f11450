"""A cleaned copy of labelled text: without the rows that would ruin a run, and with characters repaired."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from onehop.data.check.encoding import LOST, SURROGATE, repaired
from onehop.data.check.labels import Labelling
from onehop.data.check.left import refuse_empty
from onehop.data.check.mojibake import Mojibake
from onehop.data.check.tables import Split
from onehop.data.check.text import plain
from onehop.data.label_sets import label_set, rewritten
from onehop.data.labelled import objects
from onehop.data.questions import read_questions
from onehop.data.tagged import open_tagged
from onehop.errors import FileError
from onehop.files import new_folder, new_text

COUNTS: tuple[str, ...] = ("kept", "dropped", "repaired", "relabelled")


@dataclass(frozen=True)
class Cleaned:
    """What a cleaned copy has of a split.

    Args:
        kept: Numbers of the rows that stay, ascending.
        texts: Repairs a text.
        label: From a label as it is written to how it is to be.
    """

    kept: list[int]
    texts: Callable[[str], str]
    label: Mapping[str, str]


def clean_labels(found: Labelling, folder: str | Path) -> dict[str, dict[str, int]]:
    """Write a cleaned copy of each file; return for each split how many rows were `kept`, `dropped`, and so on.

    Left out are rows without text or label, those with characters that were lost, all but the first of equal ones, and
    training rows that stand in another split. In tables, texts are repaired and put in NFC, and labels that differ in
    case or blanks only are written as most of them are. Tables keep their form, but Parquet and saved data sets become
    `.csv`; sentences become `.conll`, questions `.jsonl`, neither with any character changed.

    Args:
        found: What `diagnose_labels` returned.
        folder: A new folder.

    Raises:
        FileError: The folder exists, or cannot be written.
        DataError: Nothing of a split would be left; nothing is written.
    """
    place = Path(folder)
    if place.exists():
        raise FileError("there is something already", "Name a new folder.", str(folder))
    train, *others = found.splits
    leaked = {_row(split, number) for split in others for number in range(len(split))}
    written: dict[str, dict[str, int]] = {}
    with new_folder(place) as made:
        names: set[str] = set()
        for split in found.splits:
            counts: dict[str, int] = dict.fromkeys(COUNTS, 0)
            plan = _plan(split, leaked if split is train else set())
            counts["kept"], counts["dropped"] = len(plan.kept), len(split) - len(plan.kept)
            refuse_empty(found.report, split.name, counts)
            with new_text(made / _name(split, names)) as out:
                WRITERS[split.kind](split, plan, out, counts)
            written[split.name] = counts
    return written


def _row(split: Split, number: int) -> tuple[str, str]:
    return plain(split.bodies[number]).lower(), split.values[number]


def _plan(split: Split, leaked: set[tuple[str, str]]) -> Cleaned:
    seen = set(leaked)
    kept: list[int] = []
    for number, (body, value) in enumerate(zip(split.bodies, split.values, strict=True)):
        row = _row(split, number)
        good = row[0] and (value or split.kind == "answers") and LOST not in body and not SURROGATE.search(body)
        if good and row not in seen:
            kept.append(number)
            seen.add(row)
    spoilt = Mojibake(split.bodies)
    return Cleaned(kept, lambda text: repaired(text, spoilt), _labels(split))


def _labels(split: Split) -> dict[str, str]:
    """Return for each label the commonest of those that differ from it in case or blanks only."""
    usual: dict[str, str] = {}
    counts = Counter(split.labels[0] if split.kind in ("labels", "sets") else ())
    for label, _ in counts.most_common():
        usual.setdefault(" ".join(label.casefold().split()), label)
    return {label: usual[" ".join(label.casefold().split())] for label in counts}


def _name(split: Split, taken: set[str]) -> str:
    """Return the name of a copy that is not taken yet."""
    plain_name = Path(split.path.removesuffix(".gz").removesuffix(".zst"))
    ending = {"words": ".conll", "answers": ".jsonl"}.get(split.kind, plain_name.suffix)
    name = plain_name.stem + (".csv" if ending in (".parquet", "") else ending)
    while name in taken:
        name = f"{split.name}-{name}"
    taken.add(name)
    return name


def _table(split: Split, plan: Cleaned, out: IO[str], counts: dict[str, int]) -> None:
    rows = (_cleaned(split, plan, counts, {name: split.table[name][n] for name in split.table}) for n in plan.kept)
    if ".jsonl" in Path(split.path).suffixes:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in _objects(split, plan, counts))
    elif ".tsv" in Path(split.path).suffixes:
        if split.headed:
            out.write("\t".join(split.table) + "\n")
        for row in rows:
            out.write("\t".join(" ".join(value.replace("\t", " ").split("\n")) for value in row.values()) + "\n")
    else:
        writer = csv.writer(out, lineterminator="\n")
        if split.headed:
            writer.writerow(split.table)
        writer.writerows(row.values() for row in rows)


def _objects(split: Split, plan: Cleaned, counts: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file that stay, whose other values are of their own types."""
    kept = set(plan.kept)
    for number, row in enumerate(row for _, row in objects(split.path) if row):
        if number in kept:
            yield _cleaned(split, plan, counts, row)


def _cleaned(split: Split, plan: Cleaned, counts: dict[str, int], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its texts repaired, and its label as it is to be."""
    label, texts = split.columns
    new = dict(row)
    for name in texts:
        if isinstance(row.get(name), str):
            new[name] = plan.texts(row[name])
    counts["repaired"] += any(new.get(name) != row.get(name) for name in texts)
    if split.kind == "sets":
        new[label] = _set(row.get(label, []), split.separator, plan.label)  # an object may say nothing of labels
        counts["relabelled"] += label in row and new[label] != row[label]
    elif isinstance(row[label], str):
        new[label] = plan.label.get(row[label].strip(), row[label].strip())
        counts["relabelled"] += new[label] != row[label].strip()
    return new


def _set(cell: Any, separator: str, label: Mapping[str, str]) -> Any:
    """Return a set of labels as it is to be, in its own form; as it was where no label changes."""
    old = [str(one) for one in cell] if isinstance(cell, list) else label_set(str(cell or ""), separator)
    new = list(dict.fromkeys(label.get(one.strip(), one) for one in old))
    if new == old:
        return cell
    if isinstance(cell, list):
        return new
    return rewritten(cell, new, separator)


def _sentences(split: Split, plan: Cleaned, out: IO[str], counts: dict[str, int]) -> None:
    kept = set(plan.kept)
    for number, one in enumerate(open_tagged(split.path).sentences):
        if number in kept:
            out.writelines(f"{word}\t{label}\n" for word, label in zip(one.words, one.labels, strict=True))
            out.write("\n")


def _questions(split: Split, plan: Cleaned, out: IO[str], counts: dict[str, int]) -> None:
    kept = set(plan.kept)
    for number, one in enumerate(read_questions(split.path)):
        if number in kept:
            answers = [{"text": answer.text, "answer_start": answer.start} for answer in one.answers or ()]
            row = {"id": one.id, "question": one.question, "context": one.context, "answers": answers}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


WRITERS = {"labels": _table, "sets": _table, "numbers": _table, "words": _sentences, "answers": _questions}
