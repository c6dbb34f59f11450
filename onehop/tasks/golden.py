"""Golden lines: a few inputs with greedy outputs and the log-probability of each token, kept in the package."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from onehop.data import evaluation_batches
from onehop.errors import ModelError
from onehop.tasks.manifest import AGAIN, read_whole
from onehop.tasks.settings import DecodeConfig
from onehop.tasks.translation import Translator
from onehop.text import EOS

LINES, TOKENS = 64, 1024  # most lines of a file, and most tokens of one on either side: they are replayed at load


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


def to_lines(lines: Sequence[Mapping[str, Any]]) -> bytes:
    """Return golden lines as `golden.jsonl` holds them."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    return text.encode("utf-8", "surrogatepass")


def read_golden(path: Path, vocab_size: int) -> tuple[dict[str, Any], ...]:
    """Return the lines of a file, whose tokens must be of a vocabulary of this size.

    Raises:
        ModelError: One is no golden line, or there are more than can be.
    """
    found: list[dict[str, Any]] = []
    for number, line in enumerate(read_whole(path).split(b"\n"), 1):
        if not line:
            continue
        try:
            value = json.loads(line.decode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError) as error:
            raise ModelError("damaged: not a golden line", AGAIN, f"{path}:{number}") from error
        if number > LINES or not _is_golden(value, vocab_size):
            raise ModelError("damaged: not a golden line", AGAIN, f"{path}:{number}")
        found.append(value)
    return tuple(found)


def _is_golden(value: Any, vocab_size: int) -> bool:
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
        and all(type(number) is float and isfinite(number) for number in values)
    )
