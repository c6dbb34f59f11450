"""How long until the first update, and how much memory, on a corpus larger than one would hold: 10 million pairs.

    python benchmarks/large_corpus.py --pairs 10000000

Writes generated pairs into a temporary folder, trains for one update with everything left to Onehop, and tells the
seconds from the command to the first update and the largest resident memory of the process.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import onehop


def generate(folder: Path, count: int) -> None:
    """Write `count` pairs of sentences of 3 to 15 words, from 50,000 made-up words with Zipf's frequencies."""
    draw = random.Random(1)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "il", "on", "us")]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(50_000)]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    with open(folder / "large.src", "w") as sources, open(folder / "large.tgt", "w") as targets:
        left = count
        while left:
            rows = min(left, 100_000)
            pool = draw.choices(words, weights, k=rows * 9)
            lines = [" ".join(pool[9 * i : 9 * i + draw.randint(3, 9)]) for i in range(rows)]
            sources.write("".join(f"{line.capitalize()}.\n" for line in lines))
            targets.write("".join(f"{' '.join(reversed(line.split())).capitalize()}!\n" for line in lines))
            left -= rows


def main() -> None:
    """Generate, train for one update, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, arguments.pairs)
        command = [sys.executable, "-m", "onehop", "train", "--out", str(folder / "run")]
        command += ["--source", str(folder / "large.src"), "--target", str(folder / "large.tgt")]
        command += ["--set", "train.max_updates=1000"]
        log = folder / "run" / "log.jsonl"
        began = time.monotonic()
        process = subprocess.Popen(command, stderr=sys.stderr)
        while process.poll() is None and not (log.exists() and '"kind": "update"' in log.read_text()):
            time.sleep(0.2)
        seconds = time.monotonic() - began
        process.kill()
        process.wait()
    result = {
        "pairs": arguments.pairs,
        "seconds_to_first_update": round(seconds, 1),
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9, 3),
        "onehop": onehop.__version__,
        "machine": platform.machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
