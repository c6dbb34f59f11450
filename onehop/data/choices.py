"""Multiple choice: a context or question, options, and which is right (SWAG, Zellers 2018; COPA, Roemmele 2011).

A table has columns of context (`premise`, `question`, `sent1` …), one for each option (`choice1`, `ending0`, `A` …) and
one that says which is right. In `.jsonl` a list (`options`, `choices`, `endings`) may stand for the columns, and rows
may have different numbers of options. The right one is named by number, by letter (`A` the first), or by its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onehop.data.columns import distinct
from onehop.data.csv_tables import csv_rows
from onehop.data.json_lines import parse_json
from onehop.data.labelled import joined, objects
from onehop.errors import DataError, nearest
from onehop.files import read_lines

CONTEXTS = re.compile(r"(.*_)?(context|premise|question|query|passage|article|goal|ctx|text|sent1|sent2)", re.I)
OPTIONS = re.compile(r"(.*[a-z_ ])?(ending|choice|option|answer|alternative|sol)[_ ]?\d+|[A-H]|option[_ ]?[A-H]", re.I)
LISTS = re.compile(r"options|choices|endings|answers|alternatives|candidates", re.I)
LABELS = re.compile(
    r"(.*[_ ])?(label|answer|answerkey|answer[_ ]?idx|correct|gold|target|right|most-plausible-alternative)", re.I
)
FORMS = 'Write {"question": "...", "options": ["...", "..."], "label": 0}, or a table with a column for each option.'


@dataclass(frozen=True)
class Choice:
    """A context with options.

    Args:
        contexts: The texts of the context, in the order of their columns.
        options: To choose from.
        right: Which of them is right, as the file has it; empty where it does not say.
        where: File and place, for messages.
    """

    contexts: tuple[str, ...]
    options: tuple[str, ...]
    right: str = ""
    where: str = "input"

    @property
    def text(self) -> str:
        """All texts as one string, with a mark between."""
        return joined((*self.contexts, *self.options))

    def index(self, base: int = 0) -> int:
        """Return the place of the right option, from 0.

        Args:
            base: Number of the first option in the data.

        Raises:
            DataError: None of the options is meant.

        Example:
            >>> two = Choice(("It rains.",), ("We get wet.", "We stay dry."), right="B")
            >>> two.index(), Choice((), two.options, "1").index(base=1), Choice((), two.options, "We stay dry.").index()
            (1, 0, 1)
        """
        label, size = self.right.strip(), len(self.options)
        if re.fullmatch(r"\d+", label) and base <= int(label) < base + size:
            return int(label) - base
        same = [place for place, option in enumerate(self.options) if option.strip() == label]
        if len(same) == 1:
            return same[0]
        if len(label) == 1 and 0 <= ord(label.upper()) - ord("A") < size:
            return ord(label.upper()) - ord("A")
        raise DataError(
            f"the right option is said to be {label!r}, which is none of {size}",
            f"Give its number from {base} to {base + size - 1}, its letter, or its text.",
            self.where,
        )


@dataclass(frozen=True)
class ChoiceColumns:
    """How the columns of contexts, options and labels are to be found.

    Args:
        contexts: Names of the contexts' columns, in order; empty: found by their names.
        options: Names of the options' columns, or of the one that holds lists of them; empty: found.
        label: Name of the column that says which option is right; empty: found.
        labelled: Whether there must be such a column.

    Example:
        >>> ChoiceColumns().find(["id", "premise", "choice1", "choice2", "label"])
        (('premise',), ('choice1', 'choice2'), 'label')
    """

    contexts: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    label: str = ""
    labelled: bool = True

    def find(self, names: Sequence[str], where: str = "") -> tuple[tuple[str, ...], tuple[str, ...], str]:
        """Return the names of the contexts' and the options' columns, and of the label's, empty where there is none.

        Raises:
            DataError: A column that was asked for does not exist, or what is needed cannot be found.
        """
        known = "Name them: data.text_columns, data.option_columns, data.label_column."
        for name in (*self.contexts, *self.options, *filter(None, [self.label])):
            if name not in names:
                hint = nearest(name, names) or f"there are: {', '.join(names)}"
                raise DataError(f"no column {name!r}; {hint}", known, where)
        options = self.options or tuple(name for name in names if LISTS.fullmatch(name))
        if not options:
            found = tuple(name for name in names if OPTIONS.fullmatch(name))
            options = found if len(found) > 1 else ()
        others = [name for name in names if name not in options]
        labels = [self.label] if self.label else [n for n in others if LABELS.fullmatch(n) and n not in self.contexts]
        contexts = self.contexts or tuple(n for n in others if CONTEXTS.fullmatch(n) and n not in labels)
        if len(labels) > 1 and self.labelled:
            raise DataError(f"several columns may say which option is right: {', '.join(labels)}", known, where)
        missing = {"context": contexts, "options": options, "the right option": labels or not self.labelled}
        if lacks := [what for what, found in missing.items() if not found]:
            raise DataError(f"no column of {' or '.join(lacks)} among: {', '.join(names)}", f"{known} {FORMS}", where)
        return contexts, options, labels[0] if labels else ""


@dataclass(frozen=True)
class Choices:
    """A file of choices, opened.

    Args:
        contexts: Names of the contexts' columns.
        options: Names of the options' columns, or of the one that holds lists.
        label: Name of the column that says which is right.
        rows: Its choices; blank rows are left out.
    """

    contexts: tuple[str, ...]
    options: tuple[str, ...]
    label: str
    rows: Iterable[Choice]


def open_choices(path: str | Path, columns: ChoiceColumns | None = None) -> Choices:
    r"""Open a file of choices: `.csv` or `.tsv` with a row of names, or `.jsonl`; also `.gz` and `.zst`.

    Raises:
        FileError: The file cannot be read.
        DataError: It is no such file, its columns cannot be told, or a row has fewer than two options.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "wet.jsonl"
        >>> _ = path.write_text('{"question": "It rains.", "options": ["Get wet.", "Stay dry."], "label": 0}\n')
        >>> [choice.options[choice.index()] for choice in open_choices(path).rows]
        ['Get wet.']
    """
    name, columns = str(path), columns or ChoiceColumns()
    ending = Path(name.removesuffix(".gz").removesuffix(".zst")).suffix
    if ending == ".jsonl":
        return _opened(name, [(number, value) for number, value in objects(name) if value], columns)
    if ending in (".csv", ".tsv"):
        return _opened(name, list(_rows(name, ending)), columns)
    raise DataError(f"the ending {ending!r} tells no table of choices", "Use .csv, .tsv or .jsonl.", name)


def choice_of(line: str, columns: ChoiceColumns, where: str) -> Choice:
    """Return the choice that a line of JSON holds.

    Raises:
        DataError: It holds none.

    Example:
        >>> columns = ChoiceColumns(labelled=False)
        >>> choice_of('{"premise": "It rains.", "choices": ["Wet.", "Dry."]}', columns, "in:1").options
        ('Wet.', 'Dry.')
    """
    value = parse_json(line, FORMS, where)
    if not isinstance(value, dict) or not value:
        raise DataError("not an object", FORMS, where)
    return _choice(value, *columns.find(list(value), where), where)


def _rows(path: str, ending: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line and the cells of each row by their columns."""
    lines = enumerate(read_lines(path), 1)
    rows = csv_rows(path) if ending == ".csv" else ((n, line.split("\t") if line else []) for n, line in lines)
    _, names = next(rows, (1, []))
    distinct(names, f"{path}:1")
    for line, fields in rows:
        if fields and len(fields) != len(names):
            raise DataError(f"{len(fields)} fields where the first row has {len(names)}", "Mend it.", f"{path}:{line}")
        if fields:
            yield line, dict(zip(names, fields, strict=True))


