"""Write the text that the recipes beside this file train on: `train.tsv` and `held-out.tsv`.

    python recipes/prepare.py en-de runs/text/en-de
    python recipes/prepare.py en-zh runs/text/en-zh --data DATA    (DATA/tatoeba/cmn.txt.gz)
    python recipes/prepare.py en-ja runs/text/en-ja --data DATA    (DATA/small_parallel_enja/train.{en,ja}.gz)

English-German is the text that ships with Onehop, split as in the quickstart. Of the others, the 1,000 English
sentences with the smallest SHA-256 are held out, each with its first translation; whatever shares either side with
one of those takes no part in training.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
from pathlib import Path

from onehop.data import Pair, tatoeba

HELD_OUT = 1_000


def chinese(data: Path) -> list[Pair]:
    """Return Tatoeba's pairs; simplified and traditional characters are mixed, and the file begins with a mark."""
    text = gzip.decompress((data / "tatoeba" / "cmn.txt.gz").read_bytes()).decode("utf-8-sig")
    rows = (line.split("\t") for line in text.splitlines() if line.strip())
    return [Pair(english, other) for english, other, *_ in rows]


def japanese(data: Path) -> list[Pair]:
    """Return pairs of the Tanaka corpus; the spaces that somebody's segmenter put between words are taken out."""
    sides = [
        gzip.decompress((data / "small_parallel_enja" / f"train.{language}.gz").read_bytes()).decode().splitlines()
        for language in ("en", "ja")
    ]
    return [Pair(english, other.replace(" ", "")) for english, other in zip(*sides, strict=True)]


def split(pairs: list[Pair], count: int = HELD_OUT) -> tuple[list[Pair], list[Pair]]:
    """Return training pairs and held-out pairs that share no sentence of either language."""
    sources = sorted({pair.source for pair in pairs}, key=lambda text: hashlib.sha256(text.encode()).hexdigest())
    chosen, held = set(sources[:count]), dict[str, str]()
    for pair in pairs:
        if pair.source in chosen:
            held.setdefault(*pair)
    targets = set(held.values())
    train = [pair for pair in pairs if pair.source not in held and pair.target not in targets]
    return train, [Pair(*item) for item in held.items()]


def main() -> None:
    """Write two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pair", choices=["en-de", "en-zh", "en-ja"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ONEHOP_DATA", "data")))
    arguments = parser.parse_args()
    if arguments.pair == "en-de":
        train, held = tatoeba.split(tatoeba.pairs())
    else:
        train, held = split((chinese if arguments.pair == "en-zh" else japanese)(arguments.data))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, pairs in (("train", train), ("held-out", held)):
        text = "".join(f"{source}\t{target}\n" for source, target in pairs)
        (arguments.out / f"{name}.tsv").write_text(text, "utf-8")
        print(f"{arguments.out / name}.tsv: {len(pairs):,} pairs")


if __name__ == "__main__":
    main()
