"""How long does the first translation of a bundled model take, beside importing torch, and what do the checks cost?

    python benchmarks/cold_start.py [--rounds 7] [--model en-de]

Three commands take turns, each in a fresh process with the files in the system's cache: `import torch`, `onehop
translate` of one sentence where no replay is remembered, and the same where it is. Then, in one process: `load_package`
with all of its checks, first and remembered, beside reading the same weights and tokenizer without any. Medians, wall
time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from safetensors.torch import load_file

from onehop.config import validate
from onehop.tasks import Translator, load_package
from onehop.tasks.folders import find
from onehop.tasks.settings import TranslationSettings
from onehop.tasks.weights import Undrawn, put, unpack
from onehop.text import Tokenizer

LINE = "Where is the station?\n"


def process(words: list[str], cache: Path) -> float:
    """Return the seconds that a command takes in a process of its own."""
    environment = {**os.environ, "ONEHOP_CACHE": str(cache)}
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], input=LINE, text=True, check=True, capture_output=True, env=environment)
    return time.perf_counter() - began


def bare(folder: Path) -> Translator:
    """Read a package without a single check."""
    settings = validate(TranslationSettings, json.loads((folder / "onehop.json").read_text())["settings"], "", "")
    tokenizer = Tokenizer.from_json((folder / "tokenizer.json").read_text())
    with Undrawn():
        translator = Translator.build(settings, tokenizer, tokenizer)
    put(translator.model, unpack(load_file(folder / "model.safetensors")))
    translator.model.eval()
    return translator


def timed(what: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", default="en-de")
    arguments = parser.parse_args()
    words = ["-m", "onehop", "translate", arguments.model]
    seconds: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        seconds.setdefault(name, []).append(value)

    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        process(words, cache)  # files into the system's cache
        for _ in range(arguments.rounds):
            note("import_torch", process(["-c", "import torch"], cache))
            shutil.rmtree(cache)
            cache.mkdir()
            note("translate_first", process(words, cache))
            note("translate", process(words, cache))
        os.environ["ONEHOP_CACHE"] = str(cache)
        package = find(arguments.model)
        for _ in range(arguments.rounds):
            note("load_without_checks", timed(lambda: bare(package)))
            shutil.rmtree(cache)
            cache.mkdir()
            note("load_first", timed(lambda: load_package(package)))
            note("load", timed(lambda: load_package(package)))
    print(json.dumps({name: round(median(values), 3) for name, values in seconds.items()}))


if __name__ == "__main__":
    main()
