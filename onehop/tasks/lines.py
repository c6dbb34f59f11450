"""`golden.jsonl`: a few inputs with outputs and log-probabilities, kept in the package; see `registry.Kind`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from onehop.errors import ModelError
from onehop.tasks.manifest import AGAIN, read_whole

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
        if number > LINES or not is_golden(value):
            raise ModelError("damaged: not a golden line", AGAIN, f"{path}:{number}")
        found.append(value)
    return tuple(found)


def are_numbers(values: Any) -> bool:
    """Whether a value is a list of finite numbers with a fraction, as JSON tells them."""
    return isinstance(values, list) and all(type(number) is float and isfinite(number) for number in values)
