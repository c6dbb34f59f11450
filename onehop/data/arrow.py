"""Columnar tables, read a batch of rows at a time: Parquet files, and data sets that `datasets` saved to disk.

They need pyarrow, which `pip install 'onehop[data]'` brings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onehop.data.columns import Columns
from onehop.data.pair import Pair
from onehop.errors import DataError
from onehop.files import os_errors

ROWS = 8_192
SHOWN = 8  # columns that hold no text, in a message
Names = tuple[tuple[str, ...], str]  # of the columns of texts, and of that of labels
STATE, SPLITS = "state.json", "dataset_dict.json"


def read_arrow(path: str | Path, columns: Columns) -> Iterator[Pair]:
    """Yield the pairs of a Parquet file or of a saved data set; see `onehop.data.read_table`.

    A missing value gives an empty text.
    """
    number = 0
    for part in _parts(path):
        with _damage(part):
            for names, batch in _batches(part, columns, str(path)):
                try:
                    sides = [_texts(batch, name) for name in names]
                except UnicodeDecodeError as error:
                    rows = f"{path}:rows {number + 1} to {number + len(batch)}"
                    raise DataError("text that is not UTF-8", "Write the file again, as UTF-8.", rows) from error
                number += len(batch)
                yield from map(Pair, *sides)


def arrow_header(path: str | Path, columns: Columns) -> tuple[str, str] | None:
    """Return the names of the two columns; None for a data set without files."""
    for part in _parts(path):
        with _damage(part):
            return next((names for names, _ in _batches(part, columns, str(path))), None)
    return None


def arrow_columns(
    path: str | Path, choose: Callable[[list[str]], Names], *, fractions: bool = False
) -> tuple[Names, Iterator[list[str]]]:
    """Return which columns were chosen, and an iterator of their values, row by row, as text.

    Args:
        path: A Parquet file, or a saved data set.
        choose: From the names of the columns of text and of whole numbers to those of texts and that of labels.
        fractions: Whether columns of other numbers may be chosen, too.
    """
    parts = _parts(path)
    chosen: Names | None = None
    for part in parts:
        with _damage(part):
            chosen = next((names for names, _ in _labelled(part, choose, fractions)), chosen)
        if chosen:
            break
    if chosen is None:
        raise DataError("a table without rows", "Save it with rows.", str(path))
    return chosen, _values(parts, choose, fractions)


def _values(parts: list[Path], choose: Callable[[list[str]], Names], fractions: bool) -> Iterator[list[str]]:
    for part in parts:
        with _damage(part):
            for (texts, label), batch in _labelled(part, choose, fractions):
                columns = [_texts(batch, name) for name in (*texts, *filter(None, [label]))]
                yield from map(list, zip(*columns, strict=True))


def _labelled(part: Path, choose: Callable[[list[str]], Names], fractions: bool) -> Iterator[tuple[Names, Any]]:
    """Yield the names of the chosen columns, and each batch of rows."""
    if part.suffix == ".arrow":
        import pyarrow as pa

        with pa.OSFile(str(part)) as stream, pa.ipc.open_stream(stream) as reader:
            names = _chosen(choose, reader.schema, numbers=True, fractions=fractions)
            yield from ((names, batch) for batch in reader)
    else:
        import pyarrow.parquet as pq

        with pq.ParquetFile(part) as file:
            names = _chosen(choose, file.schema_arrow, numbers=True, fractions=fractions)
            wanted = [*names[0], *filter(None, [names[1]])]
            yield from ((names, batch) for batch in file.iter_batches(ROWS, columns=wanted, use_threads=False))


def _parts(path: str | Path) -> list[Path]:
    """Return the file itself, or those of a folder that `save_to_disk` wrote."""
    folder = Path(path)
    if not folder.is_dir():
        return [folder]
    if (folder / SPLITS).is_file():
        splits = [f"{folder / name}" for name in sorted(p.parent.name for p in folder.glob(f"*/{STATE}"))]
        raise DataError("a data set of several splits", f"Name one of them: {', '.join(splits)}", str(path))
    if not (folder / STATE).is_file():
        raise DataError(
            "a folder that is no data set saved by `datasets.save_to_disk`", "Name its files one by one.", str(path)
        )
    with os_errors(folder / STATE, "read"):
        text = (folder / STATE).read_bytes()
    try:
        state = json.loads(text)
        names = [str(part["filename"]) for part in state["_data_files"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError("damaged: not the state of a data set", "Save it again.", str(folder / STATE)) from error
    if state.get("_indices_data_files"):
        raise DataError("a data set whose rows are chosen by an index", "Save its flatten_indices().", str(path))
    return [folder / name for name in names]


def _batches(part: Path, columns: Columns, where: str) -> Iterator[tuple[tuple[str, str], Any]]:
    """Yield the names of the two columns, and each batch of rows."""
    if part.suffix == ".arrow":
        import pyarrow as pa

        with pa.OSFile(str(part)) as stream, pa.ipc.open_stream(stream) as reader:
            names = _chosen(lambda found: columns.choose(found, where), reader.schema)
            yield from ((names, batch) for batch in reader)
    else:
        import pyarrow.parquet as pq

        with pq.ParquetFile(part) as file:
            names = _chosen(lambda found: columns.choose(found, where), file.schema_arrow)
            rows = file.iter_batches(ROWS, columns=list(names), use_threads=False)
            yield from ((names, batch) for batch in rows)


def _chosen(choose: Callable[[list[str]], Any], schema: Any, *, numbers: bool = False, fractions: bool = False) -> Any:
    """Return what is chosen among the columns of text; where nothing fits, the message tells of the others, too."""
    names = _text_columns(schema, numbers=numbers, fractions=fractions)
    try:
        return choose(names)
    except DataError as error:
        known = {name.partition(".")[0] for name in names} | set(names)
        others = [f"{field.name} ({str(field.type)[:40]})" for field in schema if field.name not in known]
        if not others:
            raise
        problem = f"{error.problem}; not to be read as text here: {', '.join(others[:SHOWN])}"
        raise DataError(problem, error.remedy, error.where) from error


def _text_columns(schema: Any, *, numbers: bool = False, fractions: bool = False) -> list[str]:
    """Return the names of the columns of text, or of whole numbers too, those inside of others as `translation.en`."""
    import pyarrow as pa

    names: list[str] = []
    for field in schema:
        inner = [(f"{field.name}.{child.name}", child.type) for child in field.type] if _nested(field.type) else []
        for name, kind in [(field.name, field.type), *inner]:
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            whole = numbers and (pa.types.is_integer(kind) or pa.types.is_boolean(kind))
            whole = whole or (fractions and pa.types.is_floating(kind))
            text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
            if text or whole:
                names.append(name)
    return names


def _nested(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_struct(kind)


def _texts(batch: Any, name: str) -> list[str]:
    """Return the texts of a column of a batch."""
    import pyarrow as pa

    if name in batch.schema.names:
        column = batch.column(name)
    else:
        parent, _, child = name.rpartition(".")
        column = batch.column(parent)
        column = column.flatten()[column.type.get_field_index(child)]  # a row that is missing has no texts
    _bounded(column)
    return [text or "" for text in column.cast(pa.large_string()).to_pylist()]


def _bounded(column: Any) -> None:
    """Check that a column's texts lie in its memory: pyarrow believes a damaged file's offsets, and reads anywhere."""
    import pyarrow as pa

    as_bytes = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}  # what is not UTF-8 is told later
    column = column.view(as_bytes[column.type]) if column.type in as_bytes else column
    column.validate(full=True)


@contextmanager
def _damage(path: Path) -> Generator[None]:
    """Turn a missing pyarrow and what a damaged file brings up into one message each."""
    try:
        with os_errors(path, "read"):
            path.open("rb").close()
        yield
    except ImportError as error:
        remedy = "Install it: pip install 'onehop[data]'"
        raise DataError(
            "Parquet files and saved data sets need pyarrow, which is not installed", remedy, str(path)
        ) from error
    except (OSError, ValueError, TypeError, KeyError, SystemError, MemoryError) as error:  # so are pyarrow's own
        kind = "Parquet" if path.suffix == ".parquet" else "Arrow"
        reason = str(error).split("\n")[0]
        raise DataError(f"not a {kind} file, or damaged: {reason}", "Copy the file again.", str(path)) from error
