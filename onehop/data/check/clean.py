"""A cleaned copy of what was checked: repaired, exchanged back, realigned, or left out; and how much of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from onehop.data.check.alignment import Stretch
from onehop.data.check.association import REACH
from onehop.data.check.doctor import Diagnosis
from onehop.data.check.encoding import repaired
from onehop.data.check.examine import DROP, SWAP
from onehop.data.check.inputs import Input, Tally
from onehop.data.check.left import refuse_empty
from onehop.data.check.mojibake import Mojibake
from onehop.data.pair import Pair
from onehop.errors import FileError
from onehop.files import new_folder, new_text

COUNTS: tuple[str, ...] = ("kept", "dropped", "swapped", "repaired", "realigned", "converted")
MARGIN = 8  # lines on either side of where a shift begins or ends that are left out
Row = tuple[int, Pair]  # number in the file, and the pair


def clean(diagnosis: Diagnosis, folder: str | Path) -> dict[str, dict[str, int]]:
    """Write a cleaned copy of each file; return for each split how many pairs were `kept`, `dropped`, and so on.

    Parallel files keep their names, without `.gz` and `.zst`; tables become `.tsv`, in which tabs and line ends inside
    of texts are blanks. Only what a pair's own lines show is repaired in stretches that were shifted: check the copy
    again.

    Args:
        diagnosis: What `check_pairs` found.
        folder: A new folder.

    Raises:
        FileError: The folder exists, or cannot be written.
        DataError: Nothing of a split would be left; nothing is written.
    """
    place = Path(folder)
    if place.exists():
        raise FileError("there is something already", "Name a new folder.", str(folder))
    done: dict[str, dict[str, int]] = {}
    with new_folder(place) as made:
        names: set[str] = set()
        for split, inputs in diagnosis.inputs.items():
            counts: dict[str, int] = dict.fromkeys(COUNTS, 0)
            courses = diagnosis.splits[split].courses()
            verdicts, first = diagnosis.splits[split].verdicts, 0
            spoilt = diagnosis.splits[split].lessons.spoilt
            for entry in inputs:
                course = next((course for start, course in courses if start == first), [])
                with ExitStack() as files:
                    outs = [files.enter_context(new_text(made / name)) for name in _names(entry, split, names)]
                    own = Rows(verdicts[first:].tobytes(), course, spoilt)
                    first += _write(entry, own, outs, counts)
            refuse_empty(diagnosis.report, split, counts)
            done[split] = counts
    return done


def _names(entry: Input, split: str, taken: set[str]) -> list[str]:
    """Return names of the copies that are not taken yet."""
    found: list[str] = []
    for path in filter(None, (entry.source, entry.target)):
        name = Path(path.removesuffix(".gz").removesuffix(".zst")).name
        name = name if entry.target else f"{Path(name).stem}.tsv"
        while name in taken:
            name = f"{split}-{name}"
        taken.add(name)
        found.append(name)
    return found


@dataclass(frozen=True)
class Rows:
    """What was found out about the rows of a file.

    Args:
        verdicts: A byte for each.
        course: How they are aligned.
        spoilt: What of each side was read as another encoding.
    """

    verdicts: bytes
    course: list[Stretch]
    spoilt: tuple[Mojibake, Mojibake]


def _write(entry: Input, known: Rows, outs: list[IO[str]], counts: dict[str, int]) -> int:
    """Write what is kept of a file; return how many pairs it has."""
    size, converted = 0, Tally()

    def numbered() -> Iterator[Row]:
        nonlocal size
        for size, pair in enumerate(entry.pairs(converted), 1):
            yield size - 1, pair

    moved = any(part.offset != 0 for part in known.course)
    kept = 0
    for number, pair in _realigned(numbered(), known.course, counts) if moved else numbered():
        verdict = known.verdicts[number]
        new = Pair(*(repaired(*side).replace("\n", " ") for side in zip(pair, known.spoilt, strict=True)))
        if verdict & DROP or not (new.source.strip() and new.target.strip()):
            continue
        if verdict & SWAP:
            new = Pair(new.target, new.source)
        counts["swapped"] += bool(verdict & SWAP)
        counts["repaired"] += sorted(new) != sorted(pair)
        if len(outs) == 2:
            for out, line in zip(outs, new, strict=True):
                out.write(line + "\n")
        else:
            outs[0].write("\t".join(side.replace("\t", " ") for side in new) + "\n")
        kept += 1
    counts["kept"] += kept
    counts["converted"] += converted.counts.get("not-utf-8", 0)
    counts["dropped"] += size - kept
    return size


def _realigned(rows: Iterator[Row], course: list[Stretch], counts: dict[str, int]) -> Iterator[Row]:
    """Yield each source with the target that belongs to it; what stands near a change, or nowhere, is left out."""
    window: deque[Row] = deque(maxlen=2 * REACH + 1)
    nothing = Pair("", "")
    padded = (row for part in ([(-1, nothing)] * REACH, rows, [(-1, nothing)] * REACH) for row in part)
    parts = iter(course)
    part = next(parts)
    for row in padded:
        window.append(row)
        if len(window) <= 2 * REACH:
            continue
        number, pair = window[REACH]
        while number >= part.last:
            part = next(parts)
        low = part.first + MARGIN * (part is not course[0])
        inner = low <= number < part.last - MARGIN * (part is not course[-1])
        if part.offset is not None and inner:
            counts["realigned"] += part.offset != 0
            yield number, Pair(pair.source, window[REACH + part.offset][1].target)
