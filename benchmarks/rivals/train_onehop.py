"""Onehop's side of `benchmarks/train_speed.py`: BATCHES PRECISION WIDTH STEPS THREADS VOCAB.

BATCHES holds batches, or the text that Onehop's own data pipeline makes them of while it trains.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import torch
from batches import load, measure

from onehop.cli.allocator import keep_freed_memory
from onehop.data import Pair, PairStore, TrainingBatches, evaluation_batches
from onehop.models.registry import build
from onehop.text import Tokenizer
from onehop.train import make_recipe
from onehop.train.loop import loop
from onehop.train.objective import objective
from onehop.train.optimizer import adamw

path, precision, width, steps, threads, vocab = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7])
torch.set_num_threads(threads)
keep_freed_memory()  # as `onehop train` does
torch.manual_seed(1)
shape = {"dim": 512, "ffn_dim": 2048, "num_heads": 8, "num_encoder_layers": 6, "num_decoder_layers": 6}
small = {"dim": width, "ffn_dim": 2 * width, "num_heads": 4, "num_encoder_layers": 4, "num_decoder_layers": 4}
model: Any = build("transformer", {**(shape if width == 512 else small), "dropout": 0.3}, vocab, None)
optimizer = adamw(model, weight_decay=0.01, betas=(0.9, 0.98), epsilon=1e-9)
recipe = make_recipe({"data": {"pairs": ["-"]}, "train": {"precision": precision, "label_smoothing": 0.1}})


def pipeline(read: dict[str, Any]) -> Iterator[Any]:
    """Yield the batches that `onehop train` would make of the text."""
    store, tokenizer = PairStore(), Tokenizer.from_json(read["tokenizer"])
    store.add((Pair(*lines) for lines in zip(*read["lines"], strict=True)), "train")
    return TrainingBatches(store, tokenizer, tokenizer, batch_tokens=4_096, max_length=512, long_policy="drop", seed=1)


def given(batches: list[Any]) -> list[Any]:
    """Return batches of token lists as Onehop's."""
    return [next(evaluation_batches([s[:-1] for s, _ in rows], [t[:-1] for _, t in rows], 10**9)) for rows in batches]


read: Any = load(path)
batches = pipeline(read) if isinstance(read, dict) else given(read)
feed: list[Any] = []
updates = loop(model, objective(recipe.train, "cpu"), iter(feed.pop, None), optimizer, lambda: 1e-3)


def step(batch: Any) -> float:
    """Make one update, by the loop that `onehop train` runs."""
    feed.append(batch)
    return next(updates).loss


measure(batches, steps, step, lambda batch: batch.num_targets)
