"""Where a text stands, for messages: a line of a file, or whatever its reader says of it."""

from __future__ import annotations

from collections.abc import Sequence

Where = str | Sequence[str]


def places_of(where: Where, count: int, first_line: int = 1) -> Sequence[str]:
    """Return the place of each of some texts.

    Args:
        where: Name of their file, if they are its lines one after the other; else the place of each.
        count: How many there are.
        first_line: Number of the first, where they are lines.

    Example:
        >>> list(places_of("rooms.txt", 2, 7)), places_of(["rooms.csv:2", "rooms.csv:5"], 2)
        (['rooms.txt:7', 'rooms.txt:8'], ['rooms.csv:2', 'rooms.csv:5'])
    """
    if not isinstance(where, str):
        return where
    return [f"{where}:{number}" for number in range(first_line, first_line + count)]


def named(where: Where) -> str:
    """Return what texts are called together.

    Example:
        >>> named("rooms.txt"), named(["rooms.csv:2"])
        ('rooms.txt', 'input')
    """
    return where if isinstance(where, str) else "input"
