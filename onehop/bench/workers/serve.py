"""What every worker does: answer requests, and say what each took. Runs where Onehop may not be installed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[[list[Any], dict[str, Any]], list[Any]]


def serve(run: Run, began: float) -> None:
    """Answer requests until standard input ends.

    A request is a line with an object: `inputs`, `batch` (1: one input at a time) and what `run` needs besides. The
    answer holds `outputs`, seconds of `wall` and `cpu` time, those of `each` call, and the `peak` of memory in MB.

    Args:
        run: From inputs and the request to outputs.
        began: When the worker began to load its model, by `time.perf_counter`.
    """
    print(json.dumps({"load": time.perf_counter() - began}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        inputs = request["inputs"]
        groups = [inputs] if request["batch"] > 1 else [[one] for one in inputs]
        wall, cpu = time.perf_counter(), time.process_time()
        each: list[float] = []
        outputs: list[Any] = []
        for group in groups:
            start = time.perf_counter()
            outputs += run(group, request)
            each.append(time.perf_counter() - start)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        answer = {"wall": wall, "cpu": cpu, "each": each, "outputs": outputs, "peak": peak()}
        print(json.dumps(answer), flush=True)


def peak() -> float | None:
    """Return the most memory that this process has held, in MB; `getrusage` would tell that of its parent."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)
