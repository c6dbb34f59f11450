"""What each training method is worth on little text: Multi30k, validation BLEU with and without it, at equal updates.

    python benchmarks/ablation.py --data DATA --updates 1500 --out runs/ablation [--variant r_drop ema ...]

Runs are short, which flatters what learns fast: regularisation (R-Drop, BPE-dropout, more dropout) pays later than
these runs end, so seconds stand beside every figure, and the full run decides. BLEU is cased and detokenised, on
all 1,014 validation sentences, greedy; the test set is not touched.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch

from onehop.train import Silent, make_recipe, train

BASE: dict[str, dict[str, Any]] = {
    "text": {"vocab_size": 6_000},
    "model": {"preset": "transformer-tiny", "norm": "pre"},
    "train": {
        "batch_tokens": 2_000, "schedule": "cosine", "learning_rate": 4e-3, "warmup": 300, "precision": "bfloat16",
        "save_every": 100, "seed": 1,
    },
    "evaluate": {"sentences": 1_014},
}  # fmt: skip

VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "float32": {"train.precision": "float32"},
    "packing": {"train.packing": True},
    "r_drop": {"train.r_drop": 5.0},
    "ema": {"train.ema": 0.995},
    "average": {"train.average": 5},
    "bpe_dropout": {"text.bpe_dropout": 0.1},
    "unigram": {"text.algorithm": "unigram"},
    "wordpiece": {"text.algorithm": "wordpiece"},
    "no dropout": {"model.dropout": 0.0},
    "attention_dropout": {"model.attention_dropout": 0.1},
    "activation_dropout": {"model.activation_dropout": 0.1},
    "word_dropout": {"model.word_dropout": 0.1},
    "no label smoothing": {"train.label_smoothing": 0.0},
    "linear": {"train.schedule": "linear"},
    "inverse_sqrt": {"train.schedule": "inverse_sqrt"},
    "inverse_sqrt and average": {"train.schedule": "inverse_sqrt", "train.average": 5},
    "post": {"model.norm": "post"},
}


class Told(Silent):
    """Prints what a run tells."""

    def tell(self, text: str) -> None:
        print("  ", text, flush=True)


def run(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train one variant and return its row."""
    home = arguments.data / "multi30k"
    files = {"source": "train.en", "target": "train.de", "valid_source": "val.en", "valid_target": "val.de"}
    tables = {
        **BASE,
        "data": {key: [str(home / f"{file}.gz")] for key, file in files.items()},
        "train": {**BASE["train"], "max_updates": arguments.updates, "evaluate_every": arguments.updates},
    }
    settings = [f"{key}={json.dumps(value)}" for key, value in VARIANTS[name].items()]
    began, processor = time.monotonic(), time.process_time()
    trained = train(
        make_recipe(tables, settings),
        arguments.out / name.replace(" ", "-"),
        overwrite=True,
        listener=Told(),
        device=arguments.device,
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {
        "variant": name, "set": VARIANTS[name], "updates": arguments.updates,
        "bleu": round(trained.progress.best or 0.0, 2), "valid_loss": round(trained.progress.best_loss, 4),
        "million_targets": round(trained.progress.targets / 1e6, 2),
        "processor_seconds": round(time.process_time() - processor), "seconds": round(time.monotonic() - began),
        "threads": arguments.threads, "device": arguments.device, "sentences": 1_014,
        "commit": commit.stdout.strip(), "date": date.today().isoformat(),
    }  # fmt: skip


def main() -> None:
    """Train every variant and append its row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ONEHOP_DATA", "data")))
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--updates", type=int, default=1_500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--variant", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.variant:
        row = run(name, arguments)
        print(json.dumps(row), flush=True)
        with open(arguments.out / "results.jsonl", "a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
