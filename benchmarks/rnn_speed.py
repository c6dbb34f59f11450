"""The attention RNN beside Joey NMT's: tokens a second trained and written, in turn, in one run.

    make rivals
    python benchmarks/rnn_speed.py --rounds 5 --threads 1 [--rivals PYTHON]

Both have a bidirectional GRU, Bahdanau's score, embeddings, states and readout of one width, tied embeddings and 8,000
pieces. With `own` each trains on the batches it makes: Onehop's are of like length, Joey NMT's in random order, by
2,048 tokens; with `same` both get Onehop's. Written are 24 tokens for each source, as random weights never end,
greedily and with a beam of 5, 64 sources at once, Onehop's as `onehop translate` writes them. Every measurement is a
process of its own. Joey NMT feeds its readout back, as is its default; Onehop's Bahdanau does not. Nothing else may run
on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from train_speed import HERE, RIVALS, VOCAB, by_both_lengths, in_any_order, text

SYSTEMS = {  # name: worker, precision, whether it lives in the rivals' environment
    "onehop float32": ("rnn_onehop.py", "float32", False),
    "onehop bfloat16": ("rnn_onehop.py", "bfloat16", False),
    "onehop int8": ("rnn_onehop.py", "int8", False),
    "joeynmt float32": ("rnn_joeynmt.py", "float32", True),
}
NOT_FOR = {"train": "int8", "greedy": "bfloat16", "beam 5": "bfloat16"}  # what a task has no such form of
TASKS = {"train": "train", "greedy": "1", "beam 5": "5"}


def measure(system: str, file: Path, task: str, arguments: argparse.Namespace) -> float:
    """Run one worker and return the tokens a second that it printed."""
    worker, precision, foreign = SYSTEMS[system]
    numbers = [str(n) for n in (arguments.width, arguments.steps, arguments.threads, VOCAB)]
    python = arguments.rivals if foreign else sys.executable
    paths = {} if foreign else {"PYTHONPATH": str(HERE.parent)}
    env = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), **paths}
    command = [python, str(RIVALS / worker), str(file), precision, *numbers, TASKS[task]]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{system}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().split("\n")[-1])["tokens_per_second"]


def main() -> None:
    """Measure every system in turn and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ONEHOP_DATA", "data")))
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rivals", default=str(HERE.parent / ".rivals/bin/python"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "rnn_speed.json")
    arguments = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        pairs = text(arguments.data)["pairs"]
        contents = {
            "alike": by_both_lengths(pairs, 2_048), "random": in_any_order(pairs, 2_048),
            "written": [pairs[i : i + 64] for i in range(0, 64 * (arguments.steps + 1), 64)],
        }  # fmt: skip
        files = {name: Path(folder) / f"{name}.json" for name in contents}
        for name, file in files.items():
            file.write_text(json.dumps(contents[name]))
        runs = [("train, own batches", "train"), ("train, same batches", "train"), ("greedy", "greedy")]
        for _ in range(arguments.rounds):
            for title, task in [*runs, ("beam 5", "beam 5")]:
                for system in SYSTEMS:
                    if NOT_FOR[task] in system:
                        continue
                    own = "random" if "joeynmt" in system and "own" in title else "alike"
                    speed = measure(system, files[own if task == "train" else "written"], task, arguments)
                    found.setdefault(title, {}).setdefault(system, []).append(speed)
                    print(title, system, speed, flush=True)
    arguments.out.write_text(json.dumps(summary(found, arguments), indent=1) + "\n", "utf-8")


def summary(found: dict[str, dict[str, list[float]]], arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the medians, and how many times Joey NMT's speed each is."""
    medians = {title: {name: statistics.median(row) for name, row in rows.items()} for title, rows in found.items()}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    return {
        "tokens_per_second": medians,
        "ratios": {
            title: {name: round(value / row["joeynmt float32"], 2) for name, value in row.items()}
            for title, row in medians.items()
        },
        "width": arguments.width, "vocab": VOCAB, "steps": arguments.steps, "rounds": arguments.rounds,
        "threads": arguments.threads, "processor": platform.processor() or platform.machine(),
        "commit": commit.stdout.strip(), "date": date.today().isoformat(),
    }  # fmt: skip


if __name__ == "__main__":
    main()
