"""What the doctor says: kinds of findings, how grave each is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SHOWN = 5  # lines that a finding names


@dataclass(frozen=True)
class Kind:
    """A kind of finding.

    Args:
        what: In a few words.
        remedy: An imperative sentence.
        error: Share of the lines from which it ruins a run; above 1 it never does.
        fewest: Lines from which it may.
        usual: Severity below that.
    """

    what: str
    remedy: str
    error: float = 2.0
    fewest: int = 1
    usual: Severity = "warning"


KINDS: dict[str, Kind] = {
    "no-pairs": Kind("files without a pair", "Look whether these are the right files.", 0.0, 0),
    "unreadable": Kind("rows that no pair can be read from", "Mend or remove the rows.", 0.0),
    "line-count": Kind(
        "the two files differ in their number of lines",
        "Find the place where they come apart; `shifted-lines` names it where it can.", 0.0,
    ),
    "shifted-lines": Kind(
        "lines that belong to a neighbour of the line they stand beside",
        "Look at the line named first: one side lost or gained a line there.", 0.0,
    ),
    "unrelated-lines": Kind(
        "stretches in which source and target have nothing to do with each other",
        "Compare both files from the line named first; remove or align the stretch.", 0.0, 100,
    ),
    "swapped-sides": Kind("pairs whose source and target are exchanged", "Exchange them.", 0.0, 20),
    "not-utf-8": Kind("lines that are not UTF-8", "Find out their encoding and convert the file.", 0.0),
    "mojibake": Kind(
        "lines of UTF-8 that was read as another encoding", "Decode the text again, as UTF-8.", 0.001, 5
    ),
    "replacement-characters": Kind(
        "lines with U+FFFD, where a character was lost", "Take the text from its origin again.", 0.01, 5
    ),
    "lone-surrogates": Kind(
        "lines with half of a surrogate pair", "Write the JSON escapes in pairs.", 0.01, 5
    ),
    "control-characters": Kind("lines with control characters", "Remove them.", 0.05, 5),
    "mixed-normalization": Kind(
        "lines not in NFC, in a file that mostly is", "Keep text.normalization = \"nfc\", or convert.",
        usual="note",
    ),
    "empty-sides": Kind("pairs without text on one side", "Remove the pairs.", 0.05, 5),
    "copied-sources": Kind("targets that are their source", "Remove the pairs.", 0.05, 20),
    "length-ratio": Kind("pairs of very unlike length", "Look at the pairs named here.", 0.05, 20, usual="note"),
    "wrong-script": Kind("lines in another script than their side", "Remove the pairs.", 0.05, 20),
    "wrong-language": Kind("lines in the other side's language", "Remove the pairs.", 0.05, 20),
    "duplicates": Kind("pairs that stood before", "Keep one of each.", usual="note"),
    "near-duplicates": Kind("pairs nearly like an earlier one", "Look whether they add anything.", usual="note"),
    "overlap": Kind(
        "pairs that also stand in the training data", "Remove them from the training data.", 0.005
    ),
    "source-overlap": Kind(
        "sources that also stand in the training data", "Split by source, or remove these pairs from training.",
    ),
    "target-overlap": Kind("targets that also stand in the training data", "Look whether it is chance.", usual="note"),
    "near-overlap": Kind("pairs nearly like one of the training data", "Look whether they were split from one text."),
    "label-missing": Kind("rows without a label", "Label or remove them.", 0.01),
    "label-constant": Kind("one label for every row", "There is nothing to learn; check the label column.", 0.0),
    "label-everywhere": Kind("rows with a label that nearly all have", "Leave that label out: it tells nothing."),
    "label-rare": Kind("labels with fewer than 5 rows", "Join them with others, or find more rows."),
    "label-leak": Kind(
        "a column that tells the label, or texts that hold its name", "Leave the column out of the input.", 0.9, 20
    ),
    "label-variants": Kind(
        "rows or words whose labels differ in case or blanks only", "Write each label in one way.", 0.0
    ),
    "label-nothing": Kind(
        "labels such as nan or ?, which mean that there is none", "Label or remove the rows, unless it is a class."
    ),
    "label-scheme": Kind(
        "sentences whose labels do not fit the scheme, such as I-X behind O", "Mend the labels.", 0.2, 20
    ),
    "label-values": Kind(
        "labels nearly all of which are different", "Name the column with --label; numbers want a regression.", 0.5, 20
    ),
    "label-unknown": Kind(
        "labels that no row of the training data has", "Mend them, or add such rows to the training data.", 0.0
    ),
    "label-conflict": Kind("equal texts with different labels", "Decide on one label.", 0.05, 20),
    "bytes": Kind("pieces that are bytes of characters the tokenizer lacks", "Train a tokenizer.", 0.05, 20, "note"),
    "unknown": Kind(
        "pieces that the tokenizer does not know, read as one and the same", "Use a tokenizer for this text.", 0.05, 20
    ),
    "fragments": Kind("words cut into more than 4 pieces on average", "Use a tokenizer for this language.", 0.0),
    "too-long": Kind("lines longer than the model's max_length", "See --long, or split the lines.", 0.2, 5),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or looks it.

    Args:
        name: Of its kind, a key of `KINDS`.
        severity: `error`: it ruins a run.
        split: `train`, `valid` or `test`; of labelled text that is trained on, `data`.
        count: Lines concerned.
        share: Of all lines of the split.
        lines: The first ones, or the most telling, as `file:line`.
        detail: What more there is to say.
    """

    name: str
    severity: Severity
    split: str
    count: int
    share: float
    lines: list[str] = field(default_factory=list)
    detail: str = ""

    @property
    def kind(self) -> Kind:
        """What is known of its kind."""
        return KINDS[self.name]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**asdict(self), "what": self.kind.what, "remedy": self.kind.remedy}


def judge(
    name: str, split: str, count: int, total: int, lines: Iterable[str], detail: str = "", certain: bool = True
) -> Finding:
    """Return a finding with the severity that its kind and share give it.

    Args:
        name: A key of `KINDS`.
        split: Where it was found.
        count: Lines concerned.
        total: Lines of the split.
        lines: The first of them.
        detail: What more there is to say.
        certain: Whether it may be an error at all.
    """
    kind, share = KINDS[name], count / max(total, 1)
    grave = certain and share >= kind.error and count >= kind.fewest
    return Finding(name, "error" if grave else kind.usual, split, count, round(share, 6), list(lines), detail)


@dataclass(frozen=True)
class Report:
    """All that was found.

    Args:
        pairs: Number of pairs, or of labelled rows, of each split.
        checked: What was looked for.
        findings: Gravest first.
        unchecked: What could not be looked for, and why.
        columns: Of labelled text, the names of the columns that were taken: `label` and `text`; where rows have sets of
            labels also `label separator`, none where they are lists.
        coverage: Of each side, how a model's tokenizer cuts it: `side`, `pieces`, `words`, `characters`, `bytes` and
            `unknown` pieces.
    """

    pairs: dict[str, int]
    checked: list[str]
    findings: list[Finding]
    unchecked: list[str] = field(default_factory=list)
    columns: dict[str, list[str]] = field(default_factory=dict)
    coverage: list[dict[str, Any]] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing was found that would ruin a run."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "sound": self.sound,
            "pairs": self.pairs,
            "columns": self.columns,
            "coverage": self.coverage,
            "checked": self.checked,
            "unchecked": self.unchecked,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings, gravest first, otherwise in the order of their kinds."""
    names = list(KINDS)
    return sorted(findings, key=lambda f: (("error", "warning", "note").index(f.severity), names.index(f.name)))
