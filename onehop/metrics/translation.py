"""Scores of translations against one reference each: BLEU, chrF, TER, how sure they are, which system is better.

The scores and their signatures are sacrebleu's (Post 2018). Intervals and tests resample the lines, 1,000
times with a fixed seed, over sacrebleu's counts for each line, so that they are the same in every run. The counts of
the last few corpora are kept, since a score, its interval and a test need the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from onehop.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

MetricName = Literal["bleu", "chrf", "ter"]

RESAMPLES = 1000
SEED = 12345

# Those of sacrebleu's that need no download and no MeCab.
TOKENIZERS = ("13a", "char", "intl", "none", "zh")

# Longest source, in words, of each bucket but the last.
BUCKETS = (5, 10, 20, 40)


@dataclass(frozen=True)
class Score:
    """A corpus score, and how it was computed.

    BLEU and chrF go from 0 to 100, and higher is better. TER is edits for each hundred words of the reference: 0 is
    perfect, lower is better, and it may exceed 100.

    Attributes:
        name: sacrebleu's name of the metric: `BLEU`, `chrF2` or `TER`.
        value: The score.
        signature: sacrebleu's signature, which makes the score comparable with those of others.
    """

    name: str
    value: float
    signature: str


@dataclass(frozen=True)
class Interval:
    """Where 95 % of resampled scores lie."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How two systems differ in one metric.

    Attributes:
        delta: Score of the first less that of the second; where the first is better it is positive for BLEU and
            chrF, negative for TER.
        p_value: How often chance alone would give a difference as large, either way; from 1/1001 to 1.
    """

    delta: float
    p_value: float


@dataclass(frozen=True)
class Paired:
    """The differences between two systems on the same lines."""

    bleu: Difference
    chrf: Difference
    ter: Difference


@dataclass(frozen=True)
class Bucket:
    """BLEU of the lines whose source has `low` to `high` words; `high` is None where there is no bound."""

    low: int
    high: int | None
    lines: int
    bleu: Score


def bleu(hypotheses: Sequence[str], references: Sequence[str], tokenize: str = "13a") -> Score:
    """Return corpus BLEU (Papineni et al. 2002): n-gram precision to order 4, exponential smoothing.

    Args:
        hypotheses: Translations, a line each, detokenized.
        references: One reference for each.
        tokenize: sacrebleu's tokenizer, one of `TOKENIZERS`; see `tokenizer_for`.

    Raises:
        DataError: The counts differ, or are zero.
        ConfigError: The tokenizer is unknown.

    Example:
        >>> score = bleu(["The dog sleeps in the sun."], ["The dog sleeps in the sun."])
        >>> round(score.value, 2)
        100.0
    """
    return _score("bleu", tokenize, hypotheses, references)


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Return corpus chrF2 (Popović 2015): F-score of character n-grams to order 6, recall weighing double.

    Args:
        hypotheses: Translations, a line each, detokenized.
        references: One reference for each.

    Raises:
        DataError: The counts differ, or are zero.

    Example:
        >>> chrf(["The dog sleeps."], ["The dog sleeps."]).value
        100.0
    """
    return _score("chrf", "", hypotheses, references)


def ter(hypotheses: Sequence[str], references: Sequence[str], tokenize: str = "13a") -> Score:
    """Return corpus TER (Snover et al. 2006): edits for each hundred words of the references; lower is better.

    An edit inserts, deletes or replaces a word, or moves a run of words. Case is ignored, as Tercom does. Words lie
    between spaces; Chinese and Japanese characters are words of their own where BLEU counts characters too.

    Args:
        hypotheses: Translations, a line each, detokenized.
        references: One reference for each.
        tokenize: BLEU's tokenizer, see `tokenizer_for`: with `zh` and `char`, Chinese and Japanese are taken apart.

    Raises:
        DataError: The counts differ, or are zero.
        ConfigError: The tokenizer is unknown.

    Example:
        >>> ter(["the dog sleeps in sun"], ["the dog sleeps in the sun"]).value  # one of six words is missing
        16.666666666666664
    """
    return _score("ter", tokenize, hypotheses, references)


