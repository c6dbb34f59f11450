"""Lines of JSON, in which an object that names a key twice is no value: readers would silently keep the last."""

from __future__ import annotations

import json
import sys
from typing import Any

from onehop.errors import DataError


class _TwiceError(ValueError):
    """A key stands twice in one object."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for place, name in enumerate(names) if name in names[:place]))
    return value


_decode = json.JSONDecoder(
    object_pairs_hook=_unique
).decode  # made once: what json.loads makes for each line costs more


def parse_json(line: str, remedy: str, where: str = "") -> Any:
    """Return the value that a line of JSON holds.

    Args:
        line: The text.
        remedy: What to do where it is no JSON.
        where: File and line, for messages.

    Raises:
        DataError: It is no JSON, or an object in it has a key twice.

    Example:
        >>> parse_json('{"label": "x"}', "Write an object for each line.")
        {'label': 'x'}
    """
    try:
        return _decode(line)
    except _TwiceError as error:
        raise DataError(f"the key {str(error)!r} twice in one object", "Name each key once.", where) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {told(error)}", remedy, where) from error


def told(error: Exception) -> str:
    """Return what is wrong with a text that JSON's reader refused, without the words of Python.

    Example:
        >>> told(RecursionError("maximum recursion depth exceeded"))
        'lists or objects inside of each other, too deeply'
    """
    if isinstance(error, RecursionError):
        return "lists or objects inside of each other, too deeply"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return str(error)[:200]
    return f"a whole number of more than {sys.get_int_max_str_digits():,} digits"
