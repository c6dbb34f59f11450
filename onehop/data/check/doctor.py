"""The doctor of parallel data: learn from the training pairs, look at every split, compare the splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from onehop.data.check.beside import FEWEST
from onehop.data.check.coverage import Coverage
from onehop.data.check.examine import DROP, Examination
from onehop.data.check.finding import Finding, Report, judge, ordered
from onehop.data.check.inputs import Chunk, Input, Tally, chunks
from onehop.data.check.learn import Lessons, Sample, learn
from onehop.data.check.near import near as nearly
from onehop.data.check.repeats import repeats, shared

CHECKED = (
    "encoding", "empty sides", "alignment", "swapped sides", "script and language", "copied sources", "lengths",
    "duplicates",
)  # fmt: skip


@dataclass
class Diagnosis:
    """The report, and what a cleaned copy needs.

    Args:
        report: What was found.
        splits: Each split's examination.
        inputs: Each split's files.
    """

    report: Report
    splits: dict[str, Examination] = field(default_factory=dict)
    inputs: Mapping[str, Sequence[Input]] = field(default_factory=dict)


def check_pairs(
    inputs: Mapping[str, Sequence[Input]], *, near: bool = False, coverage: Coverage | None = None
) -> Diagnosis:
    r"""Look for what would ruin a training on parallel text.

    The training files are read twice: once for a sample to learn from, once from the first line to the last. Memory is
    some 40 bytes a pair (`near`: 50 more) beside a constant part.

    Args:
        inputs: The files of `train` and, where there are any, of `valid` and `test`.
        near: Whether to look for near duplicates as well.
        coverage: Looks at the training pairs with a model's tokenizers.

    Raises:
        FileError: A file cannot be read.
        DataError: The ending of a table tells no form.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "pairs.tsv"
        >>> _ = path.write_text("Yes.\tJa.\nNo.\t\nYes.\tJa.\n", encoding="utf-8")
        >>> found = check_pairs({"train": [Input(str(path))]}).report
        >>> [(finding.name, finding.count) for finding in found.findings]
        [('empty-sides', 1), ('duplicates', 1)]
    """
    lessons = _learn(inputs["train"])
    splits: dict[str, Examination] = {}
    for split, files in inputs.items():
        faults = Tally()
        splits[split] = seen = Examination(split, lessons, split == "train", near, faults)
        for chunk in chunks(files, faults):
            seen.look(chunk)
            if coverage and split == "train":
                coverage.look(chunk)
    findings = [finding for seen in splits.values() for finding in _of_split(seen, near)]
    findings += coverage.findings("train") if coverage else []
    train = splits["train"]
    for split, seen in splits.items():
        if split != "train":
            findings += _overlaps(train, seen, near)
    more = {"overlap": len(splits) > 1, "near duplicates": near, "tokenizer": coverage is not None}
    sizes = {split: seen.size for split, seen in splits.items()}
    report = _report(sizes, findings, lessons, [name for name, done in more.items() if done])
    report = replace(report, coverage=coverage.figures() if coverage else [])
    return Diagnosis(report, splits, inputs)


def examined(parts: Sequence[Chunk]) -> Report:
    """Return what is wrong with some pairs of a training set that are all in memory."""
    lessons = learn([(part.sources, part.targets) for part in parts])
    seen = Examination("train", lessons, True, False, Tally())
    for part in parts:
        seen.look(part)
    return _report({"train": seen.size}, list(_of_split(seen, False)), lessons, [])


def _report(sizes: dict[str, int], findings: list[Finding], lessons: Lessons, more: list[str]) -> Report:
    checked, unchecked = [*CHECKED, *more], list[str]()
    if not (lessons.strong.enough or (lessons.sentences and sizes["train"] >= FEWEST)):
        checked.remove("alignment")
        unchecked.append("alignment: too few pairs, or no words that go together")
    if not lessons.sides.able:
        checked.remove("swapped sides")
        unchecked.append("swapped sides: too few pairs, or sides too much alike")
    return Report(sizes, checked, ordered(findings), unchecked)


def _learn(files: Sequence[Input]) -> Lessons:
    sample = Sample()
    for chunk in chunks(files, Tally()):
        sample.add(chunk)
    return learn(list(sample.pairs()), sample.stride)


def _of_split(seen: Examination, near: bool) -> Iterator[Finding]:
    """Yield what was found inside of a split."""
    yield from seen.found.findings(seen.split, seen.size)
    if not seen.size:
        yield judge("no-pairs", seen.split, 0, 0, [])
    yield from seen.shifts()
    if seen.size and seen.split == "train":
        twice = repeats(seen.hashed.pairs())
        seen.verdicts[twice] |= DROP
        yield from _of(seen, "duplicates", twice)
        if near:
            yield from _of(seen, "near-duplicates", np.setdiff1d(nearly(seen.signs), twice))


def _overlaps(train: Examination, seen: Examination, near: bool) -> Iterator[Finding]:
    """Yield what a split shares with the training data; of that, a cleaned copy keeps the other split's."""
    both = shared(seen.hashed.pairs(), train.hashed.pairs())
    yield from _of(seen, "overlap", both)
    train.verdicts[shared(train.hashed.pairs(), seen.hashed.pairs())] |= DROP
    for side, name in enumerate(("source-overlap", "target-overlap")):
        yield from _of(seen, name, np.setdiff1d(shared(seen.hashed.side(side), train.hashed.side(side)), both), side)
    if near:
        yield from _of(seen, "near-overlap", np.setdiff1d(nearly(seen.signs, train.signs), both))


def _of(seen: Examination, name: str, numbers: npt.NDArray[np.int64], side: int = 0) -> Iterator[Finding]:
    if len(numbers):
        yield judge(name, seen.split, len(numbers), seen.size, seen.places.first(numbers, side))
