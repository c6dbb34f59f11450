"""Joey NMT's side of `benchmarks/rnn_speed.py`: BATCHES PRECISION WIDTH STEPS THREADS VOCAB TASK."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import torch
from batches import load, measure, padded, report
from joeynmt.batch import Batch
from joeynmt.model import build_model
from joeynmt.search import beam_search, greedy
from joeynmt.vocabulary import Vocabulary

path, _, width, steps, threads, vocab = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7])
logging.disable(logging.CRITICAL)
torch.set_num_threads(threads)
torch.manual_seed(1)
special = {
    "unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "sep_token": None,
    "unk_id": 0, "pad_id": 1, "bos_id": 2, "eos_id": 3, "sep_id": None, "lang_tags": [],
}  # fmt: skip


class Special:
    """What Joey's vocabulary asks its configuration for."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


words = Vocabulary([f"w{n}" for n in range(vocab - 3)], Special(special))
embeddings = {"embedding_dim": width, "scale": True, "dropout": 0.3}
encoder = {
    "type": "recurrent", "rnn_type": "gru", "hidden_size": width // 2, "bidirectional": True, "num_layers": 1,
    "dropout": 0.3, "embeddings": embeddings,
}  # fmt: skip
decoder = {
    "type": "recurrent", "rnn_type": "gru", "hidden_size": width, "num_layers": 1, "dropout": 0.3,
    "hidden_dropout": 0.3, "attention": "bahdanau", "init_hidden": "bridge", "input_feeding": True,
    "embeddings": embeddings,
}  # fmt: skip
model = build_model(
    {"encoder": encoder, "decoder": decoder, "tied_embeddings": True, "tied_softmax": True}, words, words
)
model.loss_function = ("crossentropy", 0.1)


def as_batch(pairs: Any) -> Any:
    """Return a batch of Joey's; its own marks stand one further."""
    return Batch(
        src=padded([[token + 1 for token in s] for s, _ in pairs], 1),
        src_length=torch.tensor([len(s) for s, _ in pairs]), src_prompt_mask=None,
        trg=padded([[2, *(token + 1 for token in t)] for _, t in pairs], 1), trg_prompt_mask=None,
        indices=torch.arange(len(pairs)), device=torch.device("cpu"), pad_index=1, eos_index=3,
    )  # fmt: skip


def learn() -> None:
    """Train in a loop as its trainer's."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step(pairs: Any) -> float:
        batch = as_batch(pairs)
        batch.sort_by_src_length()  # as its trainer does, for packing
        total, _, _, _ = model(return_type="loss", **vars(batch))
        loss = batch.normalize(total, "tokens", 1, 1)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    measure(load(path), steps, step, lambda batch: sum(len(t) for _, t in batch))


@torch.no_grad()
def write(beam: int, length: int) -> None:
    """Search for targets of `length` tokens, as random weights never end."""
    model.eval()
    tokens, began = 0, time.perf_counter()
    for number, pairs in enumerate(load(path)[: steps + 1]):
        if number == 1:
            tokens, began = 0, time.perf_counter()
        batch = as_batch(pairs)
        batch.sort_by_src_length()
        output, hidden, _, _ = model(return_type="encode", **vars(batch))
        given = {
            "src_mask": batch.src_mask, "max_output_length": length, "model": model, "encoder_output": output,
            "encoder_hidden": hidden, "min_output_length": length,
        }  # fmt: skip
        if beam == 1:
            greedy(**given)
        else:
            beam_search(**given, beam_size=beam, alpha=-1, n_best=1)
        tokens += len(pairs) * length
    report(tokens, time.perf_counter() - began)


if sys.argv[7] == "train":
    learn()
else:
    write(int(sys.argv[7]), 24)
