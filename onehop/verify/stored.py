"""What a package holds, against what the model does: golden lines, its bytes, and what rounding of weights costs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from onehop.data import evaluation_batches
from onehop.metrics import bleu, paired, tokenizer_for
from onehop.nn import Source
from onehop.tasks import Package, Precision, Translator, load_package, save_package
from onehop.tasks.adapters import adapter_of
from onehop.tasks.manifest import FORMAT
from onehop.tasks.names import CARD, MANIFEST
from onehop.tasks.replay import TOLERANCES
from onehop.tasks.translation_loss import shift_right
from onehop.text import EOS
from onehop.verify.numeric import Largest
from onehop.verify.report import Check
from onehop.verify.subject import Subject

ROUNDED: dict[Precision, float] = {"float32": 0.0, "float16": 0.01, "int8": 0.05}  # share of tokens
WORSE, CHANCE = 0.5, 0.05  # BLEU that rounding may cost; beyond, it fails unless chance would do as much this often


def golden_lines(package: Package) -> Check:
    """Golden lines: greedy outputs, and the log-probability of each token, as they were when the package was made."""
    tolerance, largest = TOLERANCES[package.precision], Largest()
    name, unit = "golden lines", "nats, of a token"
    if not package.golden:
        return Check(name, unit, tolerance, detail="the package has none")
    differences, near, told = 0, 0, ""
    for number, line in enumerate(package.golden, 1):
        gaps, gap = _replayed(package.translator, line)
        largest.see(gaps, f"golden line {number}")
        near += 0 < gap <= tolerance
        if gap > tolerance:
            differences += 1
            told = told or f"golden line {number}: another token, likelier by {gap:.2g} nats"
    found = largest.check(name, unit, tolerance)
    return Check(name, unit, tolerance, found.measured, differences, near, found.detail or told)


def _replayed(translator: Translator, line: Mapping[str, Any]) -> tuple[torch.Tensor, float]:
    """Return how far each log-probability is off, and by how much another token is likelier, if one is."""
    source, tokens = translator.source_tokenizer.encode(line["source"]), line["tokens"]
    best = translator.search([source], translator.settings.decode.searched(1))[0][0]
    again = [*best.tokens, EOS] if best.complete else best.tokens
    old, new = (_forced(translator, source, target) for target in (tokens, again))
    gap = 0.0
    if again != tokens:
        pairs = zip(tokens, again, strict=False)
        place = next((i for i, (one, other) in enumerate(pairs) if one != other), min(len(tokens), len(again)))
        ends = place >= min(len(tokens), len(again))  # one is the beginning of the other: another limit of length
        gap = torch.inf if ends else float((new[place] - old[place]).abs())
    if best.tokens == [t for t in tokens if t != EOS] and best.text != line["target"]:
        gap = torch.inf  # the same tokens, but another text: another tokenizer
    return old - torch.tensor(line["log_probs"], device=old.device), gap


def _forced(translator: Translator, source: list[int], target: list[int]) -> torch.Tensor:
    bare = target[:-1] if target[-1:] == [EOS] else target
    return translator.token_log_probs(next(evaluation_batches([source], [bare], 1)))[0, : len(target)]


def round_trip(package: Package) -> Check:
    """Save, load, save: the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "first", Path(folder) / "second"
        as_saved = package.manifest and package.manifest["format"] == FORMAT and not package.task.drift
        as_saved = as_saved and not adapter_of(package.task)  # which names its base by a path from where it is saved
        if package.path and (package.path / MANIFEST).is_file() and as_saved:
            first = package.path
        else:  # never saved (or by others), or in the form of another version, or with drift, which is written down
            save_package(package, first)
        save_package(load_package(first, allow_drift=True), second)
        names = sorted({path.name for path in second.iterdir()} - {CARD} | {MANIFEST})
        names += [CARD] if (first / CARD).is_file() else []
        differ = [name for name in names if _bytes(first / name) != _bytes(second / name)]
    detail = f"{', '.join(differ)} changed" if differ else ""
    return Check("save, load, save", "files that changed", 0, float(len(differ)), len(differ), detail=detail)


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def rounding(subject: Subject, rounded: Translator, precision: Precision) -> Check:
    """Precision against float32: likeliest tokens behind the same beginnings, logits, and BLEU where it is known.

    Args:
        subject: The float32 model and its lines.
        rounded: The same model with rounded weights.
        precision: Of the rounded weights.
    """
    tokens, agree, largest = 0, 0, Largest()
    for batch in subject.forced():
        real = torch.arange(batch.target.size(1), device=batch.target.device) < batch.target_lengths.unsqueeze(1)
        with torch.inference_mode():
            one, other = (_logits(translator.model, batch)[real] for translator in (subject.translator, rounded))
        tokens += len(one)
        agree += int((one.argmax(-1) == other.argmax(-1)).sum())
        largest.see(one - other, "")
    values = {"token_agreement": agree / tokens, "largest_logit_difference": largest.value}
    share, worse, told = 1 - agree / tokens if largest.value < torch.inf else torch.nan, False, list[str]()
    name, tolerance = f"{precision} against float32", ROUNDED[precision]
    if not share <= tolerance:
        told.append(f"{tokens - agree:,} of {tokens:,} tokens are others")
    if subject.lines.references:
        values |= _bleu(subject, rounded, subject.lines.references)
        worse = values["bleu_difference"] < -WORSE and values["bleu_p"] < CHANCE
        told += [f"BLEU {values['bleu_difference']:+.2f}, p = {values['bleu_p']:.3f}"] if worse else []
    return Check(name, "share of tokens that are others", tolerance, share, int(worse), 0, "; ".join(told), values)


def _logits(model: Any, batch: Any) -> torch.Tensor:
    memory = model.encode(Source(batch.source, batch.source_lengths))
    return model.logits(model.decode(shift_right(batch.target), model.start(memory))[0]).float()


def _bleu(subject: Subject, rounded: Translator, references: tuple[str, ...]) -> dict[str, float]:
    """Return BLEU of the rounded weights, how it differs, and how often chance alone would give as much."""
    decode, sources = subject.translator.settings.decode, subject.lines.sources
    ours, full = (
        [candidates[0].text for candidates in translator.search(sources, decode.searched(decode.beam_size))]
        for translator in (rounded, subject.translator)
    )
    tokenize = tokenizer_for(subject.translator.settings.target_language)
    difference = paired(ours, full, references, tokenize).bleu
    value = bleu(ours, references, tokenize).value
    return {"bleu": value, "bleu_difference": difference.delta, "bleu_p": difference.p_value}
