"""Files: reading plain and compressed text, atomic writing, hashes, and what lies where in a run.

Whatever the operating system refuses becomes a `FileError` that names the file and a remedy. Folders and files are
written beside their place and renamed into it, so that nothing half-written ever has the name.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import io
import json
import os
import shlex
import shutil
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from onehop.errors import STDIN, DataError, FileError

REMEDIES = {
    errno.ENOENT: "Check the path; relative paths start at the current folder.",
    errno.EISDIR: "Name a file, not a folder.",
    errno.ENOTDIR: "Part of the path is a file; name another folder.",
    errno.EACCES: "Choose a folder you may write to, or change its permissions.",
    errno.EPERM: "Choose a folder you may write to, or change its permissions.",
    errno.EROFS: "The file system is read-only; choose another folder.",
    errno.ENOSPC: "The disk is full; free some space or choose another folder.",
    errno.EIO: "The disk, or the way to it, fails: see the system's log, or choose another folder.",
    errno.EDQUOT: "Your disk quota is used up; free some space or choose another folder.",
    errno.EFBIG: "The file may not grow that large here (see `ulimit -f`); choose another folder.",
}


BINARY = {  # how files begin that are often taken for text
    b"PAR1\x15": ("a Parquet file", "Write its texts to a file, one a line; or if it has the ending .parquet, give it "
                   "where tables are read, such as --pairs or --data."),
    b"PK\x03\x04": ("a zip archive, as .xlsx and .docx are", "Save it as text: a table as .csv or .tsv."),
    b"\x1f\x8b": ("data compressed by gzip", "Give the file the ending .gz; or unpack it: gunzip -c"),
    b"\x28\xb5\x2f\xfd": ("data compressed by zstd", "Give the file the ending .zst; or unpack it: zstd -dc"),
}  # fmt: skip


def file_error(error: OSError, path: str | Path, doing: str) -> FileError:
    """Turn what the operating system said into one message with a remedy."""
    reason = error.strerror or str(error)
    return FileError(f"cannot {doing}: {reason}", REMEDIES.get(error.errno or 0, ""), where=str(path))


@contextmanager
def os_errors(path: str | Path, doing: str) -> Generator[None]:
    """Translate every `OSError` inside into a `FileError` about `path`."""
    try:
        yield
    except OSError as error:
        raise file_error(error, path, doing) from error
    except ValueError as error:
        if "null byte" not in str(error):
            raise
        raise FileError(f"cannot {doing}: its name holds a NUL", "Check the path.", repr(str(path))) from error


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; of a folder, that of its files' names and hashes."""
    if Path(path).is_dir():
        files = sorted(file for file in Path(path).rglob("*") if file.is_file())
        lines = [f"{file.relative_to(path).as_posix()} {sha256(file)}\n" for file in files]
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
    with os_errors(path, "read"), open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# ------------------------------------------------------------------------------------------------ reading


