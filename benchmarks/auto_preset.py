"""Does the preset that fits itself to the data hold up against the paper's? Equal data, equal time of one thread.

    python benchmarks/auto_preset.py --data DATA --minutes 6 --out runs/auto-preset --size 3k 29k 170k

3k and 170k pairs are Tatoeba's, which ships with Onehop; 29k is Multi30k, from DATA (default: $ONEHOP_DATA). Scores are
BLEU on validation sentences, greedy; the test sets are not touched. Everything but the preset is left to Onehop. A
short calibration turns the minutes into a number of updates by the processor time of one, so that other load on the
machine changes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import time
from pathlib import Path

import torch

from onehop.data import Pair, tatoeba
from onehop.train import Silent, Status, load_recipe, make_recipe, train

PRESETS = ("auto", "transformer-tiny", "transformer-base")


class Printer:
    """Prints what a run tells."""

    def tell(self, text: str) -> None:
        print("  ", text, flush=True)

    def updated(self, status: Status) -> None:
        pass

    def evaluated(self, evaluation: object) -> None:
        print("  ", evaluation, flush=True)


class Clock(Silent):
    """Measures the processor seconds of an update, over the second half of a short run."""

    def updated(self, status: Status) -> None:
        if status.update == 8:
            self._began = time.process_time()
        self.seconds = (time.process_time() - self._began) / (status.update - 8) if status.update > 8 else 0.0


def corpus(size: str, data: Path, folder: Path) -> dict[str, list[str]]:
    """Write the files of a size and return the recipe's data table."""
    if size == "29k":
        home = data / "multi30k"
        names = {"source": "train.en", "target": "train.de", "valid_source": "val.en", "valid_target": "val.de"}
        return {key: [str(home / f"{name}.gz")] for key, name in names.items()}
    pairs, _ = tatoeba.split(tatoeba.pairs())
    held = {pair.source for pair in pairs if digest(pair) % 100 == 1}
    targets = {pair.target for pair in pairs if pair.source in held}
    valid = {pair.source: pair for pair in reversed(pairs) if pair.source in held}
    rest = [pair for pair in pairs if pair.source not in held and pair.target not in targets]
    if size == "3k":
        rest = sorted(rest, key=digest)[:3_000]
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "pairs": [write(folder / "train.tsv", rest)],
        "valid_pairs": [write(folder / "valid.tsv", [*valid.values()])],
    }


def digest(pair: Pair) -> int:
    """Return a number that is the same on every machine."""
    import hashlib

    return int(hashlib.sha256(pair.source.encode()).hexdigest(), 16)


def write(path: Path, pairs: list[Pair]) -> str:
    """Write pairs as a table; return the path."""
    path.write_text("".join(f"{pair.source}\t{pair.target}\n" for pair in pairs), encoding="utf-8")
    return str(path)


def main() -> None:
    """Train every preset on every size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ONEHOP_DATA", "data")))
    parser.add_argument("--out", type=Path, default=Path("runs/auto-preset"))
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--size", nargs="*", default=["3k", "29k", "170k"])
    parser.add_argument("--preset", nargs="*", default=list(PRESETS))
    parser.add_argument("--set", nargs="*", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for size in arguments.size:
        files = corpus(size, arguments.data, arguments.out / f"data-{size}")
        for preset in arguments.preset:
            tables = {"data": files, "model": {"preset": preset}, "train": {"max_minutes": arguments.minutes}}
            tables["train"] |= {"max_updates": 16, "evaluate_every": 100}
            out = arguments.out / f"{size}-{preset}"
            clock, calibration = Clock(), out.with_name("calibration")
            train(make_recipe(tables, arguments.set), calibration, overwrite=True, listener=clock)
            recipe = load_recipe(calibration / "recipe.toml")  # with everything that was chosen for those minutes
            limits = {"max_minutes": None, "max_updates": round(60 * arguments.minutes / clock.seconds)}
            if recipe.model["norm"] == "post":
                limits["warmup"] = None  # depends on the number of updates, and was chosen for sixteen
            recipe = recipe.model_copy(
                update={"train": recipe.train.model_copy(update={**limits, "evaluate_every": None})}
            )
            shutil.rmtree(calibration)
            print(size, preset, limits, flush=True)
            trained = train(recipe, out, overwrite=True, listener=Printer())
            row = {
                "size": size, "preset": preset, "minutes": arguments.minutes,
                "bleu": round(trained.progress.best or 0, 2),
                "updates": trained.progress.update, "pairs": trained.num_pairs, "set": arguments.set,
                "torch": torch.__version__, "machine": platform.machine(),
            }  # fmt: skip
            print(json.dumps(row), flush=True)
            with open(arguments.out / "results.jsonl", "a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
