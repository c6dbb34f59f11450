"""Print the validation curve of a masked language model as `onehop/train/mlm_curves.toml` has it.

python benchmarks/mlm_curve.py runs/wikitext2-bert-small --name "wikitext2-bert-small, seed 1"
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from onehop.tasks import load_package


def curve(run: Path, name: str) -> str:
    """Return the table of a run."""
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    found = [row for row in rows if row["kind"] == "evaluation" and row["tokens"] and row["gain"] is not None]
    weights = sum(one.numel() for one in load_package(run).task.model.parameters())
    lines = [
        "[[curve]]",
        f"name = {json.dumps(name)}",
        f"weights = {weights}",
        f"tokens = {[row['tokens'] for row in found]}",
        f"gain = {[round(row['gain'], 3) for row in found]}",
    ]
    return "\n".join(lines)


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", default="")
    arguments = parser.parse_args()
    print(curve(arguments.run, arguments.name or arguments.run.name))


if __name__ == "__main__":
    main()
