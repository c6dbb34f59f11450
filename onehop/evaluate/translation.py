"""Evaluating translations: BLEU, chrF and TER with signature and interval, by length, and against another system."""

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
    ter,
    tokenizer_for,
)
from onehop.tasks import DecodeConfig, Translator
from onehop.tasks.fates import Fates, fates_of, to_dict
from onehop.tasks.settings import Long


@dataclass(frozen=True)
class System:
    """What a system made of the lines, and how; where only a file of its translations is known, the rest is None.

    Args:
        name: For the report.
        texts: A translation for each line.
        decode: How it searched or sampled.
        models: Whose probabilities were averaged; 1 but for an ensemble.
        fates: What became of those that were longer than the model's limit.
        incomplete: Translations ended by the maximum length.
        seconds: Of translating.
        drift: What the model does otherwise than when it was made, where that was allowed.
    """

    name: str
    texts: list[str]
    decode: DecodeConfig | None = None
    models: int | None = None
    fates: Fates | None = None
    incomplete: int | None = None
    seconds: float | None = None
    drift: str | None = None

    @property
    def empty(self) -> int:
        """Translations without text."""
        return sum(not text.strip() for text in self.texts)

    def to_dict(self) -> dict[str, Any]:
        """Return counts and settings as JSON values."""
        return {
            "empty": self.empty,
            **to_dict(self.fates),
            "incomplete": self.incomplete,
            "seconds": None if self.seconds is None else round(self.seconds, 2),
            "models": self.models,
            "decode": self.decode.model_dump() if self.decode else None,
            "drift": self.drift,
        }


@dataclass(frozen=True)
class Rival:
    """Another system on the same lines.

    Args:
        system: What it is.
        bleu: Its score.
        chrf: Its score.
        ter: Its score.
        difference: Ours less its, with p-values.
    """

    system: System
    bleu: Score
    chrf: Score
    ter: Score
    difference: Paired

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        result: dict[str, Any] = {"name": self.system.name}
        for metric in METRICS:
            difference = getattr(self.difference, metric)
            result[metric] = _round(getattr(self, metric).value)
            result |= {f"{metric}_difference": _round(difference.delta), f"{metric}_p": difference.p_value}
        return {**result, **self.system.to_dict()}


@dataclass(frozen=True)
class Report:
    """The result of `evaluate`.

    Args:
        bleu: Corpus score.
        chrf: Corpus score.
        ter: Corpus score; lower is better.
        bleu_interval: 95 %, by bootstrap over lines.
        chrf_interval: The same.
        ter_interval: The same.
        by_length: BLEU by words in the source.
        system: What was scored, with counts and settings.
        rival: The other system, if one was named.
    """

    bleu: Score
    chrf: Score
    ter: Score
    bleu_interval: Interval
    chrf_interval: Interval
    ter_interval: Interval
    by_length: list[Bucket]
    system: System
    rival: Rival | None = None

    @property
    def hypotheses(self) -> list[str]:
        """What was scored, a translation for each line."""
        return self.system.texts

    @property
    def lines(self) -> int:
        """How many lines were translated."""
        return len(self.system.texts)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: what `onehop evaluate --json` prints."""
        result: dict[str, Any] = {}
        for metric in METRICS:
            found: Interval = getattr(self, f"{metric}_interval")
            result[metric] = _round(getattr(self, metric).value)
            result[f"{metric}_interval"] = [_round(found.low), _round(found.high)]
        buckets = [
            {"low": b.low, "high": b.high, "lines": b.lines, "bleu": _round(b.bleu.value)} for b in self.by_length
        ]
        result |= {
            "signature": self.bleu.signature,
            "chrf_signature": self.chrf.signature,
            "ter_signature": self.ter.signature,
            "lines": self.lines,
            **self.system.to_dict(),
            "by_length": buckets,
        }
        return {**result, "against": self.rival.to_dict()} if self.rival else result


METRICS = ("bleu", "chrf", "ter")


def _round(value: float) -> float:
    return round(value, 2)


def run(
    translator: Translator,
    sources: Sequence[str],
    *,
    name: str = "model",
    decode: DecodeConfig | None = None,
    long: Long = "error",
    where: str = "source",
    tag: str = "",
) -> System:
    """Translate the sources line by line, not split into sentences, and count what became of them.

    Args:
        translator: The model.
        sources: Lines.
        name: Of the system, for the report.
        decode: How to search or sample; default: as the package says.
        long: What to do with lines longer than the model's limit; a dropped one counts as an empty translation.
        where: Name of the source file, for messages.
        tag: Put before each source: one of the tags of the training data; empty for none.

    Example:
        >>> run(onehop.load("runs/first"), ["Hello.", ""]).empty
        1
    """
    decode = decode or translator.settings.decode
    started = time.monotonic()
    found = translator.translate(sources, decode, split=False, long=long, where=where, tag=tag)
    return System(
        name=name,
        texts=[translation.text for translation in found],
        decode=decode,
        models=len(translator.models),
        fates=fates_of(found),
        incomplete=sum(not translation.complete for translation in found),
        seconds=time.monotonic() - started,
        drift=translator.drift or None,
    )


def evaluate(
    translator: Translator,
    sources: Sequence[str],
    references: Sequence[str],
    *,
    decode: DecodeConfig | None = None,
    tokenize: str | None = None,
    long: Long = "error",
    where: str = "source",
    against: System | None = None,
    tag: str = "",
) -> Report:
    """Translate the sources line by line and score them against one reference each.

    Lines are not split into sentences: a line and its reference are one unit.

    Args:
        translator: The model.
        sources: Lines.
        references: One for each.
        decode: How to search or sample; default: as the package says.
        tokenize: sacreBLEU's tokenizer; default: by the target language.
        long: What to do with lines longer than the model's limit; a dropped one counts as an empty translation.
        where: Name of the source file, for messages.
        against: Another system's translations of the same lines, from `run` or from anywhere.
        tag: Put before each source: one of the tags of the training data; empty for none.

    Example:
        >>> report = evaluate(onehop.load("runs/first"), ["Hello."], ["Hallo."], against=System("mine", ["Hallo."]))
        >>> 0 <= report.chrf.value <= 100
        True
    """
    if len(sources) != len(references):
        raise DataError(
            f"{len(sources)} source lines but {len(references)} references", "Give one for each line.", where
        )
    tokenize = tokenize or tokenizer_for(translator.settings.target_language)
    system = run(translator, sources, decode=decode, long=long, where=where, tag=tag)
    texts = system.texts
    return Report(
        bleu=bleu(texts, references, tokenize),
        chrf=chrf(texts, references),
        ter=ter(texts, references, tokenize),
        bleu_interval=interval(texts, references, "bleu", tokenize),
        chrf_interval=interval(texts, references, "chrf"),
        ter_interval=interval(texts, references, "ter", tokenize),
        by_length=by_length(texts, references, [len(source.split()) for source in sources], tokenize),
        system=system,
        rival=_rival(against, texts, references, tokenize) if against else None,
    )


def _rival(system: System, ours: Sequence[str], references: Sequence[str], tokenize: str) -> Rival:
    theirs = system.texts
    scores = bleu(theirs, references, tokenize), chrf(theirs, references), ter(theirs, references, tokenize)
    return Rival(system, *scores, paired(ours, theirs, references, tokenize))
