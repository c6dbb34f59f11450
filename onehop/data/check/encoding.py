"""What went wrong on the way from characters to bytes and back: mojibake, lost characters, controls, normal forms."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

# UTF-8's lead bytes of two and three byte characters, read as Latin-1 or Windows-1252, and what may follow them there
LEADS = "\u00c2-\u00f4"
FOLLOWERS = "\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122"
MOJIBAKE = re.compile(f"[{LEADS}][{FOLLOWERS}]")
CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\u2028\u2029\ufff9-\ufffc\U000e0001-\U000e007f]"
)
SURROGATE = re.compile("[\ud800-\udfff]")
LOST = "\ufffd"
# cp1252 leaves five bytes without a character; programs read them as the control character of the same number
BYTES = {chr(code): bytes([code]) for code in range(256)} | {
    bytes([code]).decode("cp1252"): bytes([code]) for code in range(128, 160) if code not in (129, 141, 143, 144, 157)
}


def mended(text: str) -> str:
    r"""Return a text whose UTF-8 was read as Windows-1252 or Latin-1 as it was meant; others as they are.

    Stretches that decode as UTF-8 are put back one by one, so that a line that is right elsewhere stays so.

    Example:
        >>> mended("sch\u00c3\u00b6n"), mended("S\u00c3O PAULO")
        ('schön', 'SÃO PAULO')
    """
    for _ in range(3):  # some text was read wrongly twice
        again = BROKEN.sub(_decoded, text) if MOJIBAKE.search(text) else text
        if again == text:
            break
        text = again
    return text


BROKEN = re.compile(f"[\u00c2-\u00df][{FOLLOWERS}]|[\u00e0-\u00ef][{FOLLOWERS}]{{2}}|[\u00f0-\u00f4][{FOLLOWERS}]{{3}}")


def _decoded(match: re.Match[str]) -> str:
    try:
        found = b"".join(BYTES[character] for character in match[0]).decode("utf-8")
    except (UnicodeDecodeError, KeyError):
        return match[0]
    return found if unicodedata.category(found)[0] not in "C" else match[0]


def repaired(text: str) -> str:
    r"""Return a text without mojibake and control characters, in NFC.

    Example:
        >>> repaired("cafe\u0301\x00")
        'café'
    """
    return unicodedata.normalize("NFC", CONTROL.sub("", mended(text)))


def faults(lines: list[str]) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Yield each kind of fault that some of the lines have, and which ones."""
    joined = "\n".join(lines)
    if MOJIBAKE.search(joined):
        yield "mojibake", _which(lines, lambda line: bool(MOJIBAKE.search(line)) and mended(line) != line)
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
