"""The ladder of the lineage on Multi30k: one state, a context at every step, attention, the Transformer.

    ONEHOP_DATA=... python benchmarks/ladder.py R-01=RUN R-02=RUN R-03=RUN T-01=RUN --out F.json --figure F.svg

Models of recipes/ladder have one vocabulary, equal numbers of weights and of updates. Each translates the 1,014
validation sentences with its package's beam; BLEU is cased and detokenised, with a 95 % bootstrap interval, a paired
test against the system before it, and BLEU by words of the source. The test set is not touched.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import torch

import onehop
from onehop.evaluate import Report, evaluate

BOUNDS = ((1, 7), (8, 10), (11, 13), (14, 17), (18, None))  # words of a source: about a fifth of the sentences each
COLOURS = ("#6b7280", "#0284c7", "#059669", "#dc2626")


def lines(path: Path) -> list[str]:
    """Return the lines of a compressed file."""
    return gzip.decompress(path.read_bytes()).decode().removesuffix("\n").split("\n")


def measured(name: str, run: str, sources: list[str], references: list[str], before: Report | None) -> Report:
    """Translate with one model; compare with the one before."""
    system = before.system if before else None
    return evaluate(onehop.load(run), sources, references, long="cut", where=name, against=system)


def by_length(texts: list[str], sources: list[str], references: list[str]) -> list[dict[str, Any]]:
    """Return BLEU of the sentences of each range of lengths, with its interval."""
    found: list[dict[str, Any]] = []
    for low, high in BOUNDS:
        rows = [n for n, line in enumerate(sources) if low <= len(line.split()) <= (high or 1 << 30)]
        some, theirs = [texts[n] for n in rows], [references[n] for n in rows]
        score, around = onehop.metrics.bleu(some, theirs), onehop.metrics.interval(some, theirs)
        interval = [round(around.low, 2), round(around.high, 2)]
        found.append(
            {"low": low, "high": high, "lines": len(rows), "bleu": round(score.value, 2), "interval": interval}
        )
    return found


def row(name: str, run: str, report: Report, sources: list[str], references: list[str]) -> dict[str, Any]:
    """Return what is recorded of one model."""
    package = onehop.tasks.load_package(run)
    model = package.translator.model
    log = [json.loads(line) for line in (Path(run) / "log.jsonl").read_text().splitlines()]
    last = [entry for entry in log if entry["kind"] == "update"][-1]
    result: dict[str, Any] = {
        "system": name, "parameters": sum(p.numel() for p in model.parameters()), "updates": last["update"],
        "training_minutes": round(last["seconds"] / 60, 1), **report.to_dict(),
    }  # fmt: skip
    result["by_length"] = by_length(report.hypotheses, sources, references)
    return result


def figure(rows: list[dict[str, Any]]) -> str:
    """Return BLEU by length as SVG: a line for each system, its interval as a band."""
    width, height, left, top = 640, 360, 52, 44
    right, bottom = 70, 48
    most = 10 * (int(max(b["interval"][1] for r in rows for b in r["by_length"])) // 10 + 1)
    labels = [f"{low}–{high}" if high else f"{low} and more" for low, high in BOUNDS]
    x = [left + (width - left - right) * (n + 0.5) / len(labels) for n in range(len(labels))]

    def y(value: float) -> float:
        return round(height - bottom - (height - top - bottom) * value / most, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12" role="img" aria-label="BLEU by words of the source">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{left}" y="22" font-size="14" fill="#111">BLEU on Multi30k val, English to German, by words of the '
        "source</text>",
    ]
    for tick in range(0, most + 1, 10):
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y(tick)}" y2="{y(tick)}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{left - 8}" y="{y(tick) + 4}" text-anchor="end" fill="#374151">{tick}</text>')
    parts += [
        f'<text x="{at:.1f}" y="{height - 22}" text-anchor="middle" fill="#374151">{label}</text>'
        for at, label in zip(x, labels, strict=True)
    ]
    for found, colour in zip(rows, COLOURS, strict=False):
        buckets = found["by_length"]
        upper = [f"{at:.1f},{y(b['interval'][1])}" for at, b in zip(x, buckets, strict=True)]
        lower = [f"{at:.1f},{y(b['interval'][0])}" for at, b in zip(x, buckets, strict=True)]
        line = " ".join(f"{at:.1f},{y(b['bleu'])}" for at, b in zip(x, buckets, strict=True))
        parts.append(f'<polygon points="{" ".join([*upper, *lower[::-1]])}" fill="{colour}" opacity="0.12"/>')
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{at:.1f}" cy="{y(b["bleu"])}" r="3" fill="{colour}"/>'
            for at, b in zip(x, buckets, strict=True)
        ]
        parts.append(
            f'<text x="{x[-1] + 12:.1f}" y="{y(buckets[-1]["bleu"]) + 4}" fill="{colour}">{found["system"]}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Measure the systems in the order given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="+", metavar="NAME=RUN")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ONEHOP_DATA", "data")))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--commit", default="", help="Of the code that trained.")
    parser.add_argument("--cpu", default="")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    stem = arguments.data / "multi30k"
    sources, references = lines(stem / "val.en.gz"), lines(stem / "val.de.gz")
    rows: list[dict[str, Any]] = []
    before: Report | None = None
    for system in arguments.systems:
        name, _, run = system.partition("=")
        before = measured(name, run, sources, references, before)
        rows.append(row(name, run, before, sources, references))
        print(json.dumps(rows[-1]), flush=True)
    result = {
        "command": "python benchmarks/ladder.py R-01=RUN R-02=RUN R-03=RUN T-01=RUN",
        "recipes": "recipes/ladder", "data": "Multi30k val, en-de", "commit": arguments.commit,
        "date": str(date.today()), "cpu": arguments.cpu, "threads": arguments.threads, "systems": rows,
    }  # fmt: skip
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.figure:
        arguments.figure.write_text(figure(rows))


if __name__ == "__main__":
    main()
