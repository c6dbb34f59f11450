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

from onehop.data import evaluation_batches
from onehop.errors import OnehopError
from onehop.files import cache_folder, to_json
from onehop.tasks.golden import TOKENS, greedy
from onehop.tasks.names import GOLDEN
from onehop.tasks.settings import Precision
from onehop.tasks.translation import Translator
from onehop.text import EOS, Tokenizer

TOLERANCES: dict[Precision, float] = {"float32": 1e-3, "float16": 5e-2, "int8": 5e-2}  # of a log-probability
BATCH_TOKENS = 2048


def find_drift(
    translator: Translator,
    lines: Sequence[Mapping[str, Any]],
    fingerprints: Mapping[str, Mapping[str, str]],
    tokenizers: Mapping[str, Tokenizer],
    precision: Precision,
) -> str:
    """Return the first difference from what was recorded, in words; the empty string where there is none.

    Args:
        translator: The model as it was loaded.
        lines: Of `golden.jsonl`.
        fingerprints: Of the tokenizers, by the name of their file, as they were recorded.
        tokenizers: As they were loaded, by the same names.
        precision: Of the weights; it decides how far a log-probability may be off.
    """
    for name, recorded in fingerprints.items():
        found = tokenizers[name].fingerprint()
        parts = [part for part, value in found.items() if recorded.get(part) != value]
        if parts:
            return f"{name} encodes otherwise than when the package was made: {', '.join(parts)} of the fixed text"
    try:
        return _replayed(translator, lines, TOLERANCES[precision])
    except OnehopError as error:
        return f"golden lines cannot be decoded: {error.problem}"


@torch.inference_mode()
def _replayed(translator: Translator, lines: Sequence[Mapping[str, Any]], tolerance: float) -> str:
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