def _opened(path: str, rows: list[tuple[int, dict[str, Any]]], columns: ChoiceColumns) -> Choices:
    if not rows:
        raise DataError("no choice", FORMS, path)
    contexts, options, label = columns.find(list(rows[0][1]), path)
    found = (_choice(value, contexts, options, label, f"{path}:{number}") for number, value in rows)
    return Choices(contexts, options, label, found)


def _choice(value: dict[str, Any], contexts: Sequence[str], options: Sequence[str], label: str, where: str) -> Choice:
    """Return the choice of a row.

    Raises:
        DataError: A key is missing or holds no text, or there are fewer than two options, or an empty one.
    """
    listed = value.get(options[0])
    if len(options) == 1 and not isinstance(listed, list):
        raise DataError(f"{options[0]!r} holds no list of options", FORMS, where)
    given = listed if isinstance(listed, list) else [_text(value, name, where) for name in options]
    if len(given) < 2:
        raise DataError(f"{len(given)} options", "Give two or more.", where)
    if not all(isinstance(option, str) and option.strip() for option in given):
        raise DataError("an option without text", "Mend or remove the row.", where)
    right = _text(value, label, where) if label else ""
    return Choice(tuple(_text(value, name, where) for name in contexts), tuple(given), right, where)


def _text(value: dict[str, Any], name: str, where: str) -> str:
    if name not in value:
        raise DataError(f"no key {name!r}", "Write every key in every object.", where)
    item = value[name]
    if isinstance(item, (dict, list, float)):
        raise DataError(f"{name!r} is a {type(item).__name__}, not a string", "Write it in quotes.", where)
    return "" if item is None else str(int(item) if isinstance(item, bool) else item)


def first_number(choices: Iterable[Choice]) -> int:
    """Return the number of the first option: 1 where no label is 0 and some label is that of a last option, else 0.

    Example:
        >>> first_number([Choice((), ("a", "b"), "1"), Choice((), ("a", "b"), "2")])
        1
    """
    numbers = [(int(one.right), len(one.options)) for one in choices if re.fullmatch(r"\s*\d+\s*", one.right)]
    return int(all(number > 0 for number, _ in numbers) and any(number == size for number, size in numbers))
