"""Settings that fit the amount of data, with the reason in words.

The steps are compared with the paper's presets at equal time on subsets of Tatoeba and on Multi30k:
`benchmarks/auto_preset.py`, results in `benchmarks/results/auto_preset.md`.
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
        vocab_size: Pieces of a vocabulary.
        batch_tokens: Tokens of a batch.
        warmup: Updates until the peak of the learning rate.
        epochs: Passes over the data, if neither updates nor minutes are limited.
        why: The reason, for people.
    """

    up_to: float
    model: Mapping[str, Any]
    vocab_size: int
    batch_tokens: int
    warmup: int
    epochs: int
    why: str


def _shape(dim: int, ffn_dim: int, num_heads: int, layers: int, dropout: float) -> dict[str, Any]:
    return {
        "dim": dim,
        "ffn_dim": ffn_dim,
        "num_heads": num_heads,
        "num_encoder_layers": layers,
        "num_decoder_layers": layers,
        "dropout": dropout,
        "norm": "pre",
    }


PLANS = (
    Plan(
        10_000, _shape(128, 256, 4, 3, 0.3), 2_000, 1_000, 200, 100,
        "little text: a small model, held back by dropout, and short pieces that each occur often",
    ),
    Plan(
        60_000, _shape(128, 256, 4, 4, 0.3), 6_000, 2_000, 500, 60,
        "tens of thousands of pairs: 128 wide, with dropout, learns them without learning them by heart",
    ),
    Plan(
        500_000, _shape(256, 1_024, 4, 3, 0.1), 8_000, 2_000, 500, 20,
        "hundreds of thousands of pairs: wide enough to use them, and little dropout needed",
    ),
    Plan(
        float("inf"), _shape(256, 1_024, 4, 6, 0.1), 16_000, 2_000, 2_000, 5,
        "plenty: six layers, as deep as the paper's; on a GPU the preset transformer-base learns more from them",
    ),
)  # fmt: skip


def plan(num_pairs: int) -> Plan:
    """Return what fits that many training pairs.

    Example:
        >>> plan(29_000).model["dim"]
        128
    """
    return next(choice for choice in PLANS if num_pairs <= choice.up_to)


def learning_rate(dim: int) -> float:
    """Return the peak rate for a model of that width: 0.5 / dim, so 3.9e-3 at 128 and 9.8e-4 at 512.

    Adam's updates do not shrink with the gradient, so a wider sum needs smaller ones (Yang 2021, "Tensor Programs V").
    """
    return 0.5 / dim
