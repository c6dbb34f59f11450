"""`onehop search`: the texts of a collection that are nearest in meaning to each of some others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onehop.cli.inputs import CHUNK, check_lengths, parts, texts_of
from onehop.cli.options import AllowDrift, AllowPickle, Device, Long, Precision, Threads
from onehop.cli.streams import written
from onehop.errors import STDIN, ConfigError

if TYPE_CHECKING:
    from onehop.tasks.embedding import Embedding
    from onehop.tasks.nearest import Near, Nearest


def search(
    model: Annotated[str, typer.Argument(help="A model that embeds: a run, a package, a checkpoint, or a hub id.")],
    collection: Annotated[str, typer.Argument(help="What is searched: a text a line, or a table.")],
    file: Annotated[
        str, typer.Argument(help="What is looked for: a text a line, or a table; - for standard input.")
    ] = "-",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write; default: standard output.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-k", min=1, help="Texts to find for each.")] = 5,
    index: Annotated[
        Path | None, typer.Option("--index", help="Keeps the collection's vectors, so that they are made once.")
    ] = None,
    text_columns: Annotated[
        list[str] | None, typer.Option("--text-column", help="Column of the collection. Default: found by name.")
    ] = None,
    query_columns: Annotated[
        list[str] | None, typer.Option("--query-column", help="Column of what is looked for. Default: found by name.")
    ] = None,
    long: Long = "error",
    allow_drift: AllowDrift = False,
    allow_pickle: AllowPickle = False,
    precision: Precision = "float32",
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Search by meaning: for each text, a line of JSON with the nearest texts of the collection, the nearest first.

    All vectors are compared, so what is found is exact. An empty text, or one that --long drops, is not found and
    finds nothing.
    """
    from onehop.cli.console import tell
    from onehop.cli.options import faster, known_precision, policy, tell_drift, use
    from onehop.tasks import load_package
    from onehop.tasks.embedding import one_text
    from onehop.tasks.fates import Fates
    from onehop.tasks.index import indexed

    if collection == file == "-":
        raise ConfigError("standard input twice", "Name a file of the collection, or of what is looked for.", "-")
    if output is not None and output == index:
        raise ConfigError("one file for the index and the output", "Name another for one of them.", "--index")
    known_precision(precision)
    chosen, device = policy(long), use(threads, device)
    embedder = load_package(
        model, task="embed", allow_drift=allow_drift, allow_pickle=allow_pickle, device=device
    ).task  # fmt: skip
    tell_drift(embedder.drift)
    embedder = faster(embedder, precision)
    with texts_of(embedder, collection, collection, text_columns or [], twice=False) as texts:
        placed = [(where, one_text(text, where)) for where, text in texts()]
    places: list[str] = [where for where, text in placed if text.strip()]
    known: list[str] = [text for _, text in placed if text.strip()]
    name, fates = STDIN if file == "-" else file, Fates()
    given = texts_of(embedder, file, name, query_columns or [], twice=chosen == "error")
    with given as texts, written(output) as out:
        if chosen == "error":
            check_lengths(embedder, texts(), name, CHUNK)
        nearest = indexed(embedder, known, long=chosen, where=places or collection, path=index, tell=tell)
        for where, part in parts(texts(), CHUNK):
            asked = embedder.predict(part, long=chosen, where=where)
            for one, near in zip(asked, _found(nearest, asked, count), strict=True):
                out.write(_line(one.text, near, known, places))
                fates.add(one)
            out.flush()
    for line in fates.told("texts"):
        tell(line)


def _found(nearest: Nearest, asked: Sequence[Embedding], count: int) -> list[list[Near]]:
    """Return what is nearest to each text; nothing to one that is empty or was dropped."""
    import torch

    vectors = [one.vector for one in asked if one.vector is not None and one.text.strip()]
    found = iter(nearest.find(torch.stack(vectors), count) if vectors else [])
    return [next(found) if one.vector is not None and one.text.strip() else [] for one in asked]


def _line(text: str, near: Sequence[Near], known: Sequence[str], places: Sequence[str]) -> str:
    rows = [
        {"text": known[one.place], "where": places[one.place], "cosine": round(one.cosine, 6)} for one in near
    ]  # fmt: skip
    return json.dumps({"text": text, "found": rows}, ensure_ascii=False) + "\n"
