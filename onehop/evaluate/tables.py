"""Tables of texts, each with a label or a number, as a model that is scored on them reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from onehop.data.labelled import FOUND, LabelColumns, open_labelled


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with what is wanted of each.

    Args:
        texts: Of one column, or of several in order.
        wanted: As the table has it.
        places: Where each stands.
    """

    texts: list[str | Sequence[str]]
    wanted: list[str]
    places: list[str]

    def __len__(self) -> int:
        return len(self.texts)


def read_table(data: str, columns: tuple[tuple[str, ...], str], task: Any, like: LabelColumns = FOUND) -> LabelledTexts:
    """Read a table.

    Args:
        data: The file.
        columns: Names of the columns of texts and of that of the labels; empty for those that are found.
        task: The model, whose own columns are looked for.
        like: What labels are, such as numbers.
    """
    texts_of = columns[0] or tuple(task.settings.columns)
    table = open_labelled(data, replace(like, texts=texts_of, label=columns[1]))
    found = LabelledTexts([], [], [])
    for row in table.rows:
        found.texts.append(row.texts[0] if len(row.texts) == 1 else tuple(row.texts))
        found.wanted.append(row.label.strip())
        found.places.append(table.where(row))
    return found
