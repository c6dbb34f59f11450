"""Input that is read a part at a time, once or twice, and output that is whole or not there."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

Opener = Callable[[], AbstractContextManager[IO[bytes]]]


@contextmanager
def opened(file: str, name: str, twice: bool) -> Generator[Opener]:
    """Yield a way to open the input, again and again if it is read twice: then a pipe is spooled first."""
    from onehop.files import open_bytes, os_errors

    if file != "-" and (Path(file).is_file() or not Path(file).exists()):
        yield lambda: open_bytes(file)
        return
    with os_errors(name, "read"):
        source = nullcontext(sys.stdin.buffer) if file == "-" else open(file, "rb")  # noqa: SIM115 - closed below
    with source as stream:
        if not twice:
            yield lambda: nullcontext(cast("IO[bytes]", stream))
            return
        with tempfile.SpooledTemporaryFile(max_size=1 << 26) as spool:

            def rewound() -> AbstractContextManager[IO[bytes]]:
                spool.seek(0)
                return nullcontext(cast("IO[bytes]", spool))

            with os_errors(name, "read"):
                shutil.copyfileobj(stream, spool, 1 << 20)
            yield rewound


def chunks(opener: Opener, name: str, size: int) -> Iterator[list[str]]:
    """Yield the lines of the input, so many at a time."""
    from onehop.files import decode_lines, os_errors

    with os_errors(name, "read"), opener() as stream:
        lines = decode_lines(stream, name)
        while chunk := list(islice(lines, size)):
            yield chunk


def written(path: Path | None) -> Any:
    """Return a context of the output: a file that is there once it is whole, or standard output."""
    from onehop.cli import console
    from onehop.files import new_text

    return nullcontext(console.stdout()) if path is None else new_text(path)
