"""Onehop's side of `benchmarks/rnn_speed.py`: BATCHES PRECISION WIDTH STEPS THREADS VOCAB TASK."""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from batches import load, measure, report

from onehop.cli.allocator import keep_freed_memory
from onehop.data import evaluation_batches
from onehop.decode import Rules, best_stepper, search
from onehop.models.registry import build
from onehop.nn import Source
from onehop.runtime import accelerate
from onehop.train import make_recipe
from onehop.train.loop import loop
from onehop.train.objective import objective
from onehop.train.optimizer import adamw

path, precision, width, steps, threads, vocab = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7])
torch.set_num_threads(threads)
keep_freed_memory()
torch.manual_seed(1)
model: Any = build("recurrent", {"dim": width, "hidden_dim": width, "dropout": 0.3}, vocab, None)
batches = [next(evaluation_batches([s[:-1] for s, _ in rows], [t[:-1] for _, t in rows], 10**9)) for rows in load(path)]


def learn() -> None:
    """Train by the loop that `onehop train` runs."""
    optimizer = adamw(model, weight_decay=0.01, betas=(0.9, 0.98), epsilon=1e-9)
    recipe = make_recipe({"data": {"pairs": ["-"]}, "train": {"precision": precision, "label_smoothing": 0.1}})
    feed: list[Any] = []
    updates = loop(model, objective(recipe.train, "cpu"), iter(feed.pop, None), optimizer, lambda: 1e-3)

    def step(batch: Any) -> float:
        feed.append(batch)
        return next(updates).loss

    measure(batches, steps, step, lambda batch: batch.num_targets)


@torch.inference_mode()
def write(beam: int, length: int) -> None:
    """Search for targets of `length` tokens, as random weights never end."""
    fast, _ = accelerate(model, precision)
    rules = Rules(beam, lambda log_prob, size: log_prob, 1, 2, (0, 1), min_length=length)
    tokens, began = 0, time.perf_counter()
    for number, batch in enumerate(batches[: steps + 1]):
        if number == 1:
            tokens, began = 0, time.perf_counter()
        state = fast.start(fast.encode(Source(batch.source, batch.source_lengths)))
        found = search(best_stepper(fast, rules.candidates), state, rules, [length + 1] * len(batch.source))
        tokens += sum(len(best[0].tokens) for best in found)
    report(tokens, time.perf_counter() - began)


if sys.argv[7] == "train":
    learn()
else:
    write(int(sys.argv[7]), 24)
