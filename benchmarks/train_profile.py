"""Where the time of a training step goes, and how much of the matrix unit it uses.

    python benchmarks/train_profile.py --width 128 512 --precision float32 bfloat16

The step is that of `benchmarks/train_speed.py`. The matrix unit's speed is that of one large product in the same
precision, measured in the same process.
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
from torch.profiler import ProfilerActivity, profile
from train_speed import VOCAB, by_both_lengths, text

from onehop.data import Batch, evaluation_batches
from onehop.models.registry import build
from onehop.train import make_recipe
from onehop.train.flops import flops_per_cell
from onehop.train.loop import loop
from onehop.train.objective import objective
from onehop.train.optimizer import adamw

KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::addmm_", "aten::baddbmm"),
    "attention": ("scaled_dot_product",),
    "softmax": ("softmax", "aten::exp", "aten::amax", "logsumexp"),
    "random numbers": ("aten::random_", "aten::ge", "bernoulli"),
    "normalisation": ("layer_norm",),
    "copies and casts": ("aten::copy_", "aten::cat", "aten::_to_copy", "aten::index"),
    "optimizer": ("_fused_adamw_", "_foreach", "aten::norm", "linalg_vector_norm"),
}


def kind_of(name: str) -> str:
    """Return the kind of work of an operator."""
    exact = next((kind for kind, names in KINDS.items() if name in names), None)
    return exact or next((kind for kind, names in KINDS.items() if any(part in name for part in names)), "the rest")


def unit_speed(dtype: torch.dtype, size: int = 2_048) -> float:
    """Return the operations a second of a large product, the best of five."""
    one, two = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        one @ two
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def run(width: int, precision: str, data: Path, steps: int) -> dict[str, Any]:
    """Profile some steps and return the shares."""
    torch.manual_seed(1)
    base = {"dim": 512, "ffn_dim": 2048, "num_heads": 8, "num_encoder_layers": 6, "num_decoder_layers": 6}
    small = {"dim": width, "ffn_dim": 2 * width, "num_heads": 4, "num_encoder_layers": 4, "num_decoder_layers": 4}
    model: Any = build("transformer", {**(base if width == 512 else small), "dropout": 0.3}, VOCAB, None)
    recipe = make_recipe({"data": {"pairs": ["-"]}, "train": {"precision": precision}})
    loss_sum = objective(recipe.train, "cpu")
    pairs = by_both_lengths(text(data)["pairs"], 4_096)[: steps + 3]
    feed = [next(evaluation_batches([s[:-1] for s, _ in p], [t[:-1] for _, t in p], 10**9)) for p in pairs]
    optimizer = adamw(model, weight_decay=0.01, betas=(0.9, 0.98), epsilon=1e-9)
    updates = loop(model, loss_sum, iter(feed), optimizer, lambda: 1e-3)
    for _ in range(3):
        next(updates)
    began = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU]) as watch:
        for _ in updates:
            pass
    seconds = time.perf_counter() - began
    return row(width, precision, feed[3:], watch, seconds, flops_per_cell(model, loss_sum, feed[0]))


def row(width: int, precision: str, feed: list[Batch], watch: Any, seconds: float, flops: float) -> dict[str, Any]:
    """Sum the operators up."""
    times: dict[str, float] = dict.fromkeys([*KINDS, "the rest"], 0.0)
    for event in watch.key_averages():
        times[kind_of(event.key)] += event.self_cpu_time_total
    whole, done = sum(times.values()), flops * sum(batch.num_cells for batch in feed)
    peak = unit_speed(torch.bfloat16 if precision == "bfloat16" else torch.float32)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {
        "width": width, "precision": precision, "threads": torch.get_num_threads(),
        "shares": {kind: round(spent / whole, 3) for kind, spent in times.items()},
        "gflops": round(done / seconds / 1e9, 1), "matrix_unit_gflops": round(peak / 1e9, 1),
        "share_of_matrix_unit": round(done / seconds / peak, 2),
        "commit": commit.stdout.strip(), "date": date.today().isoformat(),
    }  # fmt: skip


def main() -> None:
    """Profile every width in every precision and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ONEHOP_DATA", "data")))
    parser.add_argument("--width", type=int, nargs="*", default=[128])
    parser.add_argument("--precision", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "train_profile.jsonl")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for width in arguments.width:
        for precision in arguments.precision:
            found = json.dumps(run(width, precision, arguments.data, arguments.steps))
            print(found, flush=True)
            with open(arguments.out, "a", encoding="utf-8") as stream:
                stream.write(found + "\n")


if __name__ == "__main__":
    main()
