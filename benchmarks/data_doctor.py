"""The data doctor on corrupted and on clean corpora, and its cost on a million pairs.

    python benchmarks/data_doctor.py [--data DATA] [--pairs 1000000] [--out benchmarks/results/data_doctor.json]

Bundled Tatoeba, in its order (sorted by length, an English sentence several times in a row) and shuffled, is corrupted
in six ways: a target line deleted, 50 pairs in a row exchanged, 1 % of the test pairs trained on, 0.5 % of the targets
in mojibake, all targets in another order, all of them 40 lines too late; and given quotes and dashes that are right,
of which nothing may be found. With `--data` (or ONEHOP_DATA) Multi30k as well, and more clean corpora. The million
pairs are recombined from Tatoeba; each check of them runs in a process of its own, with one thread; seconds are of the
processor.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import onehop
from onehop.data.check import Input, Report, check_pairs, check_store
from onehop.data.pair import Pair
from onehop.data.store import PairStore
from onehop.data.tatoeba import pairs as tatoeba
from onehop.data.tatoeba import split

TYPOGRAPHY = ("„{}“ Viel Spaß“", "{} groß…", "«\u00a0{} désolé\u00a0»", "“{} NO SÉ…”", "{}")  # all of it correct
SEEDS = range(2)
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the corpus before the deleted line
CHILD = """
import json, resource, sys, time
from onehop.data.check import Input, check_pairs
assert "torch" not in sys.modules
report = check_pairs({"train": [Input(sys.argv[1], sys.argv[2])]}, near=sys.argv[3] == "near").report
print(json.dumps({"cpu_seconds": round(time.process_time(), 1),
    "max_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
    "findings": {f.name: f.count for f in report.findings}, "sound": report.sound}))
