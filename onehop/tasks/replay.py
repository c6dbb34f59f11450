"""Whether a package still computes what it did when it was made: fingerprints and golden lines, done again.

It is done once for each package, version of the software, instruction set and kind of device, and what held is
remembered in the user's cache. A difference is *drift*.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from onehop.errors import OnehopError
from onehop.files import cache_folder, to_json
from onehop.tasks.names import GOLDEN
from onehop.tasks.registry import DECIDES, Task, kind
from onehop.tasks.settings import Precision
from onehop.text import Tokenizer

TOLERANCES: dict[Precision, float] = {"float32": 1e-3, "float16": 5e-2, "int8": 5e-2}  # of a log-probability


def find_drift(
    task: Task,
    lines: Sequence[Mapping[str, Any]],
    fingerprints: Mapping[str, Mapping[str, str]],
    tokenizers: Mapping[str, Tokenizer],
    precision: Precision,
) -> str:
    """Return the first difference from what was recorded, in words; the empty string where there is none.

    Args:
        task: The model as it was loaded.
        lines: Of `golden.jsonl`.
        fingerprints: Of the tokenizers, by the name of their file, as they were recorded.
        tokenizers: As they were loaded, by the same names.
        precision: Of the weights; it decides how far a log-probability may be off.
    """
    if told := changed(task, lines, fingerprints, tokenizers):
        return told
    try:
        return kind(task.task).replay(task, lines, TOLERANCES[precision])
    except OnehopError as error:
        return f"golden lines cannot be decoded: {error.problem}"


def changed(
    task: Task,
    lines: Sequence[Mapping[str, Any]],
    fingerprints: Mapping[str, Mapping[str, str]],
    tokenizers: Mapping[str, Tokenizer],
) -> str:
    """Return, in words, the first difference that needs no run of the model: of a tokenizer, or a setting that decides.

    Arguments are those of `find_drift`.
    """
    for name, recorded in fingerprints.items():
        found = tokenizers[name].fingerprint()
        parts = [part for part, value in found.items() if recorded.get(part) != value]
        if parts:
            return f"{name} encodes otherwise than when the package was made: {', '.join(parts)} of the fixed text"
    now = kind(task.task).decides(task.settings)
    for number, line in enumerate(lines, 1):
        for name, before in line.get(DECIDES, {}).items():
            if name in now and now[name] != before:
                return f"{GOLDEN}:{number}: {name} was {before!r} when the package was made, and is {now[name]!r}"
    return ""


# ------------------------------------------------------------------------------------------------ what is remembered


def circumstances(package: str, versions: Mapping[str, str], device: torch.device) -> dict[str, str]:
    """Return all that a replay's result depends on.

    Args:
        package: SHA-256 that `onehop.json` tells of itself.
        versions: Of the software that runs now.
        device: Where the weights are.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    used = {key: versions[key] for key in ("onehop", "torch", "tokenizers")}
    return {"package": package, **used, "device": device.type, "instructions": name}


def is_remembered(key: Mapping[str, str]) -> bool:
    """Return whether a replay under these circumstances held before."""
    try:
        return _place(key).read_text("utf-8") == to_json(key)
    except (OSError, ValueError):
        return False


def remember(key: Mapping[str, str]) -> None:
    """Note that a replay held; where the cache cannot be written it will be done again."""
    try:
        _place(key).parent.mkdir(parents=True, exist_ok=True)
        _place(key).write_text(to_json(key), "utf-8")  # half of it counts as nothing
    except (OSError, ValueError):
        return


def _place(key: Mapping[str, str]) -> Path:
    return cache_folder() / "replayed" / f"{hashlib.sha256(to_json(key).encode()).hexdigest()}.json"
