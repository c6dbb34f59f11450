"""Encoding speed beside the rivals': the same BERT, texts and machine, in turn, in one run.

    make rivals
    python benchmarks/encode_speed.py --model FOLDER_OF_MINILM --rounds 5

Texts are English sentences of the bundled Tatoeba pairs, mean of about 15 tokens. Every system is a process that stays;
requests take turns, and medians are quoted with their spread. All sort texts by length; rivals run in batches of
`--batch`. Vectors are compared with those of transformers. Nothing else may run on the machine.

Work: `bulk`, all texts; `single`, one text at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import onehop
from onehop.bench.systems import ENCODE, OWN, Process
from onehop.data.tatoeba import pairs

SYSTEMS = {system.name: system for system in (ENCODE[0], *OWN, *ENCODE[1:])}
HERE = Path(__file__).parent
ALIKE = 0.8  # least cosine with the vectors of transformers; onnxruntime in int8 is at 0.88


def rows_of(model: str, count: int) -> list[list[int]]:
    """Return the tokens of English sentences, marks included."""
    texts = [text for text in dict.fromkeys(pair.source for pair in pairs()) if 9 <= len(text.split()) <= 24]
    embedder: Any = onehop.load(model)
    begin, end = embedder.documents.begin, embedder.documents.end
    chosen = texts[:: max(1, len(texts) // count)][:count]
    return [[begin, *tokens, end] for tokens in embedder.encode(chosen)]


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Let all systems encode in turn; return a row for each system and work."""
    rows = rows_of(arguments.model, arguments.texts)
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in ("model", "checkpoint"):
            (folder / name).write_text(arguments.model)
        systems = {
            each: Process(SYSTEMS[each], folder, arguments.threads, arguments.rivals) for each in arguments.system
        }
        for work in arguments.work:
            some, batch = (rows, arguments.batch) if work == "bulk" else (rows[: arguments.single], 1)
            answers: dict[str, list[dict[str, Any]]] = {each: [] for each in systems}
            for turn in range(arguments.rounds + 1):
                for each, system in systems.items():
                    answer = system.ask({"inputs": some, "batch": batch, "framed": True, "read": "vectors"})
                    if turn:  # the first is to warm up
                        answers[each].append(answer)
                        told = [f"{len(some) / answer[clock]:.0f}" for clock in ("wall", "cpu")]
                        print(work, turn, each, *told, "texts/s, wall and processor", flush=True)
            first = np.array(next(iter(answers.values()))[0]["outputs"])
            found += [
                summary(work, each, given, first, len(some), systems[each].load) for each, given in answers.items()
            ]
        for system in systems.values():
            system.close()
    return found


def summary(
    work: str, system: str, answers: list[dict[str, Any]], first: np.ndarray, count: int, load: float
) -> dict[str, Any]:
    """Return what is kept of a system's answers."""
    speeds = sorted(count / answer["wall"] for answer in answers)
    each = sorted(second for answer in answers for second in answer["each"])
    cosines = (np.array(answers[0]["outputs"]) * first).sum(1)
    if cosines.min() < ALIKE:
        raise SystemExit(f"{system} does not compute the same vectors: least cosine {cosines.min():.3f}")
    return {
        "work": work, "system": system, "texts_per_second": round(statistics.median(speeds), 1),
        "spread": [round(speeds[0], 1), round(speeds[-1], 1)],
        "texts_per_processor_second": round(statistics.median(count / answer["cpu"] for answer in answers), 1),
        **({"p50_ms": round(1e3 * statistics.median(each), 2), "p95_ms": round(1e3 * each[int(0.95 * len(each))], 2)}
           if work == "single" else {}),
        "least_cosine": round(float(cosines.min()), 6), "peak_mb": round(answers[-1]["peak"]),
        "load_seconds": round(load, 2),
    }  # fmt: skip


def ratios(rows: list[dict[str, Any]], key: str) -> list[str]:
    """Return how Onehop compares with the best other system, for each work and precision."""
    told: list[str] = []
    for work in dict.fromkeys(row["work"] for row in rows):
        for precision in ("float32", "bfloat16", "int8"):
            some = [row for row in rows if row["work"] == work and row["system"].endswith(precision)]
            ours = [row for row in some if row["system"].startswith("onehop")]
            others = [row for row in some if row not in ours]
            if ours and others:
                best = max(others, key=lambda row: row[key])
                told.append(
                    f"{work} {precision}: onehop {ours[0][key]:.0f}, {best['system']} {best[key]:.0f}: "
                    f"{ours[0][key] / best[key]:.2f}x ({key})"
                )
    return told


def main() -> None:
    """Measure and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a checkpoint in BERT's layout, float32")
    parser.add_argument("--work", nargs="*", default=["bulk", "single"], choices=["bulk", "single"])
    parser.add_argument("--system", nargs="*", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--single", type=int, default=200, help="texts that are encoded one at a time")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rivals", default=str(HERE.parent / ".rivals/bin/python"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "encode_speed.jsonl")
    arguments = parser.parse_args()
    rows = measure(arguments)
    for key in ("texts_per_second", "texts_per_processor_second"):
        print("\n".join(ratios(rows, key)), flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    about = {
        "model": Path(arguments.model).parent.name, "threads": arguments.threads, "rounds": arguments.rounds,
        "texts": arguments.texts, "batch": arguments.batch, "processor": platform.processor() or platform.machine(),
        "commit": commit.stdout.strip(), "date": date.today().isoformat(),
    }  # fmt: skip
    with open(arguments.out, "a", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps({**row, **about}) + "\n")


if __name__ == "__main__":
    main()
