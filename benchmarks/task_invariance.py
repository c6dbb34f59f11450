"""Whether what stands in a batch changes what a model of labels, numbers, answers, choices or vectors gives.

    python benchmarks/task_invariance.py

As `batch_invariance.py` does of translation: 1,000 texts of random words and lengths at batch 1, 7 and 64 and by a
budget of tokens, in a small model of fresh weights of every task, as it is and on the runtime's kernels. An output that
is not the one of batch 1 counts as a near-tie where its scores are within 1e-5; exit status 1 if another one differs.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from onehop.data.choices import Choice
from onehop.files import to_json, write_text
from onehop.tasks.package import versions
from onehop.verify import NEAR_TIE
from tests.laws.packages import PACKAGES

HERE = Path(__file__).parent
WORDS = ["the", "cat", "sat", "on", "mat", "a", "dog", "ran", "big", "red", "small", "rug", "room", "was", "bath"]
BATCHES = ("7", "64", "tokens")
SIZES = {"7": 7, "64": 64}
# From a prediction to what it says, and to the numbers behind it.
SAID: dict[str, Callable[[Any], tuple[Any, Sequence[float]]]] = {
    "classify": lambda one: (one.label, list(one.scores.values())),
    "multilabel": lambda one: (one.labels, list(one.scores.values())),
    "regress": lambda one: ((), [one.value]),
    "tag": lambda one: (one.labels, one.scores),
    "answer": lambda one: ((one.answer, one.start), [one.score]),
    "choose": lambda one: (one.choice, one.scores),
    "embed": lambda one: ((), one.vector.tolist()),
}


def inputs(task: str, count: int) -> list[Any]:
    """Return so many inputs of a task, of random words and lengths."""
    draw = random.Random(1)

    def text() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(1, 12)))

    if task == "answer":
        return [("the cat", text()) for _ in range(count)]
    if task == "choose":
        return [Choice((text(),), tuple(text() for _ in range(draw.randint(2, 4)))) for _ in range(count)]
    return [text() for _ in range(count)]


def predicted(model: Any, given: Sequence[Any], size: str) -> list[Any]:
    """Return what a model gives for each input in batches of this size."""
    if size == "tokens":
        return model.predict(given, long="cut")
    count = SIZES.get(size, 1)
    chunks = (given[start : start + count] for start in range(0, len(given), count))
    return [one for chunk in chunks for one in model.predict(chunk, long="cut", batch_tokens=1 << 40)]


def compare(task: str, model: Any, given: Sequence[Any], runs_on: str) -> list[dict[str, Any]]:
    """Return a row for each way to batch."""
    alone = [SAID[task](one) for one in predicted(model, given, "1")]
    rows: list[dict[str, Any]] = []
    for size in BATCHES:
        found = [SAID[task](one) for one in predicted(model, given, size)]
        gaps = [
            max((abs(a - b) for a, b in zip(one[1], other[1], strict=True)), default=0.0)
            for one, other in zip(alone, found, strict=True)
        ]
        others = [gap for gap, one, other in zip(gaps, alone, found, strict=True) if one[0] != other[0]]
        near = sum(gap < NEAR_TIE for gap in others)
        row = {
            "task": task, "runs_on": runs_on, "batch": size, "identical": len(given) - len(others), "near_ties": near,
            "differ": len(others) - near, "largest_score_difference": max(gaps),
        }  # fmt: skip
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def main() -> None:
    """Give the same texts to a model of each task in every way and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "task_invariance.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows: list[dict[str, Any]] = []
    for task in SAID:
        small = next(small for small in PACKAGES[task]() if small.family in ("bert", "transformer", "recurrent"))
        torch.manual_seed(1)
        model, given = small.make().task, inputs(task, arguments.inputs)
        fast = model.fast()
        rows += compare(task, model, given, "reference") + compare(task, fast, given, "runtime")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    result = {
        "command": "python benchmarks/task_invariance.py", "inputs": arguments.inputs, "near_tie_below": NEAR_TIE,
        "runs": rows, "threads": arguments.threads, "versions": versions(),
        "machine": platform.processor() or platform.machine(), "instructions": torch.backends.cpu.get_cpu_capability(),
        "commit": commit.stdout.strip(), "date": date.today().isoformat(),
    }  # fmt: skip
    write_text(arguments.out, to_json(result))
    sys.exit(any(row["differ"] for row in rows))


if __name__ == "__main__":
    main()
