"""What went wrong on the way from characters to bytes and back: mojibake, lost characters, controls, normal forms."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from onehop.data.check.mojibake import Mojibake

CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\u2028\u2029\ufff9-\ufffc\U000e0001-\U000e007f]"
)
SURROGATE = re.compile("[\ud800-\udfff]")
LOST = "\ufffd"


def repaired(text: str, spoilt: Mojibake) -> str:
    r"""Return a text without mojibake and control characters, in NFC.

    Example:
        >>> repaired("cafe\u0301\x00", Mojibake([]))
        'café'
    """
    return unicodedata.normalize("NFC", CONTROL.sub("", spoilt.mended(text)))


def faults(lines: list[str], spoilt: Mojibake) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Yield each kind of fault that some of the lines have, and which ones."""
    joined = "\n".join(lines)
    if spoilt.mended(joined) != joined:
        yield "mojibake", _which(lines, lambda line: spoilt.mended(line) != line)
    if LOST in joined:
        yield "replacement-characters", _which(lines, lambda line: LOST in line)
    if joined.isascii() and not CONTROL.search(joined):
        return
    if SURROGATE.search(joined):
        yield "lone-surrogates", _which(lines, lambda line: bool(SURROGATE.search(line)))
    if CONTROL.search(joined):
        yield "control-characters", _which(lines, lambda line: bool(CONTROL.search(line)))
    if not unicodedata.is_normalized("NFC", joined):
        yield "mixed-normalization", _which(lines, lambda line: not unicodedata.is_normalized("NFC", line))


def _which(lines: list[str], test: Callable[[str], bool]) -> npt.NDArray[np.bool_]:
    return np.fromiter(map(test, lines), bool, len(lines))
