"""Several labels of a text, or none: how a table writes them, and the one form in which Onehop carries them.

A JSON list (`["loud", "dark"]`), in `.jsonl` as a list and elsewhere as a cell of that form; or labels with a separator
between, `loud|dark`. An empty list or cell means that the text has none of the labels: a set like any other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

SEPARATORS = ("|", ";", ",")  # in this order, where none is named
SEVERAL = 6  # cells with a mark, from which their parts tell whether it divides labels


def label_set(cell: str, separator: str = "") -> list[str]:
    """Return the labels of a cell, each once, in the order in which they stand there.

    Args:
        cell: As the table has it.
        separator: Between labels; empty: a cell that is no JSON list is one label.

    Example:
        >>> label_set('["loud", "dark"]'), label_set("loud | dark|", "|"), label_set(" "), label_set("loud | dark")
        (['loud', 'dark'], ['loud', 'dark'], [], ['loud | dark'])
    """
    found = _json_list(cell)
    if found is None:
        found = cell.split(separator) if separator else [cell]
    return list(dict.fromkeys(filter(None, (label.strip() for label in found))))


def written(labels: Sequence[str]) -> str:
    """Return labels in the form in which they are carried: a JSON list in the order of the alphabet.

    Example:
        >>> written(["loud", "dark"]), written([])
        ('["dark", "loud"]', '[]')
    """
    return json.dumps(sorted(labels), ensure_ascii=False)


def read(text: str) -> list[str]:
    """Return what `written` wrote."""
    return json.loads(text)


def rewritten(cell: str, labels: Sequence[str], separator: str) -> str:
    """Return a cell with other labels, in the form that it has.

    Example:
        >>> rewritten('["Loud"]', ["loud"], "|"), rewritten("Loud", ["loud"], "|"), rewritten("A|b", ["a", "b"], "|")
        ('["loud"]', 'loud', 'a|b')
    """
    if _json_list(cell) is None and (separator or len(labels) < 2):
        return separator.join(labels)
    return json.dumps(labels, ensure_ascii=False)


def find_separator(cells: Iterable[str]) -> str:
    """Return the first of `|`, `;` and `,` that some cell has in it; empty where none does, or all are JSON lists.

    Example:
        >>> find_separator(["loud", "loud;dark, wet"]), find_separator(['["loud", "dark"]'])
        (';', '')
    """
    plain = [cell for cell in cells if _json_list(cell) is None]
    return next((mark for mark in SEPARATORS if any(mark in cell for cell in plain)), "")


def divided_at(cells: Iterable[str]) -> str:
    """Return what stands between the labels of cells that are known to be sets of them; empty for nothing.

    It is what `find_sets` finds, by which `onehop data check` goes, too; where that sees no sets, the first mark that
    some cell has.

    Example:
        >>> divided_at(["a|b", "loud;dark", "dark;wet", "loud", "dark", "wet"]), divided_at(["loud;dark"])
        (';', ';')
    """
    every = list(dict.fromkeys(cells))
    found = find_sets(every)
    return find_separator(every) if found is None else found


def find_sets(cells: Iterable[str]) -> str | None:
    """Return the separator of labels in cells that are sets of them, "" of JSON lists; None where cells are no sets.

    Where some are JSON lists, all are sets. That a mark divides labels is believed where two cells and more are made of
    labels that stand alone elsewhere, or where cells with the mark have far fewer parts than they are.

    Example:
        >>> find_sets(["loud|dark", "dark|wet", "loud", "dark", "wet"]), find_sets(['["loud"]'])
        ('|', '')
        >>> find_sets(["Paris, France", "Rome, Italy", "Lyon, France"]) is None
        True
    """
    every = dict.fromkeys(cells)
    if any(_json_list(cell) is not None for cell in every):
        return find_separator(every)  # as training has it
    for mark in SEPARATORS:
        some = [{part.strip() for part in cell.split(mark)} - {""} for cell in every if mark in cell]
        made = sum(parts <= every.keys() for parts in some)
        if made > 1 or (len(some) >= SEVERAL and 2 * len(set().union(*some)) <= len(some)):
            return mark
    return None


def _json_list(cell: str) -> list[str] | None:
    """Return the strings of a JSON list; None where a cell is none."""
    if not cell.lstrip().startswith("["):
        return None
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    is_list = isinstance(found, list) and all(isinstance(item, str | int) for item in found)
    return [str(item) for item in found] if is_list else None