class _ZstdFrames(io.RawIOBase):
    """Reads the frames of a zstd file one after the other; a file that ends inside a frame is an `EOFError`.

    The library's own reader has no lines, and takes a file that was cut off for a whole one.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._frame: Any = None
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and (data := self._compressed()):
            self._ready = self._frame.decompress(data)
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def _compressed(self) -> bytes:
        """Return data for the present frame, or for a new one where that is complete."""
        import zstandard

        inside = self._frame is not None and not self._frame.eof
        data = self._frame.unused_data if self._frame is not None and not inside else b""
        data = data or self._stream.read(1 << 17)
        if inside and not data:
            raise EOFError("the file ends inside a zstd frame")
        if data and not inside:
            self._frame = zstandard.ZstdDecompressor().decompressobj()
        return data

    def close(self) -> None:
        self._stream.close()
        super().close()


def open_bytes(path: str | Path) -> IO[bytes]:
    """Open a file for reading, decompressed if its name ends in `.gz` or `.zst`."""
    name = str(path)
    with os_errors(path, "read"):
        if name.endswith(".gz"):
            import gzip

            return gzip.open(name, "rb")  # type: ignore[return-value]
        if name.endswith(".zst"):
            return io.BufferedReader(_ZstdFrames(open(name, "rb")), 1 << 17)
        return open(name, "rb")


def read_lines(path: str | Path) -> Iterator[str]:
    r"""Yield the lines of a UTF-8 file without their ends.

    A line ends at `\n` or `\r\n` and nowhere else: not at U+2028, form feed or a lone `\r`, so that two parallel
    files always agree on what a line is. A byte-order mark at the start is dropped.

    Raises:
        FileError: The file cannot be read.
        DataError: The file is not UTF-8, or the compressed data is damaged; tells the line.
    """
    with os_errors(path, "read"), open_bytes(path) as stream:
        yield from decode_lines(stream, str(path))


def decode_lines(stream: IO[bytes], name: str) -> Iterator[str]:
    """Yield the lines of a UTF-8 byte stream; `name` is for error messages. See `read_lines`."""
    for number, raw in enumerate(_undamaged(stream, name), 1):
        yield _decode(raw, name, number)


def open_lines(path: str | Path) -> Iterator[bytes]:
    """Yield the lines of a file as bytes, without their ends and the byte-order mark; the encoding is not checked.

    Raises:
        FileError: The file cannot be read.
        DataError: The compressed data is damaged, or the text is UTF-16.
    """
    with os_errors(path, "read"), open_bytes(path) as stream:
        for number, raw in enumerate(_undamaged(stream, str(path)), 1):
            yield _bare(raw, str(path), number)


def _undamaged(stream: IO[bytes], name: str) -> Iterator[bytes]:
    """Yield the lines of a stream; damage of the compression is a `DataError`."""
    number = 0
    try:
        for raw in stream:
            number += 1
            yield raw
    except (EOFError, zlib.error) as error:
        raise DataError(
            f"damaged compressed data after line {number}: {error}", "Copy the file again.", name
        ) from error
    except OSError as error:
        if error.errno is None:  # gzip.BadGzipFile carries no errno
            raise DataError(f"not a gzip file, or damaged: {error}", "Check the name's ending.", name) from error
        raise
    except Exception as error:
        if type(error).__name__ == "ZstdError":
            raise DataError(f"not a zstd file, or damaged: {error}", "Check the name's ending.", name) from error
        raise


def _bare(raw: bytes, name: str, number: int) -> bytes:
    """Return a line without its end and, of the first, the byte-order mark."""
    if number == 1:
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError("UTF-16 text", f"Convert it: {_iconv('UTF-16', name)}", f"{name}:1")
        for begins, (kind, remedy) in BINARY.items():
            if raw.startswith(begins):
                raise DataError(f"{kind}, where lines of text are wanted", remedy, name)
        raw = raw.removeprefix(b"\xef\xbb\xbf")
    return raw.removesuffix(b"\n").removesuffix(b"\r")


def _iconv(encoding: str, name: str) -> str:
    """Return the command that makes UTF-8 of a file, or of what comes through a pipe."""
    command = f"iconv -f {encoding} -t UTF-8"
    return f"... | {command} | onehop ..." if name == STDIN else f"{command} {shlex.quote(name)}"


def _decode(raw: bytes, name: str, number: int) -> str:
    raw = _bare(raw, name, number)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"not UTF-8 (byte 0x{raw[error.start]:02x} at column {error.start + 1})",
            f"If it is Latin-1, convert it: {_iconv('ISO-8859-1', name)}",
            f"{name}:{number}",
        ) from error


# ------------------------------------------------------------------------------------------------ writing


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a whole file beside its place and rename it there."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with os_errors(path, "write"):
        try:
            with open(temporary, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file atomically; a lone surrogate is written as `?`."""
    write_bytes(path, text.encode("utf-8", "replace"))


