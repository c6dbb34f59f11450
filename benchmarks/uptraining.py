"""What fewer key/value heads cost a trained model, by how its heads become one, and what a little training mends.

    python recipes/prepare.py en-de runs/text/en-de
    python benchmarks/uptraining.py en-de >> benchmarks/results/uptraining.jsonl

The model is converted with each number of key/value heads in its decoder (4 of 4 is the model as it was) and each pool,
then trained on as `recipes/tatoeba-en-de-grouped.toml` says. Losses are nats for a target token of the held-out pairs,
without label smoothing: before, and after (`--convert-only` leaves out the second). Ainslie et al. 2023, section 3.3,
find mean < first < random, and that grouped queries come nearer to the model that keeps its heads than one head does.

A smaller model, to see the same in minutes:

    SMALL="--set model.dim=64 --set model.ffn_dim=256 --set model.num_encoder_layers=2 --set text.vocab_size=2000 \
      --set model.num_decoder_layers=2 --set train.batch_tokens=1000 --set train.precision=float32"
    onehop train recipes/tatoeba-en-de.toml $SMALL --set train.max_updates=2000 --threads 1 --out runs/small
    python benchmarks/uptraining.py runs/small --set train.max_updates=100 --set train.batch_tokens=1000 \
      --set train.precision=float32 --set evaluate.sentences=50 >> benchmarks/results/uptraining.jsonl
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch

from onehop.data import evaluation_batches, read_table
from onehop.tasks import Package, group_heads, load_package, save_package
from onehop.tasks.grouping import POOLS
from onehop.train import load_recipe, train

RECIPE = Path(__file__).parent.parent / "recipes" / "tatoeba-en-de-grouped.toml"


def loss(task: Any, held_out: Path) -> float:
    """Return nats for a target token, end marks included."""
    pairs = list(read_table(held_out))
    sources, targets = ([task.source_tokenizer.encode(pair.source) for pair in pairs],
                        [task.target_tokenizer.encode(pair.target) for pair in pairs])  # fmt: skip
    total, count = 0.0, 0
    with torch.inference_mode():
        for batch in evaluation_batches(sources, targets, 4_000):
            found = task.token_log_probs(batch)
            real = torch.arange(found.size(1)) < batch.target_lengths.unsqueeze(1)
            total, count = total - float(found[real].double().sum()), count + int(real.sum())
    return total / count


def ways(package: Package, groups: list[int]) -> list[tuple[int, str]]:
    """Return the numbers of key/value heads with their pools; of all heads there is nothing to pool."""
    every = package.task.model.decoder[0].attention.num_heads
    return [(count, pool) for count in groups for pool in (POOLS if count < every else ["none"])]


def row(arguments: argparse.Namespace, package: Package, groups: int, pool: str, seed: int) -> dict[str, Any]:
    """Convert, measure, train, and measure again."""
    folder = arguments.out.resolve() / f"{groups}-{pool}-{seed}"
    converted = package if pool == "none" else group_heads(package, groups, POOLS[pool], seed)
    save_package(converted, folder / "converted")
    found: dict[str, Any] = {
        "groups": groups, "pool": pool, "seed": seed, "converted": round(loss(converted.task, arguments.held_out), 4),
    }  # fmt: skip
    if not arguments.convert_only:
        found |= uptrained(folder, seed, arguments)
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


def uptrained(folder: Path, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train what was converted, and measure."""
    began = time.process_time()
    settings = [*arguments.set, f"train.init={json.dumps(str(folder / 'converted'))}", f"train.seed={seed}"]
    trained = train(load_recipe(RECIPE, settings), folder / "run", overwrite=True)
    return {
        "uptrained": round(loss(load_package(trained.model).task, arguments.held_out), 4),
        "updates": trained.progress.update, "processor_seconds": round(time.process_time() - began),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a package, a run or a bundled name")
    parser.add_argument("--held-out", type=Path, default=Path("runs/text/en-de/held-out.tsv"))
    parser.add_argument("--groups", type=int, nargs="*", default=[4, 2, 1], help="key/value heads")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1])
    parser.add_argument("--set", action="append", default=[], help="of the recipe, as onehop train takes it")
    parser.add_argument("--convert-only", action="store_true", help="do not train")
    parser.add_argument("--out", type=Path, default=Path("runs/uptraining"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    package = load_package(arguments.model)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    rows = [row(arguments, package, groups, pool, seed)
            for groups, pool in ways(package, arguments.groups) for seed in arguments.seeds]  # fmt: skip
    print(json.dumps({
        "command": " ".join(["python benchmarks/uptraining.py", *sys.argv[1:]]), "commit": commit,
        "date": date.today().isoformat(), "machine": platform.machine(), "torch": torch.__version__,
        "threads": arguments.threads, "model_loss": round(loss(package.task, arguments.held_out), 4),
        "pairs": sum(1 for _ in read_table(arguments.held_out)), "rows": rows,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
