"""The vectors of a collection, kept in a file so that they are made once: safetensors, and what they were made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from onehop.errors import DataError, FileError
from onehop.files import new_file
from onehop.tasks.adapters import fingerprint, merged
from onehop.tasks.embedding import Embedder
from onehop.tasks.nearest import Nearest
from onehop.tasks.settings import Long
from onehop.tasks.tensor_file import write_tensors
from onehop.text.places import Where, named, places_of

VECTORS, LOST, MADE_OF = "vectors", "lost", "made_of"
TOGETHER = 4_096  # texts embedded at once
REMEDY = "Name another file, or remove this one."
Tell = Callable[[str], None]


def indexed(
    embedder: Embedder, texts: Sequence[str], *, long: Long = "error", where: Where = "input", path: Path | None = None,
    tell: Tell = lambda text: None,
) -> Nearest:  # fmt: skip
    """Return the vectors of a collection, ready to be searched.

    Args:
        embedder: The model.
        texts: The collection, at least one text.
        long: What to do with texts longer than the model's limit; one that is dropped is never found.
        where: Name of the collection, or the place of each text in it, for messages.
        path: Of a file that keeps the vectors. They are read from it where they were made of the same texts by the same
            model in the same way, and written to it otherwise.
        tell: Hears which of both was done.

    Raises:
        DataError: There is no text.
        FileError: The file is not one that this wrote, or cannot be written.
    """
    if not texts:
        raise DataError("no text to search in", "Give a file of texts.", named(where))
    if path and (path.is_dir() or not path.parent.is_dir()):
        raise FileError("cannot write: no file can be there", "Name another file.", str(path))
    made_of = _made_of(embedder, texts, long) if path else torch.empty(0)
    kept = _read(path) if path and path.exists() else {}
    if kept and torch.equal(kept[MADE_OF], made_of):
        nearest, lost = Nearest(kept[VECTORS]), kept[LOST]
        tell(f"index: {len(texts):,} vectors of {path}")
    else:
        if kept:
            tell(f"index: {path} was made by another model, of other texts, or otherwise, and is made anew")
        vectors, lost = _embedded(embedder, texts, long, where)
        nearest = Nearest(vectors)
        if path:
            with new_file(path) as whole:
                write_tensors(whole, {VECTORS: nearest.vectors, LOST: lost, MADE_OF: made_of})
            tell(f"index: {len(texts):,} vectors written to {path}")
    for done, which in (("left out", nearest.nothing), ("cut", ~nearest.nothing & (lost > 0))):
        if count := int(which.sum()):
            missing = f"{int(lost[which].sum()):,} tokens not read"
            tell(f"{count:,} texts of the collection were too long and {done}, {missing}")
    return nearest


def _embedded(embedder: Embedder, texts: Sequence[str], long: Long, where: Where) -> tuple[Tensor, Tensor]:
    """Return vectors, zeros for what was dropped, and how many tokens of each text were not read; equal texts once."""
    first: dict[str, int] = {}
    places = places_of(where, len(texts))
    for place, text in enumerate(texts):
        first.setdefault(text, place)
    vectors, lost = torch.zeros(len(texts), embedder.model.encoder.dim), torch.zeros(len(texts), dtype=torch.int64)
    unique = list(first.items())
    for start in range(0, len(unique), TOGETHER):
        part = unique[start : start + TOGETHER]
        found = embedder.predict([text for text, _ in part], long=long, where=[places[place] for _, place in part])
        for (_, place), one in zip(part, found, strict=True):
            lost[place] = one.lost
            if one.vector is not None:
                vectors[place] = one.vector
    if len(unique) < len(texts):
        numbers = torch.tensor([first[text] for text in texts])
        vectors, lost = vectors[numbers], lost[numbers]
    return vectors, lost


def _made_of(embedder: Embedder, texts: Sequence[str], long: Long) -> Tensor:
    """Return the SHA-256 of all that vectors depend on, as 32 bytes."""
    digest, settings = hashlib.sha256(fingerprint(merged(embedder.reference).model).encode()), embedder.settings
    speed = embedder.speed.precision if embedder.speed else "float32"
    digest.update(f"{embedder.tokenizer.to_json()} {settings.pooling} {settings.text} {long} {speed}".encode())
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of an index.

    Raises:
        FileError: It is none.
    """
    try:
        kept = load_file(path)
    except (SafetensorError, OSError) as error:
        raise FileError(f"no index of vectors: {error}", REMEDY, str(path)) from error
    right = kept.keys() == {VECTORS, LOST, MADE_OF} and kept[VECTORS].dim() == 2
    if not right or kept[LOST].shape != kept[VECTORS].shape[:1] or kept[MADE_OF].dtype != torch.uint8:
        raise FileError("no index of vectors", REMEDY, str(path))
    return kept