def interval(
    hypotheses: Sequence[str],
    references: Sequence[str],
    metric: MetricName = "bleu",
    tokenize: str = "13a",
) -> Interval:
    """Return the 95 % bootstrap interval of a corpus score (Koehn 2004): percentiles over resampled lines.

    Args:
        hypotheses: Translations, a line each, detokenized.
        references: One reference for each.
        metric: Which score.
        tokenize: sacrebleu's tokenizer, for BLEU and TER.

    Raises:
        DataError: The counts differ, or are zero.
        ConfigError: The tokenizer is unknown.

    Example:
        >>> interval(["The dog sleeps."] * 9, ["The dog sleeps."] * 9, "chrf")
        Interval(low=100.0, high=100.0)
    """
    scorer = _scorer(metric, tokenize)
    counts = _counts(metric, tokenize, hypotheses, references)
    low, high = np.percentile(_values(scorer, _resample(counts)), [2.5, 97.5])
    return Interval(float(low), float(high))


def paired(first: Sequence[str], second: Sequence[str], references: Sequence[str], tokenize: str = "13a") -> Paired:
    """Test whether two systems differ, by paired bootstrap (Koehn 2004; Riezler and Maxwell 2005), two-sided.

    Both systems are resampled on the same lines; the p-value is the share of resamples in which the
    difference, moved to a mean of zero, is as large as the one found. Unlike in sacrebleu's own test, equal
    systems get 1.

    Args:
        first: Translations of the first system, a line each, detokenized.
        second: Those of the second.
        references: One reference for each line.
        tokenize: sacrebleu's tokenizer, for BLEU and TER.

    Raises:
        DataError: The counts differ, or are zero.
        ConfigError: The tokenizer is unknown.

    Example:
        >>> paired(["A cat."], ["A cat."], ["A cat."]).chrf
        Difference(delta=0.0, p_value=1.0)
    """
    metrics: tuple[MetricName, ...] = ("bleu", "chrf", "ter")
    return Paired(*(_difference(metric, tokenize, first, second, references) for metric in metrics))


def by_length(
    hypotheses: Sequence[str],
    references: Sequence[str],
    source_lengths: Sequence[int],
    tokenize: str = "13a",
) -> list[Bucket]:
    """Return BLEU by length of the source (at most 5, 10, 20, 40 words, and longer); no bucket is empty.

    Args:
        hypotheses: Translations, a line each, detokenized.
        references: One reference for each.
        source_lengths: Words in the source of each.
        tokenize: sacrebleu's tokenizer.

    Raises:
        DataError: The counts differ, or are zero.
        ConfigError: The tokenizer is unknown.

    Example:
        >>> [(b.low, b.high, b.lines) for b in by_length(["A.", "B.", "C."], ["A.", "B.", "C."], [1, 60, 2])]
        [(0, 5, 2), (41, None, 1)]
    """
    _check(hypotheses, references)
    if len(source_lengths) != len(hypotheses):
        raise DataError(
            f"{len(hypotheses)} translations but {len(source_lengths)} source lengths",
            "Give the length of each source.",
        )
    buckets: list[Bucket] = []
    for low, high in zip((0, *(bound + 1 for bound in BUCKETS)), (*BUCKETS, None), strict=True):
        rows = [i for i, n in enumerate(source_lengths) if low <= n and (high is None or n <= high)]
        if rows:
            score = bleu([hypotheses[i] for i in rows], [references[i] for i in rows], tokenize)
            buckets.append(Bucket(low, high, len(rows), score))
    return buckets


def tokenizer_for(language: str) -> str:
    """Return the name of sacrebleu's tokenizer for a target language, such as `de` or `zh-Hans`.

    Languages written without spaces are scored by character, Chinese by sacrebleu's `zh`, others by `13a`.

    Example:
        >>> tokenizer_for("de"), tokenizer_for("zh-Hans"), tokenizer_for("ja")
        ('13a', 'zh', 'char')
    """
    base = re.split("[-_]", language, maxsplit=1)[0].lower()
    if base in ("zh", "yue"):
        return "zh"
    return "char" if base in ("ja", "km", "lo", "my", "th") else "13a"


