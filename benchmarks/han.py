"""Classifiers on IMDb: hierarchical against flat attention, mean and last-state pooling, on the reviews held out.

    for name in han attention mean last; do onehop train recipes/imdb-$name.toml --out runs/imdb-$name --threads 1; done
    python benchmarks/han.py runs --commit COMMIT > benchmarks/results/han.json

Prints one object: for each recipe accuracy with its interval, macro F1, weights, seconds of training; the paired tests;
and for a review written for the purpose (no line of the data) which sentences and words were read most. The test set is
looked at here and nowhere else: the recipes choose by 250 training reviews held out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

import onehop
from onehop.data.labelled import open_labelled
from onehop.evaluate import ClassifyReport, evaluate_labels
from onehop.metrics.classification import mcnemar
from onehop.tasks.evidence import evidence

NAMES = ("han", "attention", "mean", "last")
REVIEW = (
    "My sister picked this one for our Friday evening. It opens with twenty minutes of a man looking for his keys. "
    "The songs are fine, I suppose. But the story is a dull, pointless mess, and the ending is the worst that I "
    "remember. We went home and made soup."
)


def read(folder: Path) -> dict[str, Any]:
    """Return how a run went."""
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
    last = [row for row in log if row["kind"] == "update"][-1]
    record = json.loads((folder / "run.json").read_text("utf-8"))
    return {"updates": last["update"], "seconds": last["seconds"], "threads": record["machine"]["threads"]}


def scored(report: ClassifyReport) -> dict[str, Any]:
    """Return the figures of a report that are kept."""
    values = report.to_dict()
    return {name: values[name] for name in ("accuracy", "accuracy_interval", "macro_f1", "mcc", "texts", "cut")}


def shown(model: onehop.Classifier) -> list[dict[str, Any]]:
    """Return the sentences of the review, with their weights and the three words read most."""
    found: list[dict[str, Any]] = []
    for sentence in evidence(model, REVIEW):
        words = sorted(sentence.words, key=lambda word: -word.weight)[:3]
        most = {word.text: round(word.weight, 3) for word in words}
        found.append({"sentence": sentence.text, "weight": round(sentence.weight, 3), "words": most})
    return found


def main() -> None:
    """Evaluate the four runs and compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ONEHOP_DATA", "data")))
    parser.add_argument("--commit", required=True)
    parser.add_argument("--names", nargs="+", choices=NAMES, default=list(NAMES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [(texts[0], label) for texts, label, _ in open_labelled(arguments.data / "imdb" / "test_5000.jsonl.gz").rows]
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    models = {name: onehop.load_classifier(arguments.runs / f"imdb-{name}") for name in arguments.names}
    reports = {name: evaluate_labels(model, texts, labels, long="cut") for name, model in models.items()}
    wanted = [next(iter(models.values())).label(label) for label in labels]
    result: dict[str, Any] = {
        "commit": arguments.commit, "processor": platform.processor() or platform.machine(), "torch": torch.__version__,
        "recipes": {
            name: {
                **scored(reports[name]),
                "parameters": sum(p.numel() for p in models[name].model.parameters()),
                **read(arguments.runs / f"imdb-{name}"),
            }
            for name in arguments.names
        },
        "paired": {
            f"{one} against {other}": {
                "difference": round(compared.difference, 4), "better": compared.better, "worse": compared.worse,
                "p": round(compared.p_value, 5),
            }
            for place, one in enumerate(arguments.names)
            for other in arguments.names[place + 1 :]
            for compared in [mcnemar(reports[one].system.each, reports[other].system.each, wanted)]
        },
    }  # fmt: skip
    if "han" in models:
        [found] = models["han"].predict([REVIEW])
        scores = {label: round(score, 3) for label, score in found.scores.items()}
        result["review"] = {"label": found.label, "scores": scores, "read": shown(models["han"])}
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
