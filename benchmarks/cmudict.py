"""Letters to sounds on CMUdict: word and phoneme error rates of models that `recipes/cmudict-*.toml` made.

    python benchmarks/cmudict.py runs/cmudict-r03 [MODEL...] --table runs/text/cmudict/test.tsv [--out FILE]

A word is right when what the beam puts first equals any of its pronunciations. Phoneme errors are the fewest edits to
one of them, for each hundred phonemes of that one. Intervals are 95 % of 10,000 bootstrap samples of the words, and the
differences between neighbours in the order given are paired. Comparable in kind, but not in its split, to the word
error of 22 % that letters-to-sounds models of the literature reach on CMUdict.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import onehop

RESAMPLES, SEED = 10_000, 12345


def words(table: Path) -> dict[str, list[list[str]]]:
    """Return the pronunciations of each word."""
    found: dict[str, list[list[str]]] = {}
    for line in table.read_text("utf-8").splitlines():
        letters, phonemes = line.split("\t")
        found.setdefault(letters, []).append(phonemes.split())
    return found


def edits(one: list[str], two: list[str]) -> int:
    """Return the fewest insertions, deletions and replacements between two lists (Levenshtein 1966)."""
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(two, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def errors(output: list[str], references: list[list[list[str]]]) -> np.ndarray:
    """Return for each word whether it is wrong, its phoneme edits and its phonemes: `(N, 3)`."""
    rows: list[tuple[int, int, int]] = []
    for text, variants in zip(output, references, strict=True):
        fewest, size = min((edits(text.split(), variant), len(variant)) for variant in variants)
        rows.append((int(fewest > 0), fewest, size))
    return np.array(rows)


def samples(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return word and phoneme error of every bootstrap sample, the same words for each model."""
    draw, rates = np.random.default_rng(SEED), list[tuple[float, float]]()
    for _ in range(RESAMPLES):
        wrong, edit, size = found[draw.integers(len(found), size=len(found))].sum(0)
        rates.append((100 * wrong / len(found), 100 * edit / size))
    return tuple(np.array(rates).T)  # type: ignore[return-value]


def interval(values: np.ndarray) -> list[float]:
    """Return where 95 % of the values lie."""
    return [round(float(value), 2) for value in np.percentile(values, [2.5, 97.5])]


def main() -> None:
    """Score the models and print or write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    references = words(arguments.table)
    rows: dict[str, dict[str, Any]] = {}
    before: tuple[str, np.ndarray] | None = None
    for path in arguments.models:
        model, began = onehop.load(path), time.monotonic()
        output = [found.text for found in model.translate(list(references), split=False)]
        found = errors(output, list(references.values()))
        by_word, by_phoneme = samples(found)
        name = Path(path).name
        rows[name] = {
            "wer": round(100 * found[:, 0].mean(), 2), "wer_interval": interval(by_word),
            "per": round(100 * found[:, 1].sum() / found[:, 2].sum(), 2), "per_interval": interval(by_phoneme),
            "parameters": sum(p.numel() for p in model.model.parameters()),
            "beam": model.settings.decode.beam_size, "seconds": round(time.monotonic() - began, 1),
        }  # fmt: skip
        if before is not None:
            rows[name][f"wer_less_than_{before[0]}"] = interval(before[1] - by_word)
        before = name, by_word
        print(name, json.dumps(rows[name]), flush=True)
    result = {"table": arguments.table.name, "words": len(references), "models": rows, "machine": platform.machine()}
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
