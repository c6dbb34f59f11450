"""The text that ships with Onehop: English-German sentence pairs from Tatoeba, and how they are split.

Held out is every English sentence whose SHA-256 is divisible by 100, with its first translation; whatever shares either
side with a held-out pair takes no part in training.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from onehop.data.pair import Pair
from onehop.data.readers import read_table
from onehop.files import os_errors, write_text

MAX_WORDS = 8


@dataclass(frozen=True)
class Text:
    """The files written, and what is held out.

    Args:
        folder: With `train.tsv`, `held-out.tsv` and `recipe.toml`.
        train: Pairs whose English side has at most `max_words` words.
        recipe: What the quickstart trains.
        held_out: Pairs of all lengths that are in no training.
        max_words: Of training.
    """

    folder: Path
    train: Path
    recipe: Path
    held_out: list[Pair]
    max_words: int = MAX_WORDS


def pairs() -> list[Pair]:
    """Return all bundled pairs, English to German, in the order of the file.

    Example:
        >>> pairs()[0].source
        'Hi.'
    """
    with as_file(files("onehop.bundled") / "tatoeba-en-de.tsv.gz") as path:
        return list(read_table(path))


def split(corpus: list[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Return the training pairs and the held-out ones; no sentence of either language is in both."""
    held: dict[str, str] = {}
    for source, target in corpus:
        if is_held_out(source):
            held.setdefault(source, target)
    targets = set(held.values())
    train = [pair for pair in corpus if pair.source not in held and pair.target not in targets]
    return train, [Pair(source, target) for source, target in held.items()]


def is_held_out(source: str) -> bool:
    """Whether an English sentence is held out."""
    return int(hashlib.sha256(source.encode()).hexdigest(), 16) % 100 == 0


def prepare(folder: Path) -> Text:
    """Write `train.tsv`, `held-out.tsv` and the quickstart's `recipe.toml` into a folder."""
    train, held = split(pairs())
    with os_errors(folder, "make the folder"):
        folder.mkdir(parents=True, exist_ok=True)
    short = [pair for pair in train if len(pair.source.split()) <= MAX_WORDS]
    write_text(folder / "train.tsv", "".join(f"{source}\t{target}\n" for source, target in short))
    write_text(folder / "held-out.tsv", "".join(f"{source}\t{target}\n" for source, target in held))
    recipe = folder / "recipe.toml"
    write_text(recipe, (files("onehop.bundled") / "quickstart.toml").read_text("utf-8"))
    return Text(folder, folder / "train.tsv", recipe, held)
