"""What tasks share that encode rows of several texts before they train: limit, store, and settings of the encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from onehop.data import Pair, PairStore
from onehop.errors import ConfigError
from onehop.text import Ledger
from onehop.train.parent import Parent

TOGETHER = 1_000  # rows tokenised at once
FREE = ("dropout", "attention_dropout")  # of the model: no weight depends on them


class Placed(Protocol):
    """A row of a file.

    Attributes:
        where: File and line, or row.
    """

    @property
    def where(self) -> str:
        """See above."""
        ...


P = TypeVar("P", bound=Placed)


def limited_rows(
    some: Sequence[P],
    encode: Callable[[Sequence[P]], Sequence[list[int]]],
    limited: Callable[[list[int], Ledger, str], list[int] | None],
    ledger: Ledger,
) -> Iterator[tuple[P, list[int] | None]]:
    """Yield each row of a file with its tokens within the limit, None where it was dropped.

    Args:
        some: What to encode.
        encode: From some at a time to their tokens.
        limited: From tokens, ledger and place to the tokens that are kept.
        ledger: With the limit.
    """
    for start in range(0, len(some), TOGETHER):
        part = some[start : start + TOGETHER]
        for one, row in zip(part, encode(part), strict=True):
            yield one, limited(row, ledger, one.where)


def stored(
    files: Sequence[str], rows: Callable[[int], Iterable[tuple[str, list[int], str]]], folder: Path
) -> tuple[PairStore, float]:
    """Return a store of rows of tokens, and their mean length with an end mark.

    Args:
        files: Their names.
        rows: From the number of a file to where each of its rows stands, its tokens, and its target.
        folder: Where a large store is spooled.
    """
    store, total = PairStore(folder), 0

    def numbered(number: int) -> Iterator[tuple[int, Pair]]:
        nonlocal total
        for where, row, target in rows(number):
            total += len(row) + 1
            yield int(where.rsplit(":", 1)[1].split()[-1]), Pair(" ".join(map(str, row)), target)

    for number, file in enumerate(files):
        store.add_numbered(numbered(number), file)
    return store, total / max(1, len(store))


def encoder_of(recipe: Any, parent: Parent, faults: Sequence[str] = ()) -> dict[str, Any]:
    """Return `[model]` of a recipe that goes on with an encoder: the parent's, with what no weight depends on its own.

    Args:
        recipe: As the user wrote it.
        parent: The model that `train.init` names.
        faults: What else contradicts it.

    Raises:
        ConfigError: Lists every key that contradicts the parent, with the parent's value.
    """
    theirs: Any = parent.task.settings
    model = {"architecture": theirs.architecture, **theirs.model}
    wrong = [
        f"model.{key} = {value!r}, but the model that train.init names has {model.get(key)!r}"
        for key, value in recipe.model.items()
        if key not in FREE and value != model.get(key)
    ]
    most, asked = theirs.text.max_length, recipe.text.max_length
    too_long = [f"text.max_length = {asked}, but the model that train.init names reads {most}"] if asked else []
    wrong = [*wrong, *faults, *(too_long if asked and asked > most else [])]
    if wrong:
        raise ConfigError("; ".join(wrong), "Leave them out.", "train.init")
    return {**model, **{key: value for key, value in recipe.model.items() if key in FREE}}
