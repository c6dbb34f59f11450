"""Embedders as packages: golden lines are texts with their vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onehop.errors import ModelError
from onehop.tasks.embedding import Embedder, EmbedSettings
from onehop.tasks.lines import are_numbers, short_texts, too_long
from onehop.tasks.names import GOLDEN, JOINT
from onehop.tasks.registry import Kind
from onehop.text.pretrained import PretrainedTokenizer


def golden(embedder: Embedder, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the vector of each text; what is too long, and what comes after the 64th, is left out."""
    short = short_texts(embedder, texts, embedder.encode)
    found = embedder.vectors([row for _, row in short], 1)  # each alone
    return [
        {"source": text, "embedding": [round(value, 5) for value in values.tolist()]}
        for (text, _), values in zip(short, found, strict=True)
    ]


def is_golden(embedder: Embedder, value: Any) -> bool:
    """Whether a value can be a golden line of this model."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("source"), str)
        and are_numbers(value.get("embedding"))
        and len(value["embedding"]) == embedder.model.encoder.dim
    )


def replay(embedder: Embedder, lines: Sequence[Mapping[str, Any]], tolerance: float) -> str:
    """Embed the golden texts again, and return the first that comes out otherwise."""
    rows = embedder.encode([line["source"] for line in lines])
    if told := too_long(embedder, rows):
        return told
    for number, (line, values) in enumerate(zip(lines, embedder.vectors(rows), strict=True), 1):
        for place, (before, value) in enumerate(zip(line["embedding"], values.tolist(), strict=True), 1):
            if not abs(value - before) <= tolerance:
                return f"{GOLDEN}:{number}: number {place} of the vector is {value:.5f}, not {before:.5f}"
    return ""


def build(settings: EmbedSettings, files: Mapping[str, Any]) -> Embedder:
    """Return an embedder with fresh weights."""
    if not isinstance(files.get(JOINT), PretrainedTokenizer):
        raise ModelError(f"damaged: {JOINT} is not that of a pretrained model", "Copy the package again.")
    return Embedder.build(settings, files[JOINT])


KIND = Kind(
    "embed",
    "predict",
    EmbedSettings,
    build,
    lambda embedder: {JOINT: embedder.tokenizer},
    lambda settings: {"text": settings.text.max_length},
    golden,
    is_golden,
    replay,
)
