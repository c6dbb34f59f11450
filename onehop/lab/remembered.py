"""Which checks passed when they were last run with this very code, in the user's cache.

What was measured with other sources of Onehop, or another torch, says nothing about these, and is forgotten.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

import onehop
from onehop.errors import FileError
from onehop.files import cache_folder, to_json, write_text
from onehop.lab.measured import Result


def place() -> Path:
    """Return the file of what was run with these sources and this torch."""
    digest = hashlib.sha256(torch.__version__.encode())
    for path in sorted(Path(onehop.__file__).parent.rglob("*")):
        if path.suffix in (".py", ".toml"):
            digest.update(path.read_bytes())
    return cache_folder() / "lab" / f"{digest.hexdigest()}.json"


def recall() -> dict[str, dict[str, bool]]:
    """Return whether each check passed, by row and tier; only those that were run.

    Example:
        >>> isinstance(recall(), dict)
        True
    """
    path = place()
    try:
        held: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):  # never run, or damaged: it can be run again
        return {}
    return held if isinstance(held, dict) else {}


def remember(results: Iterable[Result]) -> None:
    """Keep what was found, beside what was found before."""
    held = recall()
    for result in results:
        held.setdefault(result.row, {})[result.tier] = result.passed
    with suppress(OSError, FileError):  # a cache that cannot be written only forgets
        path = place()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, to_json(held))
