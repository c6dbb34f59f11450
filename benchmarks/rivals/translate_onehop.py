"""A worker of translate_speed.py: Onehop's runtime, or its reference path; see translate_ctranslate2.py.

python translate_onehop.py FOLDER THREADS float32|int8|reference
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

import onehop


def peak() -> float:
    """Return the most memory that this process has held, in MB; `getrusage` would tell that of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Answer requests until standard input ends."""
    folder, threads, precision = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(threads)
    began = time.perf_counter()
    translator = onehop.load(folder / "package")
    if precision != "reference":
        translator = translator.fast(precision)
    print(json.dumps({"load": time.perf_counter() - began}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        sources = [source[:-1] for source in request["sources"]]  # its own end mark is put there again
        longest = max(map(len, sources)) + 1
        changes = {"beam_size": request["beam"], "batch_tokens": request["batch"] * request["beam"] * longest}
        if request.get("length"):
            changes |= {"min_length": request["length"], "max_length": request["length"]}
        decode = translator.settings.decode.model_copy(update=changes)
        groups = [sources] if request["batch"] > 1 else [[source] for source in sources]
        wall, cpu, found, each = time.perf_counter(), time.process_time(), [], []
        for group in groups:
            start = time.perf_counter()
            found += translator.search(group, decode)
            each.append(time.perf_counter() - start)
        answer = {
            "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "each": each,
            "tokens": [one[0].tokens for one in found],
            "peak": peak(),
        }  # fmt: skip
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
