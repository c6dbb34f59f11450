"""Key tables: how another library names the weights that we name otherwise, one table for both directions.

A line of a table names a tensor of a checkpoint and ours; `{}` stands for the number of a layer, on both sides. Where
the layouts differ too (three maps joined to one, columns in another order), the line has a `Change`, which is a
rearrangement and its inverse: nothing is computed, so what is read and written again is equal to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onehop.errors import ModelError

SHOWN = 20  # faults that a message lists


@dataclass(frozen=True)
class Change:
    """A rearrangement of numbers and its inverse.

    Args:
        read: From one tensor of the checkpoint to ours, in the order of the line.
        write: The inverse.
        shape: From the shapes of ours to that of the checkpoint's tensor.
    """

    read: Callable[[Tensor], Sequence[Tensor]]
    write: Callable[[Sequence[Tensor]], Tensor]
    shape: Callable[[Sequence[torch.Size]], tuple[int, ...]]


SAME = Change(lambda x: [x], lambda parts: parts[0], lambda shapes: tuple(shapes[0]))


@dataclass(frozen=True)
class Key:
    """A line of a table.

    Args:
        theirs: Name in the checkpoint, with at most one `{}`.
        ours: Names of our parameters, with the same.
        change: What is done to the numbers.
    """

    theirs: str
    ours: tuple[str, ...]
    change: Change = SAME


def linear(theirs: str, ours: str, *, bias: bool = True) -> list[Key]:
    """Return the lines of a map or a normalisation: its weight, and its bias if it has one.

    Example:
        >>> [key.theirs for key in linear("pooler.dense", "pooler.linear")]
        ['pooler.dense.weight', 'pooler.dense.bias']
    """
    return [Key(f"{theirs}.{part}", (f"{ours}.{part}",)) for part in ("weight", "bias")[: 1 + bias]]


def expand(table: Iterable[Key], num_layers: int) -> list[Key]:
    """Return a line for each layer where a line has a `{}`.

    Example:
        >>> [key.ours for key in expand([Key("layer.{}.w", ("blocks.{}.weight",))], 2)]
        [('blocks.0.weight',), ('blocks.1.weight',)]
    """
    lines: list[Key] = []
    for key in table:
        count = num_layers if "{}" in key.theirs else 1
        for i in range(count):
            ours = tuple(name.replace("{}", str(i)) for name in key.ours)
            lines.append(Key(key.theirs.replace("{}", str(i)), ours, key.change))
    return lines


def faults(lines: Sequence[Key], theirs: Mapping[str, Sequence[int]], ours: Mapping[str, torch.Size]) -> list[str]:
    """Return how the tensors of a checkpoint differ from what a table and a model ask for; empty if they do not.

    Args:
        lines: The expanded table.
        theirs: Shapes of the checkpoint's tensors, by name.
        ours: Shapes of the model's parameters, by name.
    """
    wanted = {key.theirs: key.change.shape([ours[name] for name in key.ours]) for key in lines}
    found = [f"missing {name}" for name in wanted if name not in theirs]
    found += [f"unexpected {name}" for name in theirs if name not in wanted]
    for name, shape in wanted.items():
        if name in theirs and tuple(theirs[name]) != shape:
            found.append(f"{name} is {tuple(theirs[name])}, not {shape}")
    return found


def refuse(found: Sequence[str], where: str, remedy: str) -> None:
    """Raise one error that lists all faults, if there are any.

    Raises:
        ModelError: There are.
    """
    if found:
        told = "; ".join(found[:SHOWN]) + (f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
        raise ModelError(f"weights and settings do not fit: {told}", remedy, where)


def to_ours(lines: Sequence[Key], theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return our parameters from the tensors of a checkpoint, in which `faults` found none.

    Example:
        >>> to_ours([Key("w", ("weight",))], {"w": torch.ones(2)})
        {'weight': tensor([1., 1.])}
    """
    found: dict[str, Tensor] = {}
    for key in lines:
        found.update(zip(key.ours, key.change.read(theirs[key.theirs]), strict=True))
    return found


def to_theirs(lines: Sequence[Key], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint from our parameters: the inverse of `to_ours`.

    Example:
        >>> to_theirs([Key("w", ("weight",))], {"weight": torch.ones(2)})
        {'w': tensor([1., 1.])}
    """
    return {key.theirs: key.change.write([ours[name] for name in key.ours]).contiguous() for key in lines}


# ------------------------------------------------------------------------------------------------ changes


def joined(parts: int) -> Change:
    """Return the change of a tensor that holds so many of ours, of the same size, below each other."""
    return Change(
        lambda x: x.chunk(parts),
        lambda found: torch.cat(list(found)),
        lambda shapes: (sum(shape[0] for shape in shapes), *shapes[0][1:]),
    )


def turned(num_heads: int) -> Change:
    """Return the change of joined queries, keys and values whose rotary pairs are halves of a head, not neighbours.

    Column `i` turns with `i + K/2` there, and `2i` with `2i + 1` here. Values do not turn.
    """
    plain = joined(3)

    def pair(x: Tensor) -> Tensor:
        return x.unflatten(0, (num_heads, 2, -1)).transpose(1, 2).flatten(0, 2)

    def part(x: Tensor) -> Tensor:
        return x.unflatten(0, (num_heads, -1, 2)).transpose(1, 2).flatten(0, 2)

    def read(x: Tensor) -> list[Tensor]:
        q, k, v = plain.read(x)
        return [pair(q), pair(k), v]

    def write(found: Sequence[Tensor]) -> Tensor:
        q, k, v = found
        return plain.write([part(q), part(k), v])

    return Change(read, write, plain.shape)
