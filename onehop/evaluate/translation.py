"""Evaluating translations: BLEU and chrF with signature and interval, by length, and against another system."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onehop.errors import DataError
from onehop.metrics import (
    Bucket,
    Interval,
    Paired,
    Score,
    bleu,
    by_length,
    chrf,
    interval,
    paired,
    tokenizer_for,
)
from onehop.tasks import DecodeConfig, Translator
from onehop.tasks.settings import Long


@dataclass(frozen=True)
class Rival:
    """Another system on the same lines.

    Args:
        name: As it was given.
        bleu: Its score.
        chrf: Its score.
        difference: Ours less its, with p-values.
    """

    name: str
    bleu: Score
    chrf: Score
    difference: Paired


@dataclass(frozen=True)
class Report:
    """The result of `evaluate`.

    Args:
        bleu: Corpus score.
        chrf: Corpus score.
        bleu_interval: 95 %, by bootstrap over lines.
        chrf_interval: The same.
        by_length: BLEU by words in the source.
        hypotheses: What was scored.
        lines: How many.
        dropped: Lines too long, left out as asked; they count as empty translations.
        cut: Lines too long, translated only in part, as asked.
        incomplete: Translations ended by the maximum length.
        seconds: Of translating.
        rival: The other system, if one was named.
    """

    bleu: Score
    chrf: Score
    bleu_interval: Interval
    chrf_interval: Interval
    by_length: list[Bucket]
    hypotheses: list[str]
    lines: int
    dropped: int
    cut: int
    incomplete: int
    seconds: float
    rival: Rival | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: what `onehop evaluate --json` prints."""
        buckets = [
            {"low": b.low, "high": b.high, "lines": b.lines, "bleu": _round(b.bleu.value)} for b in self.by_length
        ]
        result: dict[str, Any] = {
            "bleu": _round(self.bleu.value),
            "bleu_interval": [_round(self.bleu_interval.low), _round(self.bleu_interval.high)],
            "chrf": _round(self.chrf.value),
            "chrf_interval": [_round(self.chrf_interval.low), _round(self.chrf_interval.high)],
            "signature": self.bleu.signature,
            "chrf_signature": self.chrf.signature,
            "lines": self.lines,
            "dropped": self.dropped,
            "cut": self.cut,
            "incomplete": self.incomplete,
            "seconds": round(self.seconds, 2),
            "by_length": buckets,
        }
        if self.rival:
            result["against"] = {
                "name": self.rival.name,
                "bleu": _round(self.rival.bleu.value),
                "chrf": _round(self.rival.chrf.value),
                "bleu_difference": _round(self.rival.difference.bleu.delta),
                "bleu_p": self.rival.difference.bleu.p_value,
                "chrf_difference": _round(self.rival.difference.chrf.delta),
                "chrf_p": self.rival.difference.chrf.p_value,
            }
        return result


def _round(value: float) -> float:
    return round(value, 2)


def evaluate(
    translator: Translator,
    sources: Sequence[str],
    references: Sequence[str],
    *,
    decode: DecodeConfig | None = None,
    tokenize: str | None = None,
    long: Long = "error",
    where: str = "source",
    against: tuple[str, Sequence[str]] | None = None,
    tag: str = "",
) -> Report:
    """Translate the sources line by line and score them against one reference each.

    Lines are not split into sentences: a line and its reference are one unit.

    Args:
        translator: The model.
        sources: Lines.
        references: One for each.
        decode: How to search; default: as the package says.
        tokenize: sacreBLEU's tokenizer; default: by the target language.
        long: What to do with lines longer than the model's limit; a dropped one counts as an empty translation.
        where: Name of the source file, for messages.
        against: Name of another system, and its translations.
        tag: Put before each source: one of the tags of the training data; empty for none.

    Example:
        >>> report = evaluate(onehop.load("runs/first"), ["Hello."], ["Hallo."])
        >>> 0 <= report.chrf.value <= 100
        True
    """
    if len(sources) != len(references):
        raise DataError(
            f"{len(sources)} source lines but {len(references)} references", "Give one for each line.", where
        )
    tokenize = tokenize or tokenizer_for(translator.settings.target_language)
    started = time.monotonic()
    found = translator.translate(sources, decode, split=False, long=long, where=where, tag=tag)
    seconds = time.monotonic() - started
    texts = [translation.text for translation in found]
    return Report(
        bleu=bleu(texts, references, tokenize),
        chrf=chrf(texts, references),
        bleu_interval=interval(texts, references, "bleu", tokenize),
        chrf_interval=interval(texts, references, "chrf"),
        by_length=by_length(texts, references, [len(source.split()) for source in sources], tokenize),
        hypotheses=texts,
        lines=len(texts),
        dropped=sum(translation.dropped for translation in found),
        cut=sum(translation.cut > 0 for translation in found),
        incomplete=sum(not translation.complete for translation in found),
        seconds=seconds,
        rival=_rival(*against, texts, references, tokenize) if against else None,
    )


def _rival(name: str, theirs: Sequence[str], ours: Sequence[str], references: Sequence[str], tokenize: str) -> Rival:
    difference = paired(ours, theirs, references, tokenize)
    return Rival(name, bleu(theirs, references, tokenize), chrf(theirs, references), difference)
