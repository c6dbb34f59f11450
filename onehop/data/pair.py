"""A pair of texts, which all readers yield."""

from __future__ import annotations

from typing import NamedTuple


class Pair(NamedTuple):
    """A source sentence and its target.

    Example:
        >>> Pair("A small dog.", "Ein kleiner Hund.").target
        'Ein kleiner Hund.'
    """

    source: str
    target: str
