"""Labels of words that stand for spans: BIO and BILOU, which label may follow which, and the spans they mean.

BIO (Ramshaw and Marcus 1995, as CoNLL-2002 writes it): `B-X` begins a span of X, `I-X` goes on with it, `O` is outside.
BILOU (Ratinov and Roth 2009) also marks the last word, `L-X`, and a span of one word, `U-X`; some write `E-X` and `S-X`
for these (BIOES). A span counts only if all of its labels fit, as seqeval's strict mode has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Scheme = Literal["none", "bio", "bilou", "bioes"]
LETTERS: dict[Scheme, str] = {"bio": "BI", "bilou": "BILU", "bioes": "BIES"}
OUTSIDE = "O"
SAME = {"E": "L", "S": "U"}  # the letters of BIOES, as BILOU has them


@dataclass(frozen=True)
class Span:
    """Words that are one thing.

    Args:
        label: What it is, without a prefix.
        start: Its first word, from 0.
        end: One more than its last word.
    """

    label: str
    start: int
    end: int


def parts(label: str | None, scheme: Scheme) -> tuple[str, str]:
    """Return the letter of a label, as BILOU has it, and what it is of; `O` where it is of nothing.

    Example:
        >>> parts("E-person", "bioes"), parts("O", "bio")
        (('L', 'person'), ('O', ''))
    """
    if label is None or label == OUTSIDE:
        return OUTSIDE, ""
    letter, _, kind = label.partition("-")
    return (SAME.get(letter, letter) if scheme == "bioes" else letter), kind


def find_scheme(labels: Iterable[str]) -> Scheme:
    """Return the scheme that all labels fit, the plainest first; `none` where they are of single words.

    Example:
        >>> find_scheme(["O", "B-person", "I-person"]), find_scheme(["NOUN", "VERB"])
        ('bio', 'none')
    """
    letters = {label.partition("-")[0] for label in labels if label != OUTSIDE}
    if letters:
        for scheme, known in LETTERS.items():
            if letters <= set(known):
                return scheme
    return "none"


def legal(before: str | None, after: str | None, scheme: Scheme) -> bool:
    """Whether one label may follow another; None stands for the start and the end of a sentence.

    Example:
        >>> legal("O", "I-person", "bio"), legal("B-person", "I-person", "bio"), legal("B-person", None, "bilou")
        (False, True, False)
    """
    if scheme == "none":
        return True
    (one, kind), (other, its) = parts(before, scheme), parts(after, scheme)
    goes_on = other in ("I", "L")
    if scheme == "bio":
        return not goes_on or (one in ("B", "I") and kind == its)
    return goes_on and kind == its if one in ("B", "I") else not goes_on


def is_legal(labels: Sequence[str], scheme: Scheme) -> bool:
    """Whether the labels of a sentence may stand so."""
    row = [None, *labels, None]
    return all(legal(one, other, scheme) for one, other in pairwise(row))


def spans(labels: Sequence[str | None], scheme: Scheme) -> list[Span]:
    """Return the spans whose labels all fit; a word without a label is outside.

    Example:
        >>> spans(["B-person", "I-person", "O", "I-place"], "bio")
        [Span(label='person', start=0, end=2)]
    """
    if scheme == "none":
        return []
    found: list[Span] = []
    row = [parts(label, scheme) for label in labels]
    place = 0
    while place < len(row):
        letter, kind = row[place]
        end = place + 1
        if letter == "B":
            while end < len(row) and row[end] == ("I", kind):
                end += 1
            closed = scheme == "bio"
            if not closed and end < len(row) and row[end] == ("L", kind):
                closed, end = True, end + 1
        else:
            closed = letter == "U"
        if closed:
            found.append(Span(kind, place, end))
        place = end
    return found


def mended(labels: Sequence[str], scheme: Scheme) -> list[str]:
    """Return BIO labels in which a span that begins with `I-X` begins with `B-X`; others are left as they are.

    Ramshaw and Marcus' own way, which CoNLL-2003 has, writes `B-X` only between two spans of X that touch.

    Example:
        >>> mended(["I-person", "I-person", "O", "I-place"], "bio")
        ['B-person', 'I-person', 'O', 'B-place']
    """
    if scheme != "bio":
        return list(labels)
    row: list[str] = []
    for label in labels:
        fits = legal(row[-1] if row else None, label, scheme)
        row.append(label if fits else "B" + label[1:])
    return row


def completed(labels: Iterable[str], scheme: Scheme) -> list[str]:
    """Return the labels with all that a scheme has of each of their kinds, `O` first; others by the alphabet.

    Example:
        >>> completed(["I-person", "O", "B-person", "B-place"], "bio")
        ['O', 'B-person', 'I-person', 'B-place', 'I-place']
    """
    if scheme == "none":
        return sorted(set(labels))
    kinds = sorted({label.partition("-")[2] for label in labels if label != OUTSIDE})
    return [OUTSIDE, *(f"{letter}-{kind}" if kind else letter for kind in kinds for letter in LETTERS[scheme])]
