"""A worker of `onehop bench`: Onehop's runtime, or its reference path.

python run_onehop.py FOLDER THREADS float32|bfloat16|int8|reference

FOLDER/model names the model.
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path
from typing import Any

import torch
from serve import Run, serve

from onehop.tasks import load


def of_translator(translator: Any) -> Run:
    """Return what translates tokens with an end mark into tokens without."""

    def run(inputs: list[Any], request: dict[str, Any]) -> list[Any]:
        sources = [source[:-1] for source in inputs]  # its own end mark is put there again
        order = sorted(range(len(sources)), key=lambda place: -len(sources[place]))
        found: list[Any] = [None] * len(sources)
        for first in range(0, len(order), request["batch"]):  # as many sentences at once as the others have
            places = order[first : first + request["batch"]]
            longest = len(sources[places[0]]) + 1
            changes = {
                "beam_size": request["beam"], "batch_tokens": len(places) * request["beam"] * longest,
                "length_penalty": "average",
            }  # fmt: skip
            if request.get("length"):
                changes |= {"min_length": request["length"], "max_length": request["length"]}
            decode = translator.settings.decode.model_copy(update=changes)
            for place, one in zip(places, translator.search([sources[i] for i in places], decode), strict=True):
                found[place] = one[0].tokens
        return found

    return run


def main() -> None:
    """Load and serve."""
    folder, threads, precision = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(threads)
    began = time.perf_counter()
    task: Any = load((folder / "model").read_text())
    if precision != "reference":
        task = task.fast(precision)
    gc.freeze()  # as the command line does
    if task.task == "translation":
        serve(of_translator(task), began)
        return

    def run(inputs: list[Any], request: dict[str, Any]) -> list[Any]:
        rows = [row[1:-1] if request["framed"] else row for row in inputs]
        return [values.flatten().tolist() for values in getattr(task, request["read"])(rows)]

    serve(run, began)


if __name__ == "__main__":
    main()
