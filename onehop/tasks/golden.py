"""Translation packages: golden lines are greedy outputs with the log-probability of each token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from onehop.data import evaluation_batches
from onehop.tasks.lines import LINES, TOKENS, are_numbers
from onehop.tasks.names import GOLDEN, JOINT, SOURCE, TARGET
from onehop.tasks.registry import Kind
from onehop.tasks.settings import DecodeConfig, TranslationSettings
from onehop.tasks.translation import Translator
from onehop.text import EOS, Tokenizer

BATCH_TOKENS = 2048


def golden(translator: Translator, sources: Sequence[str]) -> list[dict[str, Any]]:
    """Return greedy outputs, with the log-probability of each token, end mark included.

    Sources of more than 1,024 tokens, and those after the 64th, are left out; an output has at most 1,024 tokens.
    """
    decode = greedy(translator)
    lines: list[dict[str, Any]] = []
    for source in sources[:LINES]:
        tokens = translator.source_tokenizer.encode(source)
        if len(tokens) > TOKENS:
            continue
        best = translator.search([tokens], decode)[0][0]
        target = [*best.tokens, EOS] if best.complete else best.tokens
        forced = translator.token_log_probs(next(evaluation_batches([tokens], [best.tokens], 1)))[0].tolist()
        rounded = [round(value, 5) for value in forced[: len(target)]]
        lines.append({"source": source, "target": best.text, "tokens": target, "log_probs": rounded})
    return lines


def greedy(translator: Translator) -> DecodeConfig:
    """Return how golden lines are decoded: greedily, to no more than 1,024 tokens."""
    decode = translator.settings.decode.searched(1)
    longest = decode.max_length or translator.settings.text.max_length + 1
    return decode.model_copy(update={"max_length": TOKENS}) if longest > TOKENS else decode


def is_golden(translator: Translator, value: Any) -> bool:
    """Whether a value can be a golden line of this model: its tokens are of its vocabulary."""
    vocab_size = translator.target_tokenizer.vocab_size
    if not isinstance(value, dict) or not {"source", "target", "tokens", "log_probs"} <= value.keys():
        return False
    tokens, values = value["tokens"], value["log_probs"]
    return (
        isinstance(value["source"], str)
        and isinstance(value["target"], str)
        and isinstance(tokens, list)
        and isinstance(values, list)
        and 0 < len(tokens) == len(values) <= TOKENS
        and all(type(token) is int and 0 <= token < vocab_size for token in tokens)
        and EOS not in tokens[:-1]
        and are_numbers(values)
    )


@torch.inference_mode()
def replay(translator: Translator, lines: Sequence[Mapping[str, Any]], tolerance: float) -> str:
    """Decode the golden lines again, and return the first that comes out otherwise."""
    sources = [translator.source_tokenizer.encode(line["source"]) for line in lines]
    for number, source in enumerate(sources, 1):
        if len(source) > TOKENS:
            return f"{GOLDEN}:{number}: the source has {len(source):,} tokens, where a golden line has {TOKENS:,}"
    recorded = [line["tokens"] for line in lines]
    longest = max(map(len, recorded), default=1)
    decode = greedy(translator).model_copy(update={"max_length": longest, "batch_tokens": BATCH_TOKENS})
    again = [best[0] for best in translator.search(sources, decode)]
    found = [[*one.tokens, EOS] if one.complete else one.tokens for one in again]
    old, new = (_log_probs(translator, sources, tokens) for tokens in (recorded, found))
    for number, line in enumerate(lines):
        told = _difference(translator.target_tokenizer, line, old[number], found[number], new[number], tolerance)
        if told:
            return f"{GOLDEN}:{number + 1}: {told}"
    return ""


def _difference(
    tokenizer: Tokenizer,
    line: Mapping[str, Any],
    values: Sequence[float],
    found: Sequence[int],
    found_values: Sequence[float],
    tolerance: float,
) -> str:
    """Return how one line differs: `values` are of the recorded tokens, `found_values` of those found now."""
    tokens = line["tokens"]
    for place, (token, before, value) in enumerate(zip(tokens, line["log_probs"], values, strict=True)):
        piece = tokenizer.pieces([token])[0]
        if not abs(value - before) <= tolerance:
            return f"token {place + 1}, {piece!r}, has the log-probability {value:.5f}, not {before:.5f}"
        other = found[place] if place < len(found) else None
        if tokens[:place] == list(found[:place]) and other is not None and other != token:
            margin = found_values[place] - value
            if margin > tolerance:
                now = tokenizer.pieces([other])[0]
                return f"token {place + 1} is {now!r} ({found_values[place]:.5f}), not {piece!r} ({before:.5f})"
    text = tokenizer.decode(tokens)
    return "" if text == line["target"] else f"its tokens are the text {text[:80]!r}, not {line['target'][:80]!r}"


def _log_probs(translator: Translator, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> list[list[float]]:
    """Return the log-probability of each token of each target, its end mark included where it has one."""
    bare = [tokens[:-1] if tokens[-1:] == [EOS] else tokens for tokens in targets]
    found: list[list[float]] = [[] for _ in targets]
    for batch in evaluation_batches(sources, bare, BATCH_TOKENS):
        for place, values in zip(batch.pairs, translator.token_log_probs(batch).tolist(), strict=True):
            found[place] = values[: len(targets[place])]
    return found


# ------------------------------------------------------------------------------------------------ the package


def tokenizers(translator: Translator) -> dict[str, Tokenizer]:
    """Return the tokenizers by the names of their files."""
    if translator.joint:
        return {JOINT: translator.source_tokenizer}
    return {SOURCE: translator.source_tokenizer, TARGET: translator.target_tokenizer}


def lengths(settings: TranslationSettings) -> dict[str, int]:
    """Return the most tokens of a source, without its end mark, and of a target, with it."""
    longest = settings.text.max_length
    return {"source": longest, "target": settings.decode.max_length or longest + 1}


def build(settings: TranslationSettings, files: Mapping[str, Tokenizer]) -> Translator:
    """Return a translator with fresh weights."""
    joint = files.get(JOINT)
    return Translator.build(settings, joint or files[SOURCE], joint or files[TARGET])


def decides(settings: TranslationSettings) -> dict[str, Any]:
    """Return how it searches, and how it divides and joins paragraphs: golden lines are greedy, and no paragraphs."""
    languages = {"source_language": settings.source_language, "target_language": settings.target_language}
    search = settings.decode.model_dump(mode="json", exclude={"batch_tokens"})
    return {**search, "sentences": settings.text.sentences, **languages}


KIND = Kind(
    "translation", "translate", TranslationSettings, build, tokenizers, lengths, golden, is_golden, replay, decides
)  # fmt: skip
