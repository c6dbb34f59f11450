"""Exact match and F1 of answers, as SQuAD's scorer defines them (Rajpurkar et al. 2016 and 2018), and paired tests.

Before they are compared, answers are brought to lower case, lose their punctuation and the articles a, an and the, and
have one space between words. F1 is that of the words which both have, as often as both have them. Of several right
answers the best counts. Where there is none, only the empty answer is right.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onehop.metrics.classification import DRAWS, SEED
from onehop.metrics.translation import Interval

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)
Floats = npt.NDArray[np.float64]


def normalised(answer: str) -> str:
    """Return an answer as it is compared.

    Example:
        >>> normalised("The  U.S. Navy, in a port")
        'us navy in port'
    """
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split())


def exact(found: str, wanted: str) -> float:
    """Return 1 if two answers are the same once normalised, else 0."""
    return float(normalised(found) == normalised(wanted))


def f1(found: str, wanted: str) -> float:
    """Return the F1 of the words of an answer; with an empty one, whether both are.

    Example:
        >>> f1("in the old port", "the port of Rome"), f1("", ""), f1("port", "")
        (0.3333333333333333, 1.0, 0.0)
    """
    ours, theirs = normalised(found).split(), normalised(wanted).split()
    if not ours or not theirs:
        return float(ours == theirs)
    common = (Counter(ours) & Counter(theirs)).total()
    return 2 * common / (len(ours) + len(theirs))


def scores(found: Sequence[str], wanted: Sequence[Sequence[str]]) -> Floats:
    """Return exact match and F1 of each answer, `(N, 2)`, with the best of those that are right.

    Example:
        >>> scores(["the port", ""], [["a port", "Rome"], []]).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    rows: list[tuple[float, float]] = []
    for answer, right in zip(found, wanted, strict=True):
        choices = [one for one in right if normalised(one)] or [""]
        rows.append((max(exact(answer, one) for one in choices), max(f1(answer, one) for one in choices)))
    return np.array(rows, np.float64).reshape(-1, 2)


@dataclass(frozen=True)
class Answering:
    """How well questions were answered.

    Args:
        exact: Share of the questions whose answer is right, word for word.
        f1: Mean over the questions.
        intervals: 95 %, of both, by bootstrap over questions.
        by_kind: Of questions that have an answer and of those that have none: how many, exact match and F1.
    """

    exact: float
    f1: float
    intervals: dict[str, Interval]
    by_kind: dict[str, tuple[int, float, float]]


def answering(found: Sequence[str], wanted: Sequence[Sequence[str]], draws: int = DRAWS) -> Answering:
    """Return how well questions were answered.

    Args:
        found: An answer for each, empty for none.
        wanted: The answers that are right; none where the text has none.
        draws: Of the bootstrap.

    Example:
        >>> result = answering(["the port", "Rome"], [["port"], ["in Rome"]])
        >>> result.exact, round(result.f1, 4)
        (0.5, 0.8333)
    """
    table = scores(found, wanted)
    size = len(table)
    drawn = np.random.Generator(np.random.PCG64(SEED)).multinomial(size, np.full(size, 1 / size), draws)
    means = drawn @ table / size
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    intervals = {
        name: Interval(float(low[i]), float(high[i])) for i, name in enumerate(("exact", "f1"))
    }  # fmt: skip
    has = np.array([bool(right) for right in wanted])
    kinds = {
        name: (int(some.sum()), *(float(x) for x in table[some].mean(0)))
        for name, some in (("answered", has), ("unanswerable", ~has))
        if some.any()
    }
    exact_match, mean = table.mean(0)
    return Answering(float(exact_match), float(mean), intervals, kinds)  # type: ignore[arg-type]


def compare_answers(
    ours: Sequence[str], theirs: Sequence[str], wanted: Sequence[Sequence[str]], draws: int = DRAWS
) -> tuple[float, float]:
    """Return the difference of two systems' F1, ours less theirs, and how often chance alone would give as much.

    An approximate randomisation (Noreen 1989), two-sided: answers to a question change sides.

    Example:
        >>> compare_answers(["port"] * 20, ["Rome"] * 20, [["port"]] * 20)[0]
        1.0
    """
    each = scores(ours, wanted)[:, 1] - scores(theirs, wanted)[:, 1]
    signs = np.where(np.random.Generator(np.random.PCG64(SEED)).random((draws, len(each))) < 0.5, 1.0, -1.0)
    as_much = int((np.abs(signs @ each) >= abs(each.sum()) - 1e-9).sum())
    return float(each.mean()), (as_much + 1) / (draws + 1)


def best_threshold(
    margins: Sequence[float], found: Sequence[str], wanted: Sequence[Sequence[str]]
) -> tuple[float, float]:
    """Return the threshold with which answers have the best F1, and that F1.

    Args:
        margins: By how much each answer's score is above that of no answer; below the threshold there is none.
        found: The answers.
        wanted: Those that are right.

    Example:
        >>> best_threshold([3.0, -1.0], ["port", "Rome"], [["port"], []])
        (1.0, 1.0)
    """
    given = scores(found, wanted)[:, 1]
    none = scores([""] * len(found), wanted)[:, 1]
    values = np.asarray(margins, np.float64)
    order = np.argsort(-values, kind="stable")
    gains = np.concatenate([[0.0], np.cumsum((given - none)[order])])
    edges = values[order]
    # A threshold may stand only between two different margins, or outside all of them.
    between = np.concatenate([[edges[0] + 1], (edges[:-1] + edges[1:]) / 2, [edges[-1] - 1]])
    may = np.concatenate([[True], edges[:-1] != edges[1:], [True]])
    best = int(np.argmax(np.where(may, gains, -np.inf)))
    return float(between[best]), float((none.sum() + gains[best]) / len(values))
