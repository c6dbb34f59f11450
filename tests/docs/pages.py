"""Pages of documentation as what a reader would run: files to write, commands and programs, and what they print."""

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

FENCE = re.compile(r"^( *)(```+) *(.*?)\n(.*?)^\1\2 *$", re.M | re.S)
LENIENT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        page: File it stands in.
        line: Number of its first line.
        language: First word of the fence.
        title: Name of the file that it shows, or empty.
        is_output: Whether it shows what the block before it prints.
        text: Between the fences.
    """

    page: Path
    line: int
    language: str
    title: str
    is_output: bool
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def page_name(page: Path) -> str:
    """Return a page as the tests call it."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page, in order."""
    text = page.read_text("utf-8")
    for found in FENCE.finditer(text):
        indent, _, info, body = found.groups()
        words = info.strip("{} ").split()
        title = re.search(r'title="(.+?)"', info)
        yield Block(
            page,
            text.count("\n", 0, found.start()) + 2,
            words[0].lstrip(".") if words else "",
            title[1] if title else "",
            ".output" in words,
            re.sub(f"^{indent}", "", body, flags=re.M),
        )


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return FENCE.sub("", page.read_text("utf-8"))


def run(page: Path, folder: Path) -> None:
    """Do in `folder` what the page tells, from top to bottom, and compare what is printed with what it shows."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page):
        if block.is_output:
            assert doctest.OutputChecker().check_output(block.text, printed, LENIENT), f"{block} printed:\n{printed}"
        elif block.language == "python":
            printed = _python(block, namespace, folder)
        elif block.language == "sh":
            printed = _shell(block, folder)
        elif block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")


def _python(block: Block, namespace: dict[str, Any], folder: Path) -> str:
    """Run a block of Python; line numbers in a traceback are those of the page."""
    program = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec")
    out = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out):
        exec(program, namespace)
    return out.getvalue()


def _shell(block: Block, folder: Path) -> str:
    """Run a block of shell commands with the real `onehop`."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{block}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout
