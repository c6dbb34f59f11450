"""Training speed beside the rivals': the same text, pieces, model shapes and machine, in turn, in one run.

    make rivals
    python benchmarks/train_speed.py --width 128 256 512 --batching own same --rounds 3

The text is the first 8,000 pairs of Multi30k's training part (`--data` or ONEHOP_DATA), cut into 8,000 pieces, in
batches of 4,096 tokens, so that the figures can be laid beside published ones. With `own` each system makes its batches
as it does when a person trains with it: Onehop by its data pipeline, transformers by groups of like target length,
Joey NMT, which has no buckets, in random order. With `same` all get Onehop's order, which no rival would give them, and
only the models differ. Every measurement is a process of its own; systems take turns, and medians and ratios are
quoted. Nothing else may run on the machine.
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


Row = tuple[list[int], list[int]]


def text(data: Path) -> dict[str, Any]:
    """Return what every worker reads: the text, its tokenizer, and the tokens of each pair, with end marks."""
    sides = [
        gzip.decompress((data / "multi30k" / f"train.{language}.gz").read_bytes()).decode().split("\n")[:8_000]
        for language in ("en", "de")
    ]
    tokenizer = train_bpe([*sides[0], *sides[1]], VOCAB)
    source, target = ([[*tokens, 2] for tokens in tokenizer.encode_batch(side)] for side in sides)
    return {"lines": sides, "tokenizer": tokenizer.to_json(), "pairs": [*zip(source, target, strict=True)]}


def by_both_lengths(pairs: list[Row], budget: int) -> list[list[Row]]:
    """Return shuffled batches of pairs alike in both lengths, as Onehop makes them."""
    longest = np.array([max(len(s), len(t)) for s, t in pairs])
    order = sorted(range(len(pairs)), key=lambda i: (longest[i], len(pairs[i][1])))
    groups = cut(order, longest, budget)
    random.Random(0).shuffle(groups)
    return [[pairs[i] for i in group.tolist()] for group in groups if len(group) * 8 > budget // 16]


def by_target_length(pairs: list[Row], budget: int) -> list[list[Row]]:
    """Return shuffled batches of pairs of like target length: what transformers' users can do with its tools."""
    groups = filled(sorted(pairs, key=lambda pair: len(pair[1])), budget)
    random.Random(0).shuffle(groups)
    return groups


def in_any_order(pairs: list[Row], budget: int) -> list[list[Row]]:
    """Return batches in random order, as Joey NMT's `TokenBatchSampler` fills them."""
    return filled(random.Random(0).sample(pairs, len(pairs)), budget)


def filled(pairs: list[Row], budget: int) -> list[list[Row]]:
    """Return batches in the order given, each closed once its targets' cells reach the budget."""
    groups: list[list[Row]] = [[]]
    for pair in pairs:
        groups[-1].append(pair)
        if len(groups[-1]) * max(len(target) for _, target in groups[-1]) >= budget:
            groups.append([])
    return groups[:-1]


OWN = {"onehop": None, "transformers": by_target_length, "joeynmt": in_any_order}


def write_batches(folder: Path, data: Path, batching: str, budget: int = 4_096) -> dict[str, Path]:
    """Write each system's batches, or for Onehop's own the text they are made of; return the files."""
    read, files = text(data), {}
    for system, rule in OWN.items():
        chosen = by_both_lengths if batching == "same" else rule
        files[system] = folder / f"{system}-{batching}.json"
        files[system].write_text(json.dumps(chosen(read["pairs"], budget) if chosen else read))
    return files


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
    parser.add_argument("--batching", nargs="*", default=["own", "same"], choices=["own", "same"])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--system", nargs="*", default=list(SYSTEMS))
    parser.add_argument("--rivals", default=str(HERE.parent / ".rivals/bin/python"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "train_speed.jsonl")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for batching, width in ((each, width) for each in arguments.batching for width in arguments.width):
            files = write_batches(Path(folder), arguments.data, batching)
            found: dict[str, list[dict[str, Any]]] = {system: [] for system in arguments.system}
            for turn in range(arguments.rounds):
                for system in arguments.system:
                    file = files[system.split()[0]]
                    row = measure(system, file, width, arguments.steps, arguments.threads, arguments.rivals)
                    found[system].append(row)
                    print(batching, width, turn, system, row, flush=True)
            with open(arguments.out, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(summary(batching, width, found, arguments)) + "\n")


def summary(
    batching: str, width: int, found: dict[str, list[dict[str, Any]]], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Return the medians, and how many times each system's speed is that of the rivals in float32."""
    speeds = {name: statistics.median(row["tokens_per_second"] for row in rows) for name, rows in found.items()}
    rivals = [name for name in ("transformers float32", "joeynmt float32") if name in speeds]
    ratios = {f"to {unit}": {k: round(v / speeds[unit], 2) for k, v in speeds.items()} for unit in rivals}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    return {
        "batching": batching, "width": width, "vocab": VOCAB,
        "batch_tokens": 4_096, "steps": arguments.steps, "rounds": arguments.rounds,
        "threads": arguments.threads, "target_tokens_per_second": speeds,
        "ratios": ratios,
        "loss_after": {name: rows[0]["loss"] for name, rows in found.items()},
        "processor": platform.processor() or platform.machine(), "commit": commit.stdout.strip(),
        "date": date.today().isoformat(),
    }  # fmt: skip


if __name__ == "__main__":
    main()
