"""`golden.jsonl`: a few inputs with outputs and log-probabilities, kept in the package; see `registry.Kind`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from onehop.errors import ModelError
from onehop.tasks.manifest import AGAIN, read_whole
from onehop.tasks.names import GOLDEN
from onehop.tasks.registry import DECIDES

Short = tuple[str, list[int]]  # a text and its tokens
LINES, TOKENS = 64, 1024  # most lines of a file, and most tokens of one on either side: they are replayed at load


def to_lines(lines: Sequence[Mapping[str, Any]]) -> bytes:
    """Return golden lines as `golden.jsonl` holds them."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    return text.encode("utf-8", "surrogatepass")


def read_golden(path: Path, is_golden: Callable[[Any], bool]) -> tuple[dict[str, Any], ...]:
    """Return the lines of a file.

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
        if number > LINES or not is_golden(value) or not isinstance(value.get(DECIDES, {}), dict):
            raise ModelError("damaged: not a golden line", AGAIN, f"{path}:{number}")
        found.append(value)
    return tuple(found)


def are_numbers(values: Any) -> bool:
    """Whether a value is a list of finite numbers with a fraction, as JSON tells them."""
    return isinstance(values, list) and all(type(number) is float and isfinite(number) for number in values)


def longest(task: Any) -> int:
    """Return the most tokens of a golden text."""
    return min(TOKENS, task.settings.text.max_length)


def short_texts(task: Any, texts: Sequence[str], encode: Callable[[Sequence[str]], list[list[int]]]) -> list[Short]:
    """Return the texts that can be golden ones, with their tokens: of the first 64 those that are not too long."""
    rows, most = encode(texts[:LINES]), longest(task)
    return [(text, row) for text, row in zip(texts, rows, strict=False) if 0 < len(row) <= most]


def too_long(task: Any, rows: Sequence[list[int]]) -> str:
    """Say which golden text of a package is longer than its model reads; empty if none is."""
    most = longest(task)
    for number, row in enumerate(rows, 1):
        if len(row) > most:
            return f"{GOLDEN}:{number}: the text has {len(row):,} tokens, where it may have {most:,}"
    return ""
