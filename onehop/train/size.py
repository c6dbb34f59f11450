"""Settings that fit the amount of data, with the reason in words.

The steps were chosen on subsets of Tatoeba and Multi30k and compared with the paper's presets at equal time; the
comparison is `benchmarks/results/auto-preset.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """What fits a corpus.

    Args:
        up_to: Largest number of training pairs this is meant for.
        model: Overrides of the Transformer's settings.
        vocab_size: Pieces of a joint vocabulary.
        batch_tokens: Tokens of a batch.
        learning_rate: Peak.
        warmup: Updates until the peak.
        epochs: Times each pair is seen, if neither updates nor minutes are limited.
        why: The reason, for people.
    """

    up_to: float
    model: Mapping[str, Any]
    vocab_size: int
    batch_tokens: int
    learning_rate: float
    warmup: int
    epochs: int
    why: str


def _shape(dim: int, ffn_dim: int, heads: int, layers: tuple[int, int], dropout: float) -> dict[str, Any]:
    return {
        "dim": dim, "ffn_dim": ffn_dim, "num_heads": heads, "num_encoder_layers": layers[0],
        "num_decoder_layers": layers[1], "dropout": dropout, "norm": "pre",
    }  # fmt: skip


PLANS = (
    Plan(10_000, _shape(128, 256, 4, (3, 3), 0.3), 2_000, 1_000, 3e-3, 200, 100,
         "little text: a small model, held back by dropout, with short pieces that each occur often"),
    Plan(60_000, _shape(128, 256, 4, (4, 4), 0.3), 6_000, 2_000, 5e-3, 1_000, 60,
         "tens of thousands of pairs: the paper's architecture at 128 wide learns them without learning them by heart"),
    Plan(500_000, _shape(256, 1_024, 4, (4, 3), 0.1), 8_000, 2_000, 2e-3, 1_000, 20,
         "hundreds of thousands of pairs: wide enough to use them, little dropout needed"),
    Plan(float("inf"), _shape(512, 2_048, 8, (6, 6), 0.1), 32_000, 4_000, 1e-3, 4_000, 10,
         "millions of pairs: the paper's base model"),
)  # fmt: skip


def plan(num_pairs: int) -> Plan:
    """Return what fits that many training pairs.

    Example:
        >>> plan(29_000).model["dim"]
        128
    """
    return next(choice for choice in PLANS if num_pairs <= choice.up_to)