"""


def checked(folder: Path, train: list[Pair], test: list[Pair] | None = None) -> Report:
    """Write pairs to files and check them."""
    inputs = {"train": [written(folder, "train", train)]}
    if test:
        inputs["test"] = [written(folder, "test", test)]
    return check_pairs(inputs).report


def written(folder: Path, name: str, pairs: list[Pair]) -> Input:
    paths = [str(folder / f"{name}.{side}") for side in ("source", "target")]
    for path, lines in zip(paths, zip(*pairs, strict=True), strict=True):
        Path(path).write_bytes("".join(f"{line}\n" for line in lines).encode())
    return Input(*paths)


def found(report: Report, name: str) -> dict[str, Any]:
    finding = next((finding for finding in report.findings if finding.name == name), None)
    return {"found": bool(finding), "error": bool(finding and finding.severity == "error"),
            "count": finding.count if finding else 0}  # fmt: skip


def deleted(folder: Path, corpus: list[Pair]) -> dict[str, Any]:
    """Delete one target at several places, each with several jitters, and see how far off the line named is."""
    errors: list[int | None] = []
    for seed in SEEDS:
        for share in SHARES:
            cut = int(len(corpus) * share) + random.Random(seed).randrange(1_000)
            targets = [pair.target for pair in corpus]
            del targets[cut]
            report = checked(folder, list(map(Pair, [pair.source for pair in corpus[:-1]], targets)))
            finding = next((f for f in report.findings if f.name == "shifted-lines"), None)
            right = finding and len(finding.lines) == 1 and finding.detail.endswith("n-1")
            errors.append(int(finding.lines[0].rsplit(":", 1)[1]) - 1 - cut if finding and right else None)
    known = [abs(error) for error in errors if error is not None]
    return {"trials": len(errors), "found": len(known), "within_20": sum(error <= 20 for error in known),
            "largest_error": max(known, default=None), "errors": errors}  # fmt: skip


def corruptions(folder: Path, corpus: list[Pair], test: list[Pair]) -> dict[str, Any]:
    """Corrupt a corpus in each of the four ways."""
    draw, middle = random.Random(1), len(corpus) // 2
    swapped = [Pair(pair.target, pair.source) if middle <= n < middle + 50 else pair for n, pair in enumerate(corpus)]
    odd = [n for n, pair in enumerate(corpus) if not pair.target.isascii()]
    broken = set(draw.sample(odd, len(corpus) // 200))
    mojibake = [
        Pair(pair.source, pair.target.encode().decode("cp1252", "replace")) if n in broken else pair
        for n, pair in enumerate(corpus)
    ]
    sources, targets = [pair.source for pair in corpus], [pair.target for pair in corpus]
    mixed = draw.sample(targets, len(targets))
    quoted = [TYPOGRAPHY[n % len(TYPOGRAPHY)].format(target) for n, target in enumerate(targets)]
    leaked = [*corpus, *draw.sample(test, max(1, len(test) // 100))]
    draw.shuffle(leaked)
    return {
        "deleted_line": deleted(folder, corpus),
        "targets_mixed": found(checked(folder, [*map(Pair, sources, mixed)]), "unrelated-lines"),
        "all_shifted_by_40": found(checked(folder, [*map(Pair, sources[40:], targets)]), "shifted-lines"),
        "typography": found(checked(folder, [*map(Pair, sources, quoted)]), "mojibake"),
        "swapped_50": found(checked(folder, swapped), "swapped-sides"),
        "mojibake": {"corrupted": len(broken), **found(checked(folder, mojibake), "mojibake")},
        "leaked": {"corrupted": max(1, len(test) // 100), **found(checked(folder, leaked, test), "overlap")},
    }


def summary(report: Report) -> dict[str, Any]:
    return {
        "pairs": report.pairs,
        "sound": report.sound,
        "findings": {f"{f.split} {f.name}": [f.severity, f.count] for f in report.findings},
    }


def read(*paths: Path) -> list[Pair]:
    sides = [gzip.decompress(path.read_bytes()).decode("utf-8-sig").removesuffix("\n").split("\n") for path in paths]
    rows = zip(*sides, strict=True) if len(paths) == 2 else (line.split("\t")[:2] for line in sides[0] if line)
    return [Pair(*row) for row in rows]


def others(data: Path) -> Iterator[tuple[str, list[Pair], list[Pair]]]:
    """Yield corpora of the folder of data sets: name, training pairs, test pairs."""
    for language in ("de", "fr"):
        sides = [
            read(*(data / "multi30k" / f"{part}.{side}.gz" for side in ("en", language))) for part in ("train", "val")
        ]
        yield f"multi30k en-{language}", sides[0], sides[1]
    enja = [read(*(data / "small_parallel_enja" / f"{part}.{s}.gz" for s in ("en", "ja"))) for part in ("train", "dev")]
    yield "small_parallel_enja", enja[0], enja[1]
    for language in ("fra", "spa", "cmn"):
        yield f"tatoeba {language}", read(data / "tatoeba" / f"{language}.txt.gz"), []


def million(folder: Path, count: int) -> dict[str, Any]:
    """Join pairs of Tatoeba two by two into `count` others, and measure."""
    draw, corpus = random.Random(1), tatoeba()
    with open(folder / "m.source", "w") as sources, open(folder / "m.target", "w") as targets:
        for _ in range(count):
            first, second = draw.choice(corpus), draw.choice(corpus)
            sources.write(f"{first.source} {second.source}\n")
            targets.write(f"{first.target} {second.target}\n")
    row: dict[str, Any] = {
        "pairs": count,
        "bytes": sum((folder / f"m.{s}").stat().st_size for s in ("source", "target")),
    }
    threads = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for how in ("fast", "near"):
        command = [sys.executable, "-c", CHILD, str(folder / "m.source"), str(folder / "m.target"), how]
        row[how] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=threads).stdout)
    row["allowed_mb"] = 200 + 40 * count / 1e6
    return row


def before_training(pairs: list[Pair]) -> dict[str, Any]:
    """Measure what `train` does by itself."""
    store = PairStore()
    store.add(pairs, "pairs")
    began = time.process_time()
    report = check_store(store, [])
    seconds = time.process_time() - began
    return {"pairs": len(store), "looked_at": report.pairs["train"], "cpu_seconds": round(seconds, 2)}


def save(path: Path, result: dict[str, Any]) -> None:
    """Write what is known so far: the whole takes an hour on a busy machine."""
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Corrupt, check, measure, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("ONEHOP_DATA"))
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/data_doctor.json"))
    arguments = parser.parse_args()
    train, test = split(tatoeba())
    shuffled = random.Random(1).sample(train, len(train))
    versions = {"onehop": onehop.__version__, "numpy": np.__version__, "python": platform.python_version()}
    facts = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line for line in facts if line.startswith("model name")), ":")
    machine = {"processor": processor.partition(":")[2].strip(), "threads": 1}
    result: dict[str, Any] = {"versions": versions, "machine": machine, "corrupted": {}, "clean": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result["million"] = million(folder, arguments.pairs)
        save(arguments.out, result)
        result["before_training"] = before_training(train)
        result["clean"]["tatoeba deu"] = summary(checked(folder, tatoeba()))
        result["clean"]["tatoeba deu, split"] = summary(checked(folder, train, test))
        corpora = {"tatoeba deu": (train, test), "tatoeba deu, shuffled": (shuffled, test)}
        for corpus, pairs, held in others(arguments.data) if arguments.data else ():
            result["clean"][corpus] = summary(checked(folder, pairs, held))
            if corpus == "multi30k en-de":
                corpora[corpus] = pairs, held
        save(arguments.out, result)
        for corpus, (pairs, held) in corpora.items():
            result["corrupted"][corpus] = corruptions(folder, pairs, held)
            save(arguments.out, result)


if __name__ == "__main__":
    main()
