"""Joey NMT's side of `benchmarks/train_speed.py`: its model, its batches and its loss, in a loop as its trainer's."""

from __future__ import annotations

import logging
import sys
from typing import Any

import torch
from batches import load, measure, padded
from joeynmt.batch import Batch
from joeynmt.model import build_model
from joeynmt.vocabulary import Vocabulary

path, _, width, steps, threads, vocab = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7])
logging.disable(logging.CRITICAL)
torch.set_num_threads(threads)
torch.manual_seed(1)
base = width == 512
layers, heads, ffn = (6, 8, 2048) if base else (4, 4, 2 * width)
special = {
    "unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "sep_token": None,
    "unk_id": 0, "pad_id": 1, "bos_id": 2, "eos_id": 3, "sep_id": None, "lang_tags": [],
}  # fmt: skip


class Special:
    """What Joey's vocabulary asks its configuration for."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


words = Vocabulary([f"w{n}" for n in range(vocab - 3)], Special(special))
side = {
    "type": "transformer", "num_layers": layers, "num_heads": heads, "hidden_size": width, "ff_size": ffn,
    "dropout": 0.3, "layer_norm": "post", "embeddings": {"embedding_dim": width, "scale": True},
}  # fmt: skip
model = build_model({"encoder": side, "decoder": side, "tied_embeddings": True, "tied_softmax": True}, words, words)
model.loss_function = ("crossentropy", 0.1)
model.train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)


def step(pairs: Any) -> float:
    """Make one update."""
    source = padded([[token + 1 for token in s] for s, _ in pairs], 1)  # its own marks stand one further
    target = padded([[2, *(token + 1 for token in t)] for _, t in pairs], 1)
    batch = Batch(
        src=source, src_length=torch.tensor([len(s) for s, _ in pairs]), src_prompt_mask=None, trg=target,
        trg_prompt_mask=None, indices=torch.arange(len(pairs)), device=torch.device("cpu"), pad_index=1, eos_index=3,
    )  # fmt: skip
    total, _, _, _ = model(return_type="loss", **vars(batch))
    loss = batch.normalize(total, "tokens", 1, 1)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


measure(load(path), steps, step, lambda batch: sum(len(t) for _, t in batch))
