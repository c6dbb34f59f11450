"""How much of a split a cleaned copy keeps: nothing of it is an error, less than half is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from onehop.data.check.finding import Finding, Report
from onehop.errors import DataError

CONDEMNING = (
    "copied-sources", "empty-sides", "label-missing", "replacement-characters", "lone-surrogates", "unrelated-lines",
    "shifted-lines", "line-count", "unreadable", "duplicates", "overlap",
)  # fmt: skip
LOOK = (
    "Nothing was written. Check without --fix and look at these lines; if they are in order, use the files as they are."
)


def refuse_empty(report: Report, split: str, counts: Mapping[str, int]) -> None:
    """Do nothing where a cleaned copy keeps some of a split, or where there was nothing in it.

    Args:
        report: What was found.
        split: Its name.
        counts: How many lines are `kept` and `dropped`.

    Raises:
        DataError: All are left out; tells why.
    """
    if counts["kept"] or not counts["dropped"]:
        return
    first = next((finding.lines[0] for finding in _condemning(report, split) if finding.lines), "")
    problem = f"a cleaned copy would have none of the {counts['dropped']:,} lines of {split}: {_told(report, split)}"
    raise DataError(problem, LOOK, first)


def mostly_dropped(report: Report, written: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a line for each split more than half of which a cleaned copy leaves out.

    Example:
        >>> found = Report({"train": 10}, [], [Finding("duplicates", "note", "train", 7, 0.7)])
        >>> mostly_dropped(found, {"train": {"kept": 3, "dropped": 7}})
        ['train: 7 of 10 lines are left out: duplicates (7: pairs that stood before)']
    """
    return [
        f"{split}: {counts['dropped']:,} of {counts['kept'] + counts['dropped']:,} lines are left out: "
        + _told(report, split)
        for split, counts in written.items()
        if counts["dropped"] > counts["kept"]
    ]


def _told(report: Report, split: str) -> str:
    """Return what condemns lines of a split, the most frequent first."""
    reasons = [f"{one.name} ({one.count:,}: {one.kind.what})" for one in _condemning(report, split)]
    return ", ".join(reasons) or "no finding tells why"


def _condemning(report: Report, split: str) -> Iterator[Finding]:
    """Yield the findings by which lines of a split are left out; what other splits share is taken from training."""
    trained = split in ("train", "data")
    for finding in sorted(report.findings, key=lambda one: -one.count):
        shares = finding.name == "overlap"
        if finding.name in CONDEMNING and (trained and finding.split != split if shares else finding.split == split):
            yield finding
