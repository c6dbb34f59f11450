"""Quality against speed on Multi30k: which shapes of model, and whether what a teacher writes makes them better.

    python benchmarks/frontier.py train --data DATA --runs runs/frontier [--model "6+1" ...] [--updates 1500]
    python benchmarks/frontier.py measure --data DATA --runs runs/frontier --out F.json --figure F.svg

`N+M` has N layers that read and M that write, all 128 wide, with the settings of `benchmarks/ablation.py`; the teacher
is `4+4`, and `taught` models are students of it (`onehop distill`, Kim and Rush 2016). A run that was stopped goes on.
Measured are all finished runs: BLEU on the 1,014 validation sentences, cased and detokenised, by a beam of 4 and
greedily, and the runtime's speed, models in turn; medians. Nothing else may run then. The test set is not touched.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch
from ablation import BASE
from ladder import lines

import onehop
from onehop.metrics import bleu, interval
from onehop.train import make_recipe
from onehop.train.recipe import to_toml

TEACHER = "4+4"
SHAPES: dict[str, dict[str, Any]] = {
    "4+4": {},
    "6+2": {"model.num_encoder_layers": 6, "model.num_decoder_layers": 2},
    "6+1": {"model.num_encoder_layers": 6, "model.num_decoder_layers": 1},
    "3+1": {"model.num_encoder_layers": 3, "model.num_decoder_layers": 1},
    "6+1 one key": {"model.num_encoder_layers": 6, "model.num_decoder_layers": 1, "model.num_kv_heads": 1},
    "6+1 small vocabulary": {"model.num_encoder_layers": 6, "model.num_decoder_layers": 1, "text.vocab_size": 2_000},
}
MODELS = {**{name: (name, False) for name in SHAPES}, **{f"{name} taught": (name, True) for name in SHAPES}}
SINGLE = 200  # sentences that are translated one at a time


def train(arguments: argparse.Namespace) -> None:
    """Train models, the teacher first."""
    home = arguments.data / "multi30k"
    files = {"source": "train.en", "target": "train.de", "valid_source": "val.en", "valid_target": "val.de"}
    tables = {
        **BASE,
        "data": {key: [str((home / f"{file}.gz").absolute())] for key, file in files.items()},
        "train": {**BASE["train"], "precision": "auto", "max_updates": arguments.updates,
                  "evaluate_every": arguments.updates},
    }  # fmt: skip
    arguments.runs.mkdir(parents=True, exist_ok=True)
    recipe = make_recipe(tables)
    for name in sorted(arguments.model, key=lambda name: (name != TEACHER, MODELS[name][1])):
        shape, taught = MODELS[name]
        out, file = folder(arguments.runs, name), folder(arguments.runs, name).with_suffix(".toml")
        if (out / "model").exists():
            continue
        chosen = recipe
        if taught:  # by one text, which is written for the first
            teacher = onehop.load(folder(arguments.runs, TEACHER)).fast("int8")
            chosen = onehop.train.distill(teacher, recipe, arguments.runs / "taught.text")
        file.write_text(to_toml(chosen))
        settings = [f"--set={key}={json.dumps(value)}" for key, value in SHAPES[shape].items()]
        command = ["onehop", "train", str(file), "--out", str(out), "--threads", str(arguments.threads), *settings]
        subprocess.run([*command, *(["--resume"] if out.exists() else [])], check=True)


def folder(runs: Path, name: str) -> Path:
    """Return where a model's run is."""
    return runs / name.replace(" ", "-")


