"""Training speed beside the rivals': the same batches, model shapes and machine, in turn, in one run.

    make rivals
    python benchmarks/train_speed.py --width 128 256 512 --rounds 3

Batches are of Multi30k's training text (`--data` or ONEHOP_DATA), cut into 8,000 pieces and filled to 4,096 tokens, so
that the figures can be laid beside published ones. Every measurement is a process of its own; systems take turns, and
medians and ratios are quoted. Nothing else may run on the machine.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from onehop.data.ragged import cut
from onehop.text import train_bpe

HERE = Path(__file__).parent
RIVALS = HERE / "rivals"
VOCAB = 8_000
SYSTEMS = {  # name: worker, precision, whether it lives in the rivals' environment
    "onehop float32": ("train_onehop.py", "float32", False),
    "onehop bfloat16": ("train_onehop.py", "bfloat16", False),
    "transformers float32": ("train_transformers.py", "float32", True),
    "transformers bfloat16": ("train_transformers.py", "bfloat16", True),
    "joeynmt float32": ("train_joeynmt.py", "float32", True),
}


def batches(data: Path, budget: int) -> list[list[tuple[list[int], list[int]]]]:
    """Return shuffled batches of pairs of like length, with end marks."""
    sides = [
        gzip.decompress((data / "multi30k" / f"train.{language}.gz").read_bytes()).decode().split("\n")[:8_000]
        for language in ("en", "de")
    ]
    tokenizer = train_bpe([*sides[0], *sides[1]], VOCAB)
    source, target = ([[*tokens, 2] for tokens in tokenizer.encode_batch(side)] for side in sides)
    longest = [max(len(s), len(t)) for s, t in zip(source, target, strict=True)]
    order = sorted(range(len(source)), key=lambda i: (longest[i], len(target[i])))
    groups = cut(order, np.array(longest), budget)
    random.Random(0).shuffle(groups)
    return [[(source[i], target[i]) for i in group.tolist()] for group in groups if len(group) * 8 > budget // 16]


def measure(system: str, file: Path, width: int, steps: int, threads: int, rivals: str) -> dict[str, Any]:
    """Run one worker and return what it printed."""
    worker, precision, foreign = SYSTEMS[system]
    python = rivals if foreign else sys.executable
    command = [python, str(RIVALS / worker), str(file), precision, str(width), str(steps), str(threads), str(VOCAB)]
    paths = {} if foreign else {"PYTHONPATH": str(HERE.parent)}
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), **paths}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{system}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().split("\n")[-1])


def main() -> None:
    """Measure every system in turn and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ONEHOP_DATA", "data")))
    parser.add_argument("--width", type=int, nargs="*", default=[128], help="128 and 256: 4+4 layers; 512: base, 6+6")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--system", nargs="*", default=list(SYSTEMS))
    parser.add_argument("--rivals", default=str(HERE.parent / ".rivals/bin/python"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "train_speed.jsonl")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "batches.json"
        file.write_text(json.dumps(batches(arguments.data, 4_096)))
        for width in arguments.width:
            found: dict[str, list[dict[str, Any]]] = {system: [] for system in arguments.system}
            for turn in range(arguments.rounds):
                for system in arguments.system:
                    row = measure(system, file, width, arguments.steps, arguments.threads, arguments.rivals)
                    found[system].append(row)
                    print(width, turn, system, row, flush=True)
            with open(arguments.out, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(summary(width, found, arguments)) + "\n")


def summary(width: int, found: dict[str, list[dict[str, Any]]], arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the medians, and how many times each system's speed is that of transformers in float32."""
    speeds = {name: statistics.median(row["tokens_per_second"] for row in rows) for name, rows in found.items()}
    unit = speeds.get("transformers float32")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    return {
        "width": width, "vocab": VOCAB, "batch_tokens": 4_096, "steps": arguments.steps, "rounds": arguments.rounds,
        "threads": arguments.threads, "target_tokens_per_second": speeds,
        "ratio_to_transformers_float32": {k: round(v / unit, 2) for k, v in speeds.items()} if unit else None,
        "loss_after": {name: rows[0]["loss"] for name, rows in found.items()},
        "processor": platform.processor() or platform.machine(), "commit": commit.stdout.strip(),
        "date": date.today().isoformat(),
    }  # fmt: skip


if __name__ == "__main__":
    main()
