"""What a GPU gives: training of `base` in bfloat16 as a share of the chip's peak, and greedy translation in bulk.

    python benchmarks/gpu.py --peak 989e12 > RESULT.jsonl

`base` is the Transformer of 6+6 layers, 512 wide, with random weights and 8,000 pieces. Model FLOPs of an update are 6
for each weight and token that meet (an encoder's layers meet source tokens, a decoder's target tokens; embeddings and
the product with the vocabulary are left out, as is usual) and those of attention's products, forward and backward. A
translation writes exactly 24 tokens for each source. Sources and targets are random; of each size the median of three
measurements counts, after two that do not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from onehop.data import Batch, evaluation_batches
from onehop.data.tatoeba import pairs
from onehop.models.registry import build
from onehop.tasks import DecodeConfig, TextLimits, TranslationSettings, Translator
from onehop.text import train_bpe
from onehop.train import make_recipe
from onehop.train.loop import loop
from onehop.train.objective import objective
from onehop.train.optimizer import adamw

VOCAB, DIM, LAYERS = 8_000, 512, 6
BASE: dict[str, Any] = {
    "dim": DIM, "ffn_dim": 4 * DIM, "num_heads": 8, "num_encoder_layers": LAYERS, "num_decoder_layers": LAYERS,
}  # fmt: skip
WRITTEN = 24  # tokens of a translation


def random_batch(rows: int, length: int) -> Batch:
    """Return a batch whose sides have so many tokens a row."""
    sides = [torch.randint(5, VOCAB, (rows, length - 1)).tolist() for _ in range(2)]
    return next(evaluation_batches(*sides, batch_tokens=rows * length))


def seconds_of(work: Callable[[], Any], device: str) -> float:
    """Return the median time of some work."""
    found: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return statistics.median(found[2:])


def model_flops(model: Any, rows: int, length: int) -> float:
    """Return the operations of an update that the model asks for; see the top of this file."""
    held = {name: sum(p.numel() for p in getattr(model, name).parameters()) for name in ("encoder", "decoder")}
    attention = 3 * LAYERS * 3 * 4 * rows * length**2 * DIM  # two products of 2 each, thrice, in each of three places
    return 6.0 * sum(held.values()) * rows * length + attention


def training(rows: int, length: int, precision: str, device: str, peak: float) -> dict[str, Any]:
    """Measure updates."""
    torch.manual_seed(1)
    model: Any = build("transformer", {**BASE, "dropout": 0.1}, VOCAB, None).to(device)
    recipe = make_recipe({"data": {"pairs": ["-"]}, "train": {"precision": precision, "label_smoothing": 0.1}})
    optimizer = adamw(model, weight_decay=0.01, betas=(0.9, 0.98), epsilon=1e-9)
    batch = random_batch(rows, length).to(device)
    updates = loop(model, objective(recipe.train, device), iter(lambda: batch, None), optimizer, lambda: 1e-4)
    seconds = seconds_of(lambda: [next(updates) for _ in range(4)], device) / 4
    flops = model_flops(model, rows, length)
    return {
        "work": "train", "precision": precision, "target_tokens": rows * length, "length": length,
        "updates_per_second": round(1 / seconds, 2), "target_tokens_per_second": round(rows * length / seconds),
        "model_tflops": round(flops / seconds / 1e12, 1), "share_of_peak": round(flops / seconds / peak, 3),
    }  # fmt: skip


def greedy(rows: int, precision: str, device: str) -> dict[str, Any]:
    """Measure translations."""
    torch.manual_seed(1)
    tokenizer = train_bpe([text for pair in pairs() for text in (pair.source, pair.target)], VOCAB)
    text = TextLimits(max_length=128, sentences=False)
    settings = TranslationSettings(architecture="transformer", model=BASE, text=text)
    translator = Translator.build(settings, tokenizer, tokenizer).to(device)
    sources = torch.randint(5, VOCAB, (rows, 15)).tolist()
    decode = DecodeConfig(beam_size=1, min_length=WRITTEN, max_length=WRITTEN + 1, batch_tokens=rows * 16)
    narrow = precision == "bfloat16"
    kind = torch.device(device).type
    with torch.autocast(kind, torch.bfloat16) if narrow else contextlib.nullcontext():
        seconds = seconds_of(lambda: translator.search(sources, decode), device)
    return {
        "work": "greedy", "precision": precision, "sentences": rows, "seconds": round(seconds, 3),
        "tokens_per_second": round(rows * WRITTEN / seconds),
    }  # fmt: skip


def main() -> None:
    """Measure, and print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--peak", type=float, default=989e12, help="operations a second of its dense bfloat16 products")
    parser.add_argument("--train-rows", type=int, nargs="*", default=[512, 2_048, 4_096])
    parser.add_argument("--translate-rows", type=int, nargs="*", default=[1_024, 4_096])
    parser.add_argument("--length", type=int, default=32, help="tokens of a training sentence")
    parser.add_argument("--precision", nargs="*", default=["bfloat16", "float32"])
    options = parser.parse_args()
    name = torch.cuda.get_device_name() if options.device != "cpu" else "processor"
    versions = {"device": name, "torch": torch.__version__}
    for precision in options.precision:
        for rows in options.train_rows:
            row = training(rows, options.length, precision, options.device, options.peak)
            print(json.dumps({**row, **versions}), flush=True)
        for rows in options.translate_rows:
            print(json.dumps({**greedy(rows, precision, options.device), **versions}), flush=True)


if __name__ == "__main__":
    main()
