"""Whether the fast runtime's outputs are those of the reference path, on trained models and real held-out text.

    python benchmarks/equality.py MODEL --source val.en.gz --target val.de.gz > RESULT.json    # a translator
    python benchmarks/equality.py MODEL --table stsb-en-dev.csv.gz > RESULT.json               # one that says numbers

A translator writes the lines by the reference path, by the runtime in float32, which must find the same tokens, and in
int8; BLEU is cased and detokenised. Of a line whose tokens differ, the two hypotheses' scores by the reference path are
compared: a near-tie is no error. A regressor's numbers are compared likewise, by Spearman's correlation with the truth.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sacrebleu
import torch

import onehop
from onehop.data.labelled import LabelColumns, open_labelled
from onehop.files import read_lines
from onehop.metrics.regression import numbers
from onehop.tasks import Translator

PATHS = ("reference", "float32", "int8")


def run(model: Any, path: str, work: Any) -> tuple[list[Any], float]:
    """Return what a path gives for some work, and the processor's seconds."""
    chosen = model if path == "reference" else model.fast(path)
    began = time.process_time()
    return work(chosen), time.process_time() - began


def of_translator(model: Translator, source: Sequence[str], target: Sequence[str], alpha: float | None) -> Any:
    """Compare translations."""
    decode = model.settings.decode
    decode = decode if alpha is None else decode.model_copy(update={"alpha": alpha})
    rows: dict[str, Any] = {}
    first: list[Any] = []
    for path in PATHS:
        found, seconds = run(model, path, lambda chosen: chosen.translate(source, decode, split=False))
        best = [one.candidates[0][0] for one in found]
        first = first or best
        apart = [(one, other) for one, other in zip(first, best, strict=True) if one.tokens != other.tokens]
        rows[path] = {
            "bleu": round(sacrebleu.corpus_bleu([one.text for one in found], [list(target)]).score, 2),
            "lines_that_differ": len(apart), "processor_seconds": round(seconds, 1),
            "largest_score_difference_of_those": round(max((abs(a.score - b.score) for a, b in apart), default=0.0), 6),
        }  # fmt: skip
    return {"lines": len(source), "beam": decode.beam_size, "alpha": decode.alpha, **rows}


def of_regressor(model: Any, table: str, texts: Sequence[str], label: str) -> Any:
    """Compare numbers."""
    given = list(open_labelled(table, LabelColumns(tuple(texts), label, numbers=True)).rows)
    asked = [row.texts[0] if len(row.texts) == 1 else tuple(row.texts) for row in given]
    truth = [float(row.label) for row in given]
    rows: dict[str, Any] = {}
    first: list[float] = []
    for path in PATHS:
        found, seconds = run(model, path, lambda chosen: chosen.predict(asked, long="cut"))
        values = [one.value for one in found]
        first = first or values
        largest = max(abs(one - other) for one, other in zip(first, values, strict=True))
        rows[path] = {
            "spearman": round(numbers(values, truth).spearman, 4), "largest_difference": float(f"{largest:.2g}"),
            "processor_seconds": round(seconds, 1),
        }  # fmt: skip
    return {"texts": len(asked), **rows}


def main() -> None:
    """Compare, and print one object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--source", type=Path)
    parser.add_argument("--target", type=Path)
    parser.add_argument("--alpha", type=float, help="exponent of the length penalty; default: the package's")
    parser.add_argument("--table")
    parser.add_argument("--texts", nargs="+", default=["1", "2"])
    parser.add_argument("--label", default="3")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model: Any = onehop.load(options.model)
    if isinstance(model, Translator):
        source, target = (list(read_lines(file)) for file in (options.source, options.target))
        found = of_translator(model, source, target, options.alpha)
    else:
        found = of_regressor(model, options.table, options.texts, options.label)
    print(json.dumps({"model": Path(options.model).name, "threads": options.threads, **found}))


if __name__ == "__main__":
    main()
