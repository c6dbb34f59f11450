"""What the length ledger and the fast data doctor cost a training, as a share of its time.

    python benchmarks/ledger_cost.py [--minutes 2] [-o benchmarks/results/ledger_cost.json]
    python benchmarks/ledger_cost.py --labelled TABLE --text-column 4 --label-column 2 --init CHECKPOINT [-o FILE]

The training is that of the quickstart (bundled Tatoeba, English to German), shorter: both costs come once, while the
text is read for the first time, and do not grow with the minutes. So the share of the default quickstart is told too.
Seconds are of the processor, of one thread: of the whole training, and of each part in the thread that does it.

Of labelled texts, 40 updates of fine-tuning are timed, and the share is that of the three passes which are the default.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch

import onehop
import onehop.cli.quickstart
import onehop.data.batches
import onehop.data.tokens
import onehop.train.card
import onehop.train.fit
import onehop.train.labels
import onehop.train.prepare
from onehop.config import read_toml
from onehop.data.tatoeba import prepare
from onehop.tasks import load_package
from onehop.train import Silent, Status, make_recipe, train

LEDGER: tuple[tuple[Any, str], ...] = (
    (onehop.data.tokens.TokenBlocks, "_limit"),
    (onehop.data.batches.TrainingBatches, "_look"),
    (onehop.train.prepare, "limit_pair"),
    (onehop.train.fit, "truncations"),
    (onehop.train.card, "longer"),
)
DOCTOR: tuple[tuple[Any, str], ...] = ((onehop.train.prepare, "check_store"), (onehop.train.labels, "look_at_store"))
PASSES, UPDATES, WARM = 3, 40, 8


class Told(Silent):
    """Hears the lines for people."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, text: str) -> None:
        """Keep it."""
        self.lines.append(text)


class Paced(Told):
    """Measures the processor seconds of an update, behind the first few."""

    seconds = 0.0

    def updated(self, status: Status) -> None:
        """Look at the clock."""
        if status.update == WARM:
            self._began = time.process_time()
        elif status.update > WARM:
            self.seconds = (time.process_time() - self._began) / (status.update - WARM)


def timed(places: tuple[tuple[Any, str], ...]) -> list[float]:
    """Put a stopwatch around each function; return the list that every call's seconds are appended to."""
    seconds: list[float] = []

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*given: Any, **named: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*given, **named)
            finally:
                seconds.append(time.thread_time() - began)

        return run

    for owner, name in places:
        setattr(owner, name, watched(getattr(owner, name)))
    return seconds


def measure(minutes: float, folder: Path) -> dict[str, Any]:
    """Train, and return the seconds of the parts and of all."""
    text = prepare(folder / "text")
    tables = read_toml(text.recipe)
    tables["data"]["pairs"], tables["train"]["max_minutes"] = [str(text.train)], minutes
    ledger, doctor, told = timed(LEDGER), timed(DOCTOR), Told()
    began = time.process_time()
    trained = train(make_recipe(tables), folder / "run", listener=told)
    whole = time.process_time() - began
    default = inspect.signature(onehop.cli.quickstart.quickstart).parameters["minutes"].default
    parts = {"ledger": sum(ledger), "doctor": sum(doctor), "both": sum(ledger) + sum(doctor)}
    return {
        "pairs": trained.num_pairs,
        "updates": trained.progress.update,
        "minutes": minutes,
        "cpu_seconds": {"training": round(whole, 2), **{name: round(part, 3) for name, part in parts.items()}},
        "share_of_this_training": {name: round(part / whole, 5) for name, part in parts.items()},
        "share_of_default_quickstart": {name: round(part / (60 * default), 5) for name, part in parts.items()},
        "default_quickstart_minutes": default,
        "truncation": (load_package(trained.model).record or {})["truncation"],
        "told": [line for line in told.lines if "sound" in line],
    }


def measure_labelled(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Fine-tune a little, and return the seconds of the parts and of an update."""
    ledger, doctor, told = timed(LEDGER), timed(DOCTOR), Paced()
    columns = {"text_columns": options.text_column, "label_column": options.label_column}
    recipe = make_recipe({
        "task": "classify", "data": {"train": [options.labelled], **columns},
        "train": {"init": options.init, "max_updates": UPDATES, "evaluate_every": UPDATES},
    })  # fmt: skip
    trained = train(recipe, folder / "run", listener=told)
    parts = {"ledger": sum(ledger), "doctor": sum(doctor), "both": sum(ledger) + sum(doctor)}
    examples = trained.progress.targets / trained.progress.update
    whole = PASSES * trained.num_pairs / examples * told.seconds
    seconds = {name: round(part, 3) for name, part in parts.items()}
    return {
        "texts": trained.num_pairs, "passes": PASSES, "examples_of_an_update": round(examples, 1),
        "cpu_seconds": {"of_an_update": round(told.seconds, 4), **seconds},
        "share_of_default_training": {name: round(part / whole, 5) for name, part in parts.items()},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--labelled", help="table of labelled texts; default: the quickstart's pairs")
    parser.add_argument("--text-column", nargs="*", default=[])
    parser.add_argument("--label-column", default="")
    parser.add_argument("--init", help="checkpoint to fine-tune")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if (os.environ.get("OMP_NUM_THREADS"), os.environ.get("RAYON_NUM_THREADS")) != ("1", "1"):
        sys.exit("set OMP_NUM_THREADS=1 RAYON_NUM_THREADS=1")
    torch.set_num_threads(1)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    with tempfile.TemporaryDirectory() as name:
        labelled = options.labelled is not None
        result = measure_labelled(options, Path(name)) if labelled else measure(options.minutes, Path(name))
    variables = "OMP_NUM_THREADS=1 RAYON_NUM_THREADS=1"
    result |= {
        "command": f"{variables} python benchmarks/ledger_cost.py "
        + (f"--labelled {Path(options.labelled).name}" if labelled else f"--minutes {options.minutes:g}"),
        "commit": commit.stdout.strip(),
        "date": date.today().isoformat(),
        "machine": platform.machine(),
        "onehop": onehop.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": 1,
    }
    text = json.dumps(result, indent=1, sort_keys=True)
    print(text)
    if options.output:
        options.output.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
