"""C that comes with Onehop, compiled once for the processor at hand where a compiler is there.

What was compiled lies in the user's cache, under a hash of the source, the compiler and the processor. Nothing is
compiled when Onehop is installed, and everything works without a compiler, only slower.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path

from onehop.files import cache_folder

FLAGS = ("-O3", "-shared", "-fPIC", "-fvisibility=hidden", "-w")
LIBRARIES = ("-lm", "-lpthread")
OFF = "ONEHOP_KERNELS"  # set to 0, nothing is compiled or loaded
SECONDS = 300  # a compiler may take

Tell = Callable[[str], None]


def load(sources: tuple[str, ...], tell: Tell = lambda text: None, options: tuple[str, ...] = ()) -> ctypes.CDLL | str:
    """Return a library, compiled if it has not been yet, or why there is none.

    Args:
        sources: Files of this folder; the last is compiled and includes the others.
        tell: Is told when something is compiled, which takes seconds.
        options: More for the compiler, such as `-DLANES=4`, by which a test sees forms of other processors.

    Example:
        >>> isinstance(load(("vector.h", "pool.h"), options=("--no-such-option",)), str)
        True
    """
    if os.environ.get(OFF) == "0":
        return f"{OFF}=0"
    return _loaded(sources, tell, options)


@cache
def _loaded(sources: tuple[str, ...], tell: Tell, options: tuple[str, ...]) -> ctypes.CDLL | str:
    compiler = os.environ.get("CC") or next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), "")
    if not compiler:
        return "no C compiler"
    source = {name: files("onehop.native").joinpath(name).read_bytes() for name in sources}
    try:
        path = _compiled(compiler, options, source, tell)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None) or b""
        lines = output.decode("utf-8", "replace").strip().splitlines() or [str(error)]
        return f"{compiler} cannot make the kernels: {lines[0][:200]}"


def _compiled(compiler: str, options: tuple[str, ...], source: dict[str, bytes], tell: Tell) -> Path:
    """Return the library in the cache, compiled if it is not there."""
    own = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
    key = hashlib.sha256()
    for part in (compiler, own, *options, *FLAGS, *LIBRARIES, processor()):
        key.update(part.encode() + b"\0")
    for name, text in source.items():
        key.update(name.encode() + b"\0" + text + b"\0")
    path = cache_folder() / "kernels" / f"{key.hexdigest()[:32]}.so"
    if _is_ours(path) and _is_whole(path):
        return path
    tell(f"compiling kernels for this processor with {compiler}, once")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in source.items():
            (Path(folder) / name).write_bytes(text)
        made = Path(folder) / "kernels.so"
        command = [
            *compiler.split(),
            own,
            *options,
            *FLAGS,
            "-o",
            str(made),
            str(Path(folder) / list(source)[-1]),
            *LIBRARIES,
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
        return _kept(made, path)


def _kept(made: Path, path: Path) -> Path:
    """Move what was made into the cache; where that cannot be written, use it from where the system keeps it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        library = made.read_bytes()
        for place, data in ((_sum_of(path), hashlib.sha256(library).hexdigest().encode()), (path, library)):
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as new:
                new.write(data)
            os.replace(new.name, place)
        return path
    except OSError:
        ctypes.CDLL(str(made))  # stays loaded when its file is gone
        return made


def _is_ours(path: Path) -> bool:
    """Whether the file is there, and nobody else could have written it, or put it there."""
    try:
        found, folder = path.lstat(), path.parent.stat()
    except OSError:
        return False
    if not stat.S_ISREG(found.st_mode):
        return False
    others = stat.S_IWGRP | stat.S_IWOTH
    return not hasattr(os, "getuid") or all(
        one.st_uid == os.getuid() and not one.st_mode & others for one in (found, folder)
    )


def _sum_of(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _is_whole(path: Path) -> bool:
    """Whether the file holds what was written: loading one that was cut off would end the process."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest().encode() == _sum_of(path).read_bytes()
    except OSError:
        return False


@cache
def processor() -> str:
    """Return what tells processors apart: architecture, model and instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    kept = [line for line in lines[:40] if line.startswith(("model name", "flags", "CPU part", "Features"))]
    return "\n".join([platform.machine(), *kept])
