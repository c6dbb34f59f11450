"""`onehop search`: the texts of a collection that are nearest in meaning to each of some others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from onehop.cli.inputs import CHUNK, parts, texts_of
from onehop.cli.options import AllowDrift, AllowPickle, Device, Long, Precision, TextColumns, Threads
from onehop.cli.streams import written
from onehop.errors import STDIN


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
    text_columns: TextColumns = None,
    long: Long = "error",
    allow_drift: AllowDrift = False,
    allow_pickle: AllowPickle = False,
    precision: Precision = "float32",
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Search by meaning: for each text, a line of JSON with the nearest texts of the collection, the nearest first.

    All vectors are compared, so what is found is exact. A text that --long drops is not found, and finds nothing.
    """
    from onehop.cli.console import tell
    from onehop.cli.options import faster, known_precision, policy, tell_drift, use
    from onehop.tasks import load_package
    from onehop.tasks.fates import Fates
    from onehop.tasks.index import indexed

    known_precision(precision)
    chosen, device = policy(long), use(threads, device)
    embedder = load_package(
        model, task="embed", allow_drift=allow_drift, allow_pickle=allow_pickle, device=device
    ).task  # fmt: skip
    tell_drift(embedder.drift)
    embedder = faster(embedder, precision)
    columns = text_columns or []
    with texts_of(embedder, collection, collection, columns, twice=False) as texts:
        placed = list(texts())
    places: list[str] = [where for where, _ in placed]
    known: list[Any] = [text for _, text in placed]
    nearest = indexed(embedder, known, long=chosen, where=places or collection, path=index, tell=tell)
    name, fates = STDIN if file == "-" else file, Fates()
    with texts_of(embedder, file, name, columns, twice=False) as texts, written(output) as out:
        for where, part in parts(texts(), CHUNK):
            asked = embedder.predict(part, long=chosen, where=where)
            vectors = [one.vector for one in asked if one.vector is not None]
            found = iter(_find(nearest, vectors, count))
            for one in asked:
                near = next(found) if one.vector is not None else []
                rows = [
                    {"text": known[other.place], "where": places[other.place], "cosine": round(other.cosine, 6)}
                    for other in near
                ]
                out.write(json.dumps({"text": one.text, "found": rows}, ensure_ascii=False) + "\n")
                fates.add(one)
            out.flush()
    for line in fates.told("texts"):
        tell(line)


def _find(nearest: Any, vectors: list[Any], count: int) -> list[list[Any]]:
    import torch

    return nearest.find(torch.stack(vectors), count) if vectors else []
