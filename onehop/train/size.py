"""Settings that fit the amount of data, and the minutes if they are limited, with the reason in words.

The steps are compared with the paper's presets at equal time on subsets of Tatoeba and on Multi30k:
`benchmarks/auto_preset.py`, results in `benchmarks/results/auto_preset.jsonl`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
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

    @property
    def cost(self) -> int:
        """Multiplications and additions to learn from one source and one target token: 6 for each weight they meet."""
        m = self.model
        attention, feedforward = 4 * m["dim"] ** 2, 2 * m["dim"] * m["ffn_dim"]
        encoder = m["num_encoder_layers"] * (attention + feedforward)
        decoder = m["num_decoder_layers"] * (2 * attention + feedforward)
        return 6 * (encoder + decoder + self.vocab_size * m["dim"])


def _shape(dim: int, ffn_dim: int, num_heads: int, layers: int, dropout: float, norm: str = "pre") -> dict[str, Any]:
    return {
        "dim": dim,
        "ffn_dim": ffn_dim,
        "num_heads": num_heads,
        "num_encoder_layers": layers,
        "num_decoder_layers": layers,
        "dropout": dropout,
        "norm": norm,
    }


PLANS = (
    Plan(
        10_000, _shape(128, 256, 4, 4, 0.3, "post"), 2_000, 1_000, 200, 100,
        "little text: a small model, held back by dropout, and short pieces that each occur often",
    ),
    Plan(
        60_000, _shape(128, 256, 4, 4, 0.3, "post"), 6_000, 2_000, 500, 60,
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


QUICK = Plan(
    float("inf"), _shape(128, 512, 4, 2, 0.0), 3_000, 1_000, 200, 20,
    "more than the minutes allow to pass over often: the smallest model, which learns fastest, without dropout",
)  # fmt: skip
ENOUGH = 5  # passes over the data, below which a smaller model learns more in the same time
FEW, MILD = 30, 0.1  # passes that learn too little by heart for more dropout than this to pay
SPEED = 60e9  # operations a second of one thread of a processor with AVX-512; half of that changes a choice by one step


def plan(num_pairs: int, tokens: float = 0.0, seconds: float | None = None) -> Plan:
    """Return what fits that many training pairs.

    Args:
        num_pairs: Pairs to learn from.
        tokens: Tokens of their longer sides, about.
        seconds: Of one processor thread, where time is limited.

    Example:
        >>> plan(170_000).model["dim"], plan(170_000, 2e6, 600).model["dim"]
        (256, 128)
    """
    wanted = next(choice for choice in PLANS if num_pairs <= choice.up_to)
    if seconds is None:
        return wanted
    passes = seconds * SPEED / max(1.0, tokens * wanted.cost)
    if passes >= ENOUGH or wanted.cost <= QUICK.cost:
        return wanted if passes >= FEW else _milder(wanted)
    smaller = [choice for choice in reversed(PLANS) if QUICK.cost < choice.cost < wanted.cost]
    fits = (choice for choice in smaller if ENOUGH * tokens * choice.cost <= seconds * SPEED)
    found = next(fits, QUICK)
    if found is QUICK or found.up_to >= num_pairs:
        return found
    model = {**found.model, "dropout": wanted.model["dropout"], "norm": "pre"}  # which learns sooner
    return replace(found, model=model, why="more than the minutes allow to pass over often: a model a step smaller")


def _milder(found: Plan) -> Plan:
    model = {**found.model, "dropout": min(MILD, found.model["dropout"])}
    why = f"{found.why}, and little dropout, as the minutes allow {FEW} passes at most"
    return found if model == found.model else replace(found, model=model, why=why)


def learning_rate(dim: int) -> float:
    """Return the peak rate for a model of that width: 0.5 / dim, so 3.9e-3 at 128 and 9.8e-4 at 512.

    Adam's updates do not shrink with the gradient, so a wider sum needs smaller ones (Yang 2021, "Tensor Programs V").
    """
    return 0.5 / dim
