"""Does the cost grow as it should: with the number of lines, the tokens written of one, and the tokens read of one?

    python benchmarks/throughput.py [--sizes 1000 10000 100000] [--written 16 64 256] [--lengths 256 512 1024 2048 4096]

`onehop translate` translates so many lines of the bundled Tatoeba pairs, in a process of its own; seconds of loading,
those of one line, are taken off. The pairs stand in the order of their length, so that the lines are shuffled first:
1,000 of them are as long in the mean as 100,000. Then 32 sentences are given so many tokens each, greedily. Then an
encoder of random weights (ModernBERT's blocks, 6 layers, 384 wide) reads one text of so many tokens. Each measurement
has a process of its own, and peaks are those of the processes. Times are never asserted; nothing else may run on the
machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

SEED = 12345

READ = """
import json, sys, time, torch
from onehop.models.encoders import build_encoder
from onehop.nn import Source
from onehop.runtime import accelerate
torch.set_num_threads(int(sys.argv[2]))
sizes = {"dim": 384, "ffn_dim": 576, "num_heads": 12, "num_layers": 6, "max_positions": 8192}
encoder, _ = accelerate(build_encoder("modernbert", sizes, 8000).eval(), sys.argv[3])
peak = lambda: next(int(l.split()[1]) / 1024 for l in open("/proc/self/status") if l.startswith("VmHWM"))
with torch.inference_mode():
    encoder.encode(Source(torch.full((1, 16), 7)))
    before, began = peak(), time.perf_counter()
    encoder.encode(Source(torch.randint(3, 8000, (1, int(sys.argv[1])))))
    print(json.dumps({"seconds": round(time.perf_counter() - began, 4), "mb": round(peak() - before, 1)}))
"""


def child(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds and the most memory that it held, in MB."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command}: status {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def translating(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each number of lines."""
    code = "from onehop.data.tatoeba import pairs\nfor pair in pairs(): print(pair.source)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    lines = list(dict.fromkeys(told.splitlines()))
    random.Random(SEED).shuffle(lines)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lines"
        load = 0.0
        for size in [1, 1, *arguments.sizes]:  # the first fills the caches
            file.write_text("".join(f"{line}\n" for line in islice(cycle(lines), size)), "utf-8")
            words = ["translate", arguments.model, str(file), "-o", os.devnull, "--long", "drop"]
            options = [
                "--beam",
                str(arguments.beam),
                "--precision",
                arguments.precision,
                "--threads",
                str(arguments.threads),
            ]
            seconds, peak = child([sys.executable, "-m", "onehop", *words, *options])
            if size == 1:
                load = seconds
                continue
            rows.append(
                {
                    "lines": size,
                    "lines_per_second": round(size / (seconds - load), 1) if seconds > load else None,
                    "peak_mb": round(peak),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    return rows


WRITE = """
import json, sys, time, torch, onehop
torch.set_num_threads(int(sys.argv[2]))
translator = onehop.load(sys.argv[4]).fast(sys.argv[3])
sources = translator.source_tokenizer.encode_batch(["Where is the station?", "A man rides a bike."] * 16)
length = int(sys.argv[1])
fixed = {"beam_size": 1, "min_length": length, "max_length": length, "batch_tokens": 1 << 20}
decode = translator.settings.decode.model_copy(update=fixed)
seconds = []
for _ in range(4):
    began = time.perf_counter()
    found = translator.search(sources, decode)
    seconds.append(time.perf_counter() - began)
assert all(len(one[0].tokens) == length for one in found), [len(one[0].tokens) for one in found]
print(json.dumps({"microseconds_per_token": round(1e6 * sorted(seconds[1:])[1] / length / 32, 2)}))
"""


def writing(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each number of tokens that sentences are given."""
    rows: list[dict[str, Any]] = []
    for length in arguments.written:
        words = [sys.executable, "-c", WRITE, str(length), str(arguments.threads), arguments.precision, arguments.model]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        rows.append({"written": length, **json.loads(done.stdout)})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def reading(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each length of a text."""
    rows: list[dict[str, Any]] = []
    for length in arguments.lengths:
        words = [sys.executable, "-c", READ, str(length), str(arguments.threads), arguments.precision]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        rows.append({"tokens": length, **json.loads(done.stdout)})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Measure, and write one object where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="en-de")
    parser.add_argument("--sizes", nargs="*", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--written", nargs="*", type=int, default=[16, 64, 256])
    parser.add_argument("--lengths", nargs="*", type=int, default=[256, 512, 1024, 2048, 4096])
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    about = {"beam": arguments.beam, "precision": arguments.precision, "threads": arguments.threads}
    found = {
        **about, "translate": translating(arguments), "write": writing(arguments), "encode": reading(arguments),
    }  # fmt: skip
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
