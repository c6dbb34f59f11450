"""The harness: every family of the registry, in every combination of its structural settings, made small."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from onehop.models.recurrent import ATTENTION
from onehop.models.registry import architecture, build, names
from onehop.nn import Source
from tests.laws.combinations import Refused, Row, covering, each, everything, pairwise

PAD, BEGIN, END = 0, 1, 2
MANY = 1_000  # combinations to draw and build of a family that has too many
VOCAB = {"joint": (40, None), "separate": (40, 37)}


@dataclass(frozen=True)
class Entry:
    """How a family comes to the laws.

    Args:
        small: Its settings made small.
        refused: Combinations that no model can have.
        repeats: Combinations that build the same model as another one, by a default that stands for another value.
        kinds: Of axes with many values, those that take different ways through the layers: these meet every value of
            the other axes in pairs, the others once.
    """

    small: Mapping[str, Any]
    kinds: Mapping[str, Sequence[Any]]
    refused: Refused = field(default=lambda row: False)
    repeats: Refused = field(default=lambda row: False)


def _three_way_of_two(row: Row) -> bool:
    return row.get("tying") == "three-way" and row.get("vocabularies") == "separate"


def _attention_without_any(row: Row) -> bool:
    settings = architecture("recurrent").config.model_fields
    asked = any(row.get(name, settings[name].default) != settings[name].default for name in ATTENTION)
    return row.get("context", "attention") != "attention" and asked


def _distances_in_no_product(row: Row) -> bool:
    return row.get("positions") in ("rotary", "shaw") and row.get("score") in ("additive", "concat", "location")


def _fed_before_it_is_read(row: Row) -> bool:
    return row.get("input_feeding") is True and row.get("query", "current") != "current"


ENTRIES = {
    "transformer": Entry(
        {
            "dim": 16,
            "num_heads": 4,
            "ffn_dim": 24,
            "num_encoder_layers": 1,
            "dropout": 0.0,
            "cross_window": 2,
            "max_positions": 200,
            "rotary_factor": 2.0,
        },
        {
            "activation": ("relu", "geglu"),
            "positions": ("sinusoidal", "rotary", "alibi", "shaw", "none"),
            "score": ("scaled_dot", "additive", "location"),
            "select": ("soft", "entmax", "gumbel"),
            "cross_score": (None, "cosine", "concat"),
            "cross_select": (None, "soft", "hard"),
        },
        lambda row: _three_way_of_two(row) or _distances_in_no_product(row),
        lambda row: row["tying"] is None or row["final_norm"] is None,
    ),
    "recurrent": Entry(
        {"dim": 16, "hidden_dim": 16, "window": 2, "dropout": 0.0, "max_positions": 200},
        {"score": ("additive", "dot", "location"), "select": ("soft", "entmax", "hard")},
        lambda row: (
            _three_way_of_two(row)
            or _attention_without_any(row)
            or _fed_before_it_is_read(row)
            or (row.get("num_heads") == 1 and row.get("num_kv_heads") not in (None, 1))
        ),
        lambda row: row["tying"] is None or (row["num_heads"] == 1 and row["num_kv_heads"] is None),
    ),
}


@dataclass(frozen=True)
class Case:
    """One combination of a family's settings."""

    family: str
    row: Row

    def __str__(self) -> str:
        return "-".join([self.family, *(str(value) for value in self.row.values())])

    def build(self, sizes: tuple[int, int | None] | None = None, **settings: Any) -> Any:
        """Return the model as the builder leaves it."""
        own = {key: value for key, value in self.row.items() if key != "vocabularies"}
        sizes = sizes or VOCAB[self.row["vocabularies"]]
        return build(self.family, {**ENTRIES[self.family].small, **own, **settings}, *sizes)

    def model(self, sizes: tuple[int, int | None] | None = None, **settings: Any) -> Any:
        """Return a model in float64, for evaluation, of which no weight is at its neutral value."""
        model = self.build(sizes, **settings).double().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        return model

    def targets(self, rows: int, width: int) -> Tensor:
        """Return random targets `(rows, width)` behind their begin marks."""
        source, target = VOCAB[self.row["vocabularies"]]
        tokens = torch.randint(3, target or source, (rows, width))
        tokens[:, 0] = BEGIN
        return tokens


def sources(*lengths: int) -> Source:
    """Return random sources of these lengths, padded on the right; no token twice, where there are enough.

    Without positions the states of equal tokens are equal, and which of them a hard choice takes is a matter of
    rounding.
    """
    tokens = torch.zeros(len(lengths), max(lengths), dtype=torch.int64)
    for row, length in zip(tokens, lengths, strict=True):
        most = VOCAB["joint"][0] - 3
        row[:length] = 3 + (torch.randperm(most)[:length] if length <= most else torch.randint(most, (length,)))
    return Source(tokens, torch.tensor(lengths))


def alone(source: Source, row: int) -> Source:
    """Return one example of a padded batch without its padding."""
    assert source.lengths is not None
    return Source(source.tokens[row : row + 1, : int(source.lengths[row])])


def axes(family: str) -> dict[str, Sequence[Any]]:
    """Return the axes of a family, the vocabularies among them."""
    return {**architecture(family).axes, "vocabularies": tuple(VOCAB)}


def entries() -> list[str]:
    """Return the registered families that have an entry; `test_harness` sees to it that those are all."""
    return [name for name in names() if name in ENTRIES]


def kinds(family: str) -> dict[str, Sequence[Any]]:
    """Return the axes of a family with the values that take different ways through its layers."""
    return {**axes(family), **ENTRIES[family].kinds}


@cache
def every_value() -> list[Case]:
    """Return a few cases of every family that hold every value of every setting."""
    return [Case(name, row) for name in entries() for row in each(axes(name), ENTRIES[name].refused)]


@cache
def every_pair() -> list[Case]:
    """Return cases of every family that hold every pair of values of different kinds, and every value."""
    return every_value() + [
        Case(name, row) for name in entries() for row in pairwise(kinds(name), ENTRIES[name].refused)
    ]


@cache
def every_pair_of_values() -> list[Case]:
    """Return cases of every family that hold every pair of values, of whatever kind."""
    return [Case(name, row) for name in entries() for row in pairwise(axes(name), ENTRIES[name].refused)]


@cache
def every_three() -> list[Case]:
    """Return cases of every family that hold every three values of different kinds, and every pair of values."""
    rows = [(name, row) for name in entries() for row in covering(kinds(name), 3, ENTRIES[name].refused)]
    return [Case(name, row) for name, row in rows] + every_pair_of_values()


def some_rows(family: str) -> list[Row]:
    """Return the full product of a family's axes, refused rows included, or rows drawn from it."""
    if is_whole(family):
        return everything(axes(family))
    draw, found = random.Random(0), list[Row]()
    entry, accepted = ENTRIES[family], 0
    while accepted < MANY:
        row = {axis: draw.choice(list(values)) for axis, values in axes(family).items()}
        found.append(row)
        accepted += not (entry.refused(row) or entry.repeats(row))
    return found


def is_whole(family: str) -> bool:
    """Whether the full product of a family's axes is small enough to be tried."""
    return math.prod(len(values) for values in axes(family).values()) <= 10_000
