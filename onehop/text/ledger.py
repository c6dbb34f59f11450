"""What a length limit did to the lines of a split, and under which labels: the figures, not the limit itself."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

from onehop.errors import ConfigError, nearest

POLICIES = ("error", "drop", "cut")  # for pairs
LINE_POLICIES = (*POLICIES, "window")  # for lines that are only read
NO_WINDOWS = "a pair has no windows: the halves of its two sides need not correspond"
SHOWN = 5  # labels that a summary names


class LabelCounts(TypedDict):
    """The figures of a label: lines that have it, those of them affected, and tokens lost under it."""

    lines: int
    affected: int
    tokens: int


ByLabel = dict[str, LabelCounts]


def enter(by_label: ByLabel, labels: Mapping[str, int], affected: bool) -> None:
    """Count a line under its labels.

    Args:
        by_label: What was counted so far; changed.
        labels: Of the line, each with the tokens lost under it.
        affected: Whether the line was dropped, cut or divided.

    Example:
        >>> counts = {}
        >>> enter(counts, {"good": 3}, affected=True)
        >>> enter(counts, {"good": 0}, affected=False)
        >>> counts
        {'good': {'lines': 2, 'affected': 1, 'tokens': 3}}
    """
    for label, tokens in labels.items():
        row = by_label.setdefault(label, LabelCounts(lines=0, affected=0, tokens=0))
        row["lines"] += 1
        row["affected"] += affected
        row["tokens"] += tokens


def concerned(by_label: ByLabel) -> ByLabel:
    """Return the labels of which a line was affected, most lines first."""
    rows = ((label, row) for label, row in by_label.items() if row["affected"])
    return dict(sorted(rows, key=lambda item: (-item[1]["affected"], item[0])))


def shown(by_label: ByLabel) -> str:
    """Return which labels the affected lines have, for people; empty where none has one, or all have the same.

    Example:
        >>> shown({"good": {"lines": 9, "affected": 1, "tokens": 3}, "bad": {"lines": 4, "affected": 2, "tokens": 8}})
        'bad 2 of 4, good 1 of 9'
    """
    rows = list(concerned(by_label).items()) if len(by_label) > 1 else []
    more = [f"{len(rows) - SHOWN:,} labels more"] if len(rows) > SHOWN else []
    return ", ".join([f"{label} {row['affected']:,} of {row['lines']:,}" for label, row in rows[:SHOWN]] + more)


class Counts(TypedDict):
    """The figures of a ledger."""

    lines: int
    affected: int
    tokens: int
    longest: int
    by_label: NotRequired[ByLabel]  # only where lines have labels


@dataclass
class Ledger:
    """A length limit and what it did so far to the lines of one split.

    Attributes:
        split: Name for messages, such as `train`.
        max_length: Most tokens a line may have, without the end mark; at least 1.
        policy: What happens to a longer line: `error`, `drop` (left out), `cut` (its first tokens kept) or `window`
            (divided into parts; not for pairs).
        lines: Lines seen; a pair counts as one.
        affected: Lines dropped, cut or divided.
        tokens: Tokens lost by that; none by dividing.
        first: Place of the first line affected (`train.en:17`); empty if there is none, or it is not known.
        longest: Tokens of the longest line seen.
        windows: Parts that divided lines became.
        by_label: For each label, the lines that have it and what was done to them; empty where lines have none.

    Raises:
        ConfigError: The policy is unknown or `max_length` is below 1.

    Example:
        >>> from onehop.text import limit
        >>> ledger = Ledger("train", max_length=3, policy="cut")
        >>> limit([5, 6, 7, 8], ledger, "train.en:1")
        [5, 6, 7]
        >>> ledger.summary()
        'train: 1 of 1 lines longer than 3 tokens cut, 1 tokens lost (first train.en:1, longest 4)'
    """

    split: str
    max_length: int
    policy: str
    lines: int = 0
    affected: int = 0
    tokens: int = 0
    first: str = ""
    longest: int = 0
    windows: int = 0
    by_label: ByLabel = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.by_label = {label: row.copy() for label, row in self.by_label.items()}  # `replace` hands on the same one
        if self.policy not in LINE_POLICIES:
            hint = nearest(self.policy, LINE_POLICIES)
            raise ConfigError(
                f"unknown policy for long lines {self.policy!r}" + (f"; {hint}" if hint else ""),
                "Use error, drop or cut, or window for lines that are translated.",
            )
        if self.max_length < 1:
            raise ConfigError(f"max_length={self.max_length} must be at least 1", "Give a larger text.max_length.")

    @classmethod
    def of_pairs(cls, split: str, max_length: int, policy: str) -> Ledger:
        """Return a ledger for pairs, which cannot be divided.

        Raises:
            ConfigError: The policy is `window`, or as for any ledger.
        """
        if policy == "window":
            raise ConfigError(NO_WINDOWS, "Use error, drop or cut.", split)
        return cls(split, max_length, policy)

    def counts(self) -> Counts:
        """Return the figures, for a record.

        Example:
            >>> Ledger("train", 3, "cut", lines=2, affected=1, tokens=4, longest=7).counts()
            {'lines': 2, 'affected': 1, 'tokens': 4, 'longest': 7}
        """
        found: Counts = {
            "lines": self.lines, "affected": self.affected, "tokens": self.tokens, "longest": self.longest
        }  # fmt: skip
        if self.by_label:
            found["by_label"] = {label: row.copy() for label, row in self.by_label.items()}
        return found

    def enter(self, labels: Mapping[str, int], affected: bool) -> None:
        """Count a line under its labels, each with the tokens lost under it; the line itself was counted before."""
        enter(self.by_label, labels, affected)

    @contextmanager
    def of(self, *labels: str) -> Generator[None]:
        """Count under its labels, each of them, what the limit does meanwhile to one line.

        Example:
            >>> from onehop.text import limit
            >>> ledger = Ledger("train", 3, "cut")
            >>> with ledger.of("good"):
            ...     kept = limit([5, 6, 7, 8], ledger, "train.csv:1")
            >>> ledger.by_label
            {'good': {'lines': 1, 'affected': 1, 'tokens': 1}}
        """
        affected, tokens = self.affected, self.tokens
        yield
        self.enter(dict.fromkeys(labels, self.tokens - tokens), self.affected > affected)

    def add(self, other: Ledger) -> None:
        """Enter all that another ledger of the same limit holds.

        Example:
            >>> ledger = Ledger("train", 3, "cut", lines=2, longest=3)
            >>> ledger.add(Ledger("train", 3, "cut", lines=1, affected=1, tokens=4, longest=7, first="f:9"))
            >>> ledger.summary()
            'train: 1 of 3 lines longer than 3 tokens cut, 4 tokens lost (first f:9, longest 7)'
        """
        self.lines += other.lines
        self.affected += other.affected
        self.tokens += other.tokens
        self.windows += other.windows
        self.first = self.first or other.first
        self.longest = max(self.longest, other.longest)
        for label, row in other.by_label.items():
            own = self.by_label.setdefault(label, LabelCounts(lines=0, affected=0, tokens=0))
            own["lines"] += row["lines"]
            own["affected"] += row["affected"]
            own["tokens"] += row["tokens"]

    def summary(self) -> str:
        """Return one line for the user, or the empty string where no line was affected."""
        if not self.affected:
            return ""
        done = {"drop": "dropped", "cut": "cut", "window": f"divided into {self.windows} windows"}[self.policy]
        first = f"first {self.first}, " if self.first else ""
        labels = f"; by label: {shown(self.by_label)}" if self.by_label else ""
        return (
            f"{self.split}: {self.affected} of {self.lines} lines longer than {self.max_length} tokens "
            f"{done}, {self.tokens} tokens lost ({first}longest {self.longest}){labels}"
        )