@contextmanager
def new_text(path: str | Path) -> Generator[IO[str]]:
    """Yield a UTF-8 text file to fill; it takes the place of `path` when the block ends without an error.

    A device or a pipe is written as it comes; a link stays a link. A lone surrogate is written as `?`.
    """
    place = Path(os.path.realpath(path))
    direct = place.exists() and not place.is_file()
    temporary = place if direct else place.with_name(f".{place.name}.{os.getpid()}.tmp")
    with os_errors(path, "write"):
        try:
            with open(temporary, "w", encoding="utf-8", errors="replace", newline="\n") as stream:
                yield stream
                stream.flush()
                if not direct:
                    os.fsync(stream.fileno())
            if not direct:
                os.replace(temporary, place)
        finally:
            if not direct:
                temporary.unlink(missing_ok=True)


@contextmanager
def new_file(path: str | Path) -> Generator[Path]:
    """Yield the path of a file to write; it takes the place of `path` when the block ends without an error."""
    place = Path(os.path.realpath(path))
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    with os_errors(path, "write"):
        try:
            yield temporary
            with open(temporary, "r+b") as stream:
                os.fsync(stream.fileno())
            os.replace(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)


def to_json(value: Any) -> str:
    """Return the one canonical JSON form of a value: sorted keys, no ASCII escapes, a line end."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False) + "\n"


@contextmanager
def new_folder(path: str | Path) -> Generator[Path]:
    """Yield an empty folder to fill; it takes the place of `path` when the block ends without an error.

    On Linux the two change places at once; elsewhere `path` is missing for the moment between two renames. What a
    process that was killed left beside it is removed.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    aside = path.with_name(f".{path.name}.{os.getpid()}.old")
    with os_errors(path, "write"):
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
            for file in (path for path in temporary.rglob("*") if path.is_file()):
                with open(file, "r+b") as stream:  # Windows syncs what is open for writing only
                    os.fsync(stream.fileno())
            _sync(temporary)
            if not path.exists():
                os.replace(temporary, path)
            elif not _exchange(temporary, path):
                os.replace(path, aside)
                os.replace(temporary, path)
            _sync(path.parent)
            _remove_left(path)
        finally:
            if aside.exists() and not path.exists():
                os.replace(aside, path)
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change names at once; return whether the system could."""
    import ctypes

    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # no such function, or no C library to ask
        return False
    return rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def _sync(folder: Path) -> None:
    """Let the names in a folder outlast a failure of power, where the system has a way."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove_left(path: Path) -> None:
    """Remove what processes that are no more left beside a folder."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        _, number, kind = left.name.rsplit(".", 2) if left.name.count(".") > 2 else ("", "", "")
        if kind in ("tmp", "old") and number.isdecimal() and not _runs(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def _runs(process: int) -> bool:
    """Return whether a process may still run here."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


# ------------------------------------------------------------------------------------------------ layout of a run


def cache_folder() -> Path:
    """Return the folder of what can be made again: `$ONEHOP_CACHE`, or `onehop` in the user's cache folder."""
    own = os.environ.get("ONEHOP_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "onehop"


class Run:
    """The paths of a training run; see `docs/reference/files.md` for what each file holds."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.recipe = self.folder / "recipe.toml"
        self.record = self.folder / "run.json"
        self.log = self.folder / "log.jsonl"
        self.tensorboard = self.folder / "tensorboard"
        self.report = self.folder / "report.json"
        self.page = self.folder / "report.html"
        self.checkpoints = self.folder / "checkpoints"
        self.model = self.folder / "model"

    def saved(self) -> list[Path]:
        """Return the folders of complete checkpoints, oldest first."""
        if not self.checkpoints.is_dir():
            return []
        return sorted((path for path in self.checkpoints.iterdir() if path.name.isdecimal()), key=lambda p: int(p.name))

    def open_log(self) -> IO[str]:
        """Open the log for appending."""
        with os_errors(self.log, "write"):
            return open(self.log, "a", encoding="utf-8", buffering=1)


def free_aside(folder: Path) -> Path:
    """Return the first name `folder.1`, `folder.2`, … that is free."""
    folder, number = folder.resolve(), 1
    while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    return aside