def measure(arguments: argparse.Namespace) -> None:
    """Measure all models that are there, in turn."""
    stem = arguments.data / "multi30k"
    sources, references = lines(stem / "val.en.gz"), lines(stem / "val.de.gz")
    found = {name: folder(arguments.runs, name) for name in MODELS if (folder(arguments.runs, name) / "model").exists()}
    if not found:
        raise SystemExit(f"no finished run in {arguments.runs}: train first")
    fast = {name: onehop.load(run).fast(arguments.precision) for name, run in found.items()}
    seconds: dict[tuple[str, str], list[float]] = {}
    texts: dict[tuple[str, str], list[str]] = {}
    for turn in range(arguments.rounds + 1):
        for name, model in fast.items():
            for work, beam, some in (("beam4", 4, sources), ("greedy", 1, sources), ("single", 1, sources[:SINGLE])):
                decode = model.settings.decode.model_copy(update={"beam_size": beam})
                began = time.perf_counter()
                if work == "single":
                    out = [model.translate([line], decode, split=False)[0].text for line in some]
                else:
                    out = [one.text for one in model.translate(some, decode, split=False)]
                if turn:  # the first is for warming up
                    seconds.setdefault((name, work), []).append(time.perf_counter() - began)
                texts[name, work] = out
        print("round", turn, flush=True)
    rows: list[dict[str, Any]] = []
    for name, run in found.items():
        around = interval(texts[name, "beam4"], references)
        per = {work: statistics.median(seconds[name, work]) for work in ("beam4", "greedy", "single")}
        weights = sum(one.numel() for one in onehop.load(run).model.parameters())
        rows.append({
            "model": name, "parameters": weights, "bleu": round(bleu(texts[name, "beam4"], references).value, 2),
            "bleu_interval": [round(around.low, 2), round(around.high, 2)],
            "bleu_greedy": round(bleu(texts[name, "greedy"], references).value, 2),
            "sentences_per_second": round(len(sources) / per["beam4"], 1),
            "sentences_per_second_greedy": round(len(sources) / per["greedy"], 1),
            "ms_one_at_a_time": round(1e3 * per["single"] / SINGLE, 2),
        })  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    for row in rows:
        row["on_the_frontier"] = not any(
            other["bleu"] >= row["bleu"] and other["sentences_per_second"] > row["sentences_per_second"]
            for other in rows
        )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    result = {
        "command": "python benchmarks/frontier.py measure", "data": "Multi30k val, en-de", "updates": arguments.updates,
        "precision": arguments.precision, "threads": arguments.threads, "rounds": arguments.rounds,
        "commit": commit.stdout.strip(), "date": date.today().isoformat(), "cpu": arguments.cpu, "models": rows,
    }  # fmt: skip
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.figure:
        arguments.figure.write_text(figure(rows))


def figure(rows: list[dict[str, Any]]) -> str:
    """Return BLEU against sentences a second as SVG, students in another colour, the frontier joined."""
    width, height, left, right, top, bottom = 680, 400, 56, 150, 44, 52
    speeds, scores = [row["sentences_per_second"] for row in rows], [row["bleu"] for row in rows]
    step = next(step for step in (10, 20, 50, 100, 200, 500, 1_000) if max(speeds) / step < 9)
    most, low, high = step * (int(max(speeds)) // step + 1), int(min(scores)) - 1, int(max(scores)) + 2

    def x(value: float) -> float:
        return round(left + (width - left - right) * value / most, 1)

    def y(value: float) -> float:
        return round(height - bottom - (height - top - bottom) * (value - low) / (high - low), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12" role="img" aria-label="BLEU against speed">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{left}" y="22" font-size="14" fill="#111">BLEU on Multi30k val against sentences a second, '
        "beam of 4</text>",
    ]
    for score in range(low, high + 1):
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y(score)}" y2="{y(score)}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{left - 8}" y="{y(score) + 4}" text-anchor="end" fill="#374151">{score}</text>')
    for speed in range(0, most + 1, step):
        parts.append(f'<text x="{x(speed)}" y="{height - 28}" text-anchor="middle" fill="#374151">{speed}</text>')
    best = sorted((row for row in rows if row["on_the_frontier"]), key=lambda row: row["sentences_per_second"])
    joined = " ".join(f"{x(row['sentences_per_second'])},{y(row['bleu'])}" for row in best)
    parts.append(f'<polyline points="{joined}" fill="none" stroke="#9ca3af" stroke-dasharray="4 3"/>')
    dots = [(x(row["sentences_per_second"]), y(row["bleu"])) for row in rows]
    taken = [(at - 6, at + 6, up - 6, up + 6) for at, up in dots]
    for row, (at, up) in zip(rows, dots, strict=True):
        colour, long = "#059669" if MODELS[row["model"]][1] else "#0284c7", 6.4 * len(row["model"])
        places = [(at - long / 2, up - 9), (at - long / 2, up + 17), (at + 9, up + 4), (at - 9 - long, up + 4)]
        boxes = [(left, left + long, base - 10, base + 2) for left, base in places]
        free = [n for n, box in enumerate(boxes) if not any(_meet(box, other) for other in taken)]
        best = free[0] if free else 0
        taken.append(boxes[best])
        parts.append(f'<circle cx="{at}" cy="{up}" r="4" fill="{colour}"/>')
        left, base = places[best]
        parts.append(
            f'<text x="{left:.1f}" y="{base:.1f}" textLength="{long:.1f}" fill="{colour}">{row["model"]}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _meet(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def main() -> None:
    """Train, or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "measure"])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ONEHOP_DATA", "data")))
    parser.add_argument("--runs", type=Path, default=Path("runs/frontier"))
    parser.add_argument("--model", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--updates", type=int, default=1_500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpu", default="")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    {"train": train, "measure": measure}[arguments.what](arguments)


if __name__ == "__main__":
    main()
