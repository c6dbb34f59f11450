"""Write the text that the recipes beside this file train on: `train.tsv` and `held-out.tsv`, or `valid` and `test`.

    python recipes/prepare.py en-de runs/text/en-de
    python recipes/prepare.py en-zh runs/text/en-zh --data DATA    (DATA/tatoeba/cmn.txt.gz)
    python recipes/prepare.py en-ja runs/text/en-ja --data DATA    (DATA/small_parallel_enja/train.{en,ja}.gz)
    python recipes/prepare.py cmudict runs/text/cmudict --data DATA    (DATA/cmudict/cmudict.dict.gz)
    python recipes/prepare.py xquad runs/text/xquad --data DATA    (DATA/xquad/xquad.en.json.gz)
    python recipes/prepare.py policyqa runs/text/policyqa --data DATA    (DATA/policyqa/{dev,test}.json.gz)
    python recipes/prepare.py wikitext2 runs/text/wikitext2 --data DATA    (DATA/wikitext2/*.txt.gz)

English-German is the text that ships with Onehop, split as in the quickstart. Of the others, the 1,000 English
sentences with the smallest SHA-256 are held out, each with its first translation; whatever shares either side with
one of those takes no part in training.

Of the CMU Pronouncing Dictionary (https://github.com/cmusphinx/cmudict) words of a to z are taken, letters and phonemes
with a space between them, so that each is one piece of the vocabulary: `c a t` and `K AE T`. Stress is left out. The
SHA-256 of the word, modulo 20, says where all its pronunciations go: 0 to test, 1 to validation, others to training.

PolicyQA (Ahmad et al. 2020) becomes questions with the passages of a privacy policy that answer them, to be searched
for: `train.jsonl` of the policies of its dev part, `test.jsonl` of its test part, each pair once.

XQuAD (Artetxe et al. 2020) has 48 articles. The SHA-256 of a title, modulo 5, says where its questions go: 0 to
`test.json`, others to `train.json`.

WikiText-2 (Merity et al. 2016) becomes `train.txt` and `valid.txt`: `@-@`, `@,@` and `@.@` are the hyphen, comma and
point that stood inside of a word or number, and `<unk>`, of which a vocabulary makes three tokens, 7 % of all, is `_`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import re
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


def sounds(data: Path) -> dict[str, list[Pair]]:
    """Return the pronunciations of CMUdict by the table they belong to: train, valid or test."""
    tables: dict[str, dict[Pair, None]] = {"train": {}, "valid": {}, "test": {}}
    for line in gzip.decompress((data / "cmudict" / "cmudict.dict.gz").read_bytes()).decode().splitlines():
        entry, *phonemes = line.partition("#")[0].split()
        word = re.sub(r"\(\d+\)$", "", entry)  # the second pronunciation of a word stands under `word(2)`
        if not re.fullmatch("[a-z]+", word):
            continue
        part = int(hashlib.sha256(word.encode()).hexdigest(), 16) % 20
        name = {0: "test", 1: "valid"}.get(part, "train")
        tables[name][Pair(" ".join(word), " ".join(phoneme.rstrip("012") for phoneme in phonemes))] = None
    return {name: list(pairs) for name, pairs in tables.items()}


def articles(data: Path) -> dict[str, str]:
    """Return XQuAD's English questions as two files of SQuAD's form, each article in one of them."""
    whole = json.loads(gzip.decompress((data / "xquad" / "xquad.en.json.gz").read_bytes()))
    parts: dict[str, list[object]] = {"train": [], "test": []}
    for article in whole["data"]:
        place = int(hashlib.sha256(article["title"].encode()).hexdigest(), 16) % 5
        parts["train" if place else "test"].append(article)
    return {name: json.dumps({**whole, "data": part}, ensure_ascii=False) for name, part in parts.items()}


def passages(data: Path) -> dict[str, list[Pair]]:
    """Return PolicyQA's questions with the passages that answer them, each pair once."""
    found: dict[str, list[Pair]] = {}
    for name, part in (("train", "dev"), ("test", "test")):
        whole = json.loads(gzip.decompress((data / "policyqa" / f"{part}.json.gz").read_bytes()))
        texts = [text for policy in whole["data"] for text in policy["paragraphs"]]
        pairs = (Pair(asked["question"], text["context"]) for text in texts for asked in text["qas"])
        found[name] = list(dict.fromkeys(pairs))
    return found


def paragraphs(data: Path) -> dict[str, str]:
    """Return WikiText-2 with the marks of its tokenizer undone."""
    found: dict[str, str] = {}
    for name, file in (("train", "train_shuffled_articles"), ("valid", "valid")):
        text = gzip.decompress((data / "wikitext2" / f"{file}.txt.gz").read_bytes()).decode()
        found[name] = re.sub(r" @([-,.])@ ", r"\1", text).replace("<unk>", "_")
    return found


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


def tables(name: str, data: Path) -> dict[str, list[Pair]]:
    """Return the pairs of each table."""
    if name == "cmudict":
        return sounds(data)
    if name == "en-de":
        train, held = tatoeba.split(tatoeba.pairs())
    else:
        train, held = split((chinese if name == "en-zh" else japanese)(data))
    return {"train": train, "held-out": held}


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pair", choices=["en-de", "en-zh", "en-ja", "cmudict", "xquad", "policyqa", "wikitext2"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ONEHOP_DATA", "data")))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.pair == "xquad":
        for name, text in articles(arguments.data).items():
            (arguments.out / f"{name}.json").write_text(text, "utf-8")
            print(f"{arguments.out / name}.json: {text.count('answer_start'):,} questions")
        return
    if arguments.pair == "wikitext2":
        for name, text in paragraphs(arguments.data).items():
            (arguments.out / f"{name}.txt").write_text(text, "utf-8")
            print(f"{arguments.out / name}.txt: {len(text.split()):,} words")
        return
    if arguments.pair == "policyqa":
        for name, pairs in passages(arguments.data).items():
            rows = [json.dumps({"query": asked, "positive": text}, ensure_ascii=False) for asked, text in pairs]
            (arguments.out / f"{name}.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
            print(f"{arguments.out / name}.jsonl: {len(rows):,} questions with a passage")
        return
    for name, pairs in tables(arguments.pair, arguments.data).items():
        text = "".join(f"{source}\t{target}\n" for source, target in pairs)
        (arguments.out / f"{name}.tsv").write_text(text, "utf-8")
        print(f"{arguments.out / name}.tsv: {len(pairs):,} pairs")


if __name__ == "__main__":
    main()
