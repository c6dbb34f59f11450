"""Multi30k's test set of 2016 (Flickr), scored as the literature on multimodal translation scores it.

    python benchmarks/multi30k.py MODEL --target de [--data DATA] [--split val]

Output and reference pass through sacremoses' punctuation normaliser, lower case and tokenizer, then
`sacrebleu --tokenize none`; cased, detokenised sacreBLEU and chrF stand beside it. The test set is for the final
number only: choose on `--split val`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from pathlib import Path

import sacrebleu
import torch
from sacremoses import MosesPunctNormalizer, MosesTokenizer

import onehop

FILES = {"test": "test_2016_flickr", "val": "val"}
REFERENCE_TOKENS = {("test", "de"): 12_103, ("test", "fr"): 13_988}


def lines(path: Path) -> list[str]:
    """Return the lines of a compressed file."""
    return gzip.decompress(path.read_bytes()).decode().removesuffix("\n").split("\n")


def tokenised(text: list[str], language: str) -> list[str]:
    """Return the lines as that literature compares them."""
    normalise, tokenise = MosesPunctNormalizer(language).normalize, MosesTokenizer(language).tokenize
    return [tokenise(normalise(line).lower(), return_str=True) for line in text]


def main() -> None:
    """Translate and score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--target", choices=["de", "fr"], required=True)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ONEHOP_DATA", "data")))
    parser.add_argument("--split", choices=list(FILES), default="test")
    parser.add_argument("--alpha", type=float, help="exponent of the length penalty; default: the package's")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    stem = arguments.data / "multi30k" / FILES[arguments.split]
    source = lines(stem.with_name(stem.name + ".en.gz"))
    reference = lines(stem.with_name(f"{stem.name}.{arguments.target}.gz"))
    model = onehop.load(arguments.model)
    decode = model.settings.decode
    if arguments.alpha is not None:
        decode = decode.model_copy(update={"alpha": arguments.alpha})
    began = time.monotonic()
    output = [found.text for found in model.translate(source, decode, split=False)]
    seconds = time.monotonic() - began
    ours, theirs = tokenised(output, arguments.target), tokenised(reference, arguments.target)
    length = sum(len(line.split()) for line in theirs)
    assert length == REFERENCE_TOKENS.get((arguments.split, arguments.target), length), length
    row = {
        "split": arguments.split, "target": arguments.target, "sentences": len(source), "reference_tokens": length,
        "bleu_tokenised_lower": round(sacrebleu.corpus_bleu(ours, [theirs], tokenize="none").score, 2),
        "bleu": round(sacrebleu.corpus_bleu(output, [reference]).score, 2),
        "chrf": round(sacrebleu.corpus_chrf(output, [reference]).score, 2),
        "beam": decode.beam_size, "alpha": decode.alpha, "seconds": round(seconds, 1),
    }  # fmt: skip
    print(json.dumps(row))


if __name__ == "__main__":
    main()
