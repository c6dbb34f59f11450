"""Whether what stands in a batch changes an output: 1, 7 and 64 sentences and a budget of tokens, greedy and beam 4.

    onehop quickstart --minutes 3 --threads 1 --out runs/quickstart
    python benchmarks/batch_invariance.py runs/quickstart --source runs/tatoeba-en-de/held-out.tsv

Batches of 7 and 64 hold sentences in random order, so of any lengths. An output that is not the one of batch 1
counts as a near-tie where the search made a choice by less than 1e-5 nats; each is printed. Exit status 1 if another
one differs.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from onehop.files import sha256, to_json, write_text
from onehop.tasks import Candidate, DecodeConfig, Translator, load_package
from onehop.tasks.folders import MANIFEST, find
from onehop.tasks.package import versions
from onehop.verify import NEAR_TIE, Lines, margin, neutral, read_data

HERE = Path(__file__).parent
BATCHES = ("7", "64", "tokens")


def outputs(translator: Translator, sources: Sequence[list[int]], decode: DecodeConfig, size: str) -> list[Candidate]:
    """Return the best output of each source, decoded in batches of this size."""
    if size == "tokens":
        return [found[0] for found in translator.search(sources, decode)]
    count, wide = int(size), decode.model_copy(update={"batch_tokens": 1 << 40})
    chunks = (sources[start : start + count] for start in range(0, len(sources), count))
    return [found[0] for chunk in chunks for found in translator.search(chunk, wide)]


def differing(
    translator: Translator, lines: Lines, decode: DecodeConfig, alone: list[Candidate], found: list[Candidate]
) -> Iterator[dict[str, Any]]:
    """Yield each line whose output is another one, with the least margin of its search alone."""
    for place, source, one, other in zip(lines.places, lines.sources, alone, found, strict=True):
        if one.tokens != other.tokens:
            gap = margin(translator, source, decode)
            yield {"line": place, "margin": gap, "alone": one.text, "in_batch": other.text}


def compare(translator: Translator, lines: Lines, beam: int) -> list[dict[str, Any]]:
    """Return a row for each way to batch."""
    decode = neutral(translator.settings.decode, beam)
    alone = outputs(translator, lines.sources, decode, "1")
    rows: list[dict[str, Any]] = []
    for size in BATCHES:
        found = outputs(translator, lines.sources, decode, size)
        others = list(differing(translator, lines, decode, alone, found))
        same = [abs(a.log_prob - b.log_prob) for a, b in zip(alone, found, strict=True) if a.tokens == b.tokens]
        near = [other for other in others if other["margin"] < NEAR_TIE]
        row = {
            "beam": beam, "batch": size, "identical": len(same), "near_ties": len(near),
            "differ": len(others) - len(near), "largest_log_prob_difference": max(same, default=0.0),
        }  # fmt: skip
        rows.append(row)
        for line in (row, *others):
            print(json.dumps(line, ensure_ascii=False), flush=True)
    return rows


def main() -> None:
    """Decode the same sentences in every way and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "batch_invariance.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    package = load_package(arguments.model)
    lines = read_data(package.translator, arguments.source, "drop")
    count = min(arguments.sentences, len(lines))
    chosen = random.Random(1).sample(range(len(lines)), count)  # the file is sorted by length
    lines = Lines(lines.name, tuple(lines.places[i] for i in chosen), tuple(lines.sources[i] for i in chosen))
    rows = [row for beam in (1, 4) for row in compare(package.translator, lines, beam)]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    result = {
        "command": "python benchmarks/batch_invariance.py MODEL --source held-out.tsv",
        "sentences": count, "source": arguments.source.name, "source_sha256": sha256(arguments.source),
        "model": sha256(find(arguments.model) / MANIFEST), "near_tie_below": NEAR_TIE,
        "parameters": sum(p.numel() for p in package.translator.model.parameters()),
        "runs": rows, "threads": arguments.threads, "versions": versions(),
        "machine": platform.processor() or platform.machine(), "instructions": torch.backends.cpu.get_cpu_capability(),
        "commit": commit.stdout.strip(), "date": date.today().isoformat(),
    }  # fmt: skip
    write_text(arguments.out, to_json(result))
    sys.exit(any(row["differ"] for row in rows))


if __name__ == "__main__":
    main()
