"""Does a run that was killed, or whose disk failed, end with the bits of one that nothing happened to?

    python benchmarks/faults.py -o benchmarks/results/faults.json

First, runs of each kind (accumulation, R-Drop, averages, ...) are killed by SIGKILL at random moments and at moments
inside the writing of checkpoints and packages, on a disk made slow so that those are hit, and resumed until they end.
Then a library that is loaded before the C library makes a write fail with ENOSPC or EIO, writes only a part, or lets
fsync fail (this needs `cc`); the command must end with status 2 and one message, and a resume without it must finish.
After each, weights, optimizer, random generators, package and log (but its times) are compared byte by byte with a run
that nothing happened to. The script ends with status 1 at the first difference.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import onehop
from onehop.files import Run
from onehop.train.recipe import to_toml
from tests.fixtures.killed import KINDS, Kills, kind_of, moments, sitting
from tests.train.test_resume import assert_same_run

HERE = Path(__file__).parent
PRELOADED = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int left = -1;

/* Whether this call, on a file whose path holds $FAULT_PATH, is the one to fail; those after it fail too. */
static int hit(int fd, const char *kind) {
    const char *wanted = getenv("FAULT_KIND"), *part = getenv("FAULT_PATH");
    if (!wanted || !part || strcmp(kind, strcmp(wanted, "fsync") ? "write" : "fsync")) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    if (!strstr(path, part)) return 0;
    if (left < 0) left = atoi(getenv("FAULT_AFTER"));
    return left-- <= 0 ? (left = 0, 1) : 0;
}

ssize_t write(int fd, const void *data, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    static int cut;
    if (!real) real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (hit(fd, "write")) {
        if (!strcmp(getenv("FAULT_KIND"), "short") && !cut++ && size > 1) return real(fd, data, size / 2);
        errno = atoi(getenv("FAULT_ERRNO"));
        return -1;
    }
    return real(fd, data, size);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    if (hit(fd, "fsync")) {
        errno = atoi(getenv("FAULT_ERRNO"));
        return -1;
    }
    return real(fd);
}
"""
ENOSPC, EIO = 28, 5
# (kind, errno, part of the path, calls that go well before)
FAULTS = [
    (kind, number, place, min(calls, 6) if kind == "fsync" else calls)  # the log is synced once a checkpoint
    for place, calls in (("/checkpoints/", 4), ("/.model.", 6), ("/log.jsonl", 13))
    for kind, number in (("write", ENOSPC), ("write", EIO), ("short", ENOSPC), ("fsync", EIO))
    if (kind, place) != ("short", "/log.jsonl")
]


def killed(folder: Path, name: str, draw: random.Random, kills: Kills) -> None:
    """Kill two runs of a kind twice each, and compare what they come to."""
    recipe, whole = kind_of(folder, name), folder / name
    began = time.monotonic()
    sitting(recipe, whole, lambda: False)
    seconds = time.monotonic() - began
    for turn, kinds in enumerate(((1, 0), (2, 3, 0))):
        out = folder / f"{name}-{turn}"
        for kind in kinds:
            if sitting(recipe, out, moments(Run(out), draw, seconds * 0.8)[kind]()):
                kills.count(Run(out))
            else:
                kills.too_late += 1
        sitting(recipe, out, lambda: False)
        assert_same_run(whole, out)


def failed(folder: Path, library: Path, fault: tuple[str, int, str, int]) -> dict[str, object]:
    """Let a disk fail in a run, resume it on a good one, and compare."""
    kind, number, place, calls = fault
    out = folder / f"fault-{kind}-{number}-{place.strip('/.')}"
    command = [sys.executable, "-m", "onehop", "train", str(folder / "plain.toml"), "--threads", "1", "--out", str(out)]
    broken = {"LD_PRELOAD": str(library), "FAULT_KIND": kind, "FAULT_ERRNO": str(number), "FAULT_PATH": place}
    environment = {**os.environ, **broken, "FAULT_AFTER": str(calls)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    message = done.stderr[done.stderr.find("error: ") :]
    assert done.returncode == 2, done
    assert done.stderr.count("error: ") == 1, done.stderr
    assert "--resume" in message, message
    assert "Traceback" not in done.stderr, done.stderr
    kept = [int(path.name) for path in Run(out).saved()]
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    assert_same_run(folder / "plain", out)
    told = message.replace(str(folder), "").strip()
    return {"fault": kind, "errno": number, "place": place, "checkpoints_kept": kept, "message": told}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    began = time.monotonic()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    draw, kills, faults = random.Random(options.seed), Kills(), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in KINDS:
            killed(folder, kind, draw, kills)
            print(kind, asdict(kills), file=sys.stderr, flush=True)
        (folder / "plain.toml").write_text(to_toml(kind_of(folder, "plain")), "utf-8")
        (folder / "fault.c").write_text(PRELOADED)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "fault.so", folder / "fault.c", "-ldl"], check=True)
        for fault in FAULTS:
            faults.append(failed(folder, folder / "fault.so", fault))
            print(faults[-1], file=sys.stderr, flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    result = {
        "command": f"python benchmarks/faults.py --seed {options.seed}",
        "kinds": list(KINDS),
        "sigkill": asdict(kills),
        "injected": faults,
        "different_runs": 0,
        "onehop": onehop.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": 1,
        "commit": commit.stdout.strip(),
        "date": date.today().isoformat(),
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    text = json.dumps(result, indent=1, ensure_ascii=False)
    print(text)
    if options.output:
        options.output.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