# ------------------------------------------------------------------------------------------------ scoring


def _scorer(metric: MetricName, tokenize: str) -> Metric:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    if metric == "chrf":
        return CHRF()
    if tokenize not in TOKENIZERS:
        hint = nearest(tokenize, TOKENIZERS)
        raise ConfigError(
            f"unknown BLEU tokenizer {tokenize!r}" + (f"; {hint}" if hint else ""),
            f"Use one of {', '.join(TOKENIZERS)}.",
        )
    if metric == "ter":
        characters = tokenize in ("char", "zh")
        return TER(normalized=characters, asian_support=characters)
    # Without `force`, many lines that end in " ." bring a warning that names an option Onehop does not have.
    return BLEU(tokenize=tokenize, force=True)


def _check(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    if len(hypotheses) != len(references):
        raise DataError(
            f"{len(hypotheses)} translations but {len(references)} references",
            "Give one reference for each line.",
        )
    if not hypotheses:
        raise DataError("no lines to score", "Give at least one line.")


def _score(metric: MetricName, tokenize: str, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    counts, signature = _counted(metric, tokenize, hypotheses, references)
    [value] = _values(_scorer(metric, tokenize), counts.sum(0)[None])
    return Score({"bleu": "BLEU", "chrf": "chrF2", "ter": "TER"}[metric], float(value), signature)


# ------------------------------------------------------------------------------------------------ resampling


def _counts(
    metric: MetricName, tokenize: str, hypotheses: Sequence[str], references: Sequence[str]
) -> NDArray[np.float64]:
    return _counted(metric, tokenize, hypotheses, references)[0]


def _counted(
    metric: MetricName, tokenize: str, hypotheses: Sequence[str], references: Sequence[str]
) -> tuple[NDArray[np.float64], str]:
    """Return what sacrebleu counts in each line, and its signature."""
    _check(hypotheses, references)
    return _extracted(metric, "" if metric == "chrf" else tokenize, tuple(hypotheses), tuple(references))


@lru_cache(maxsize=16)
def _extracted(
    metric: MetricName, tokenize: str, hypotheses: tuple[str, ...], references: tuple[str, ...]
) -> tuple[NDArray[np.float64], str]:
    scorer = _scorer(metric, tokenize)
    found: Any = scorer._extract_corpus_statistics(hypotheses, [references])  # pyright: ignore[reportPrivateUsage]
    counts = np.array(found, dtype=np.float64)
    counts.setflags(write=False)
    return counts, scorer.get_signature().format()


def _values(scorer: Metric, sums: NDArray[np.float64]) -> NDArray[np.float64]:
    rows: list[Any] = sums.tolist()
    return np.array([scorer._compute_score_from_stats(row).score for row in rows])  # pyright: ignore[reportPrivateUsage]


def _resample(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    # Sums of whole numbers in float64 are exact, hence alike on every machine.
    lines = len(counts)
    random = np.random.default_rng(SEED)
    draws = (np.bincount(random.integers(lines, size=lines), minlength=lines) for _ in range(RESAMPLES))
    return np.stack([draw.astype(np.float64) @ counts for draw in draws])


def _difference(
    metric: MetricName, tokenize: str, first: Sequence[str], second: Sequence[str], references: Sequence[str]
) -> Difference:
    scorer = _scorer(metric, tokenize)
    counts = [_counts(metric, tokenize, hypotheses, references) for hypotheses in (first, second)]
    found, *_ = _values(scorer, counts[0].sum(0)[None]) - _values(scorer, counts[1].sum(0)[None])
    one, two = (_values(scorer, sums) for sums in np.split(_resample(np.hstack(counts)), 2, axis=1))
    chance = np.abs(one - two - (one - two).mean())
    extreme = np.count_nonzero(chance >= abs(found))
    return Difference(float(found), float((extreme + 1) / (RESAMPLES + 1)))
