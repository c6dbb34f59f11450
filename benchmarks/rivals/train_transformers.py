"""The side of transformers in `benchmarks/train_speed.py`: a Marian model, a plain loop, the fused optimizer."""

from __future__ import annotations

import sys
from typing import Any

import torch
from batches import load, measure, padded
from transformers import MarianConfig, MarianMTModel

path, precision, width, steps, threads, vocab = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7])
torch.set_num_threads(threads)
torch.manual_seed(1)
base = width == 512
layers, heads, ffn = (6, 8, 2048) if base else (4, 4, 2 * width)
config = MarianConfig(
    vocab_size=vocab, d_model=width, encoder_layers=layers, decoder_layers=layers, encoder_ffn_dim=ffn,
    decoder_ffn_dim=ffn, encoder_attention_heads=heads, decoder_attention_heads=heads, pad_token_id=0, eos_token_id=2,
    decoder_start_token_id=1, activation_function="relu", dropout=0.3, scale_embedding=True,
    max_position_embeddings=512,
)  # fmt: skip
model = MarianMTModel(config).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)


def step(batch: Any) -> float:
    """Make one update."""
    source, target = padded([s for s, _ in batch], 0), padded([t for _, t in batch], -100)
    begin = torch.full((len(target), 1), 1)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        out = model(
            input_ids=source,
            attention_mask=(source != 0).long(),
            decoder_input_ids=torch.cat([begin, target[:, :-1].clamp(min=0)], 1),
        )
        loss = torch.nn.functional.cross_entropy(
            out.logits.float().view(-1, vocab), target.view(-1), label_smoothing=0.1
        )
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


measure(load(path), steps, step, lambda batch: sum(len(t) for _, t in batch))
