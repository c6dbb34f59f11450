"""Many lines at once as arrays: code points, words and their hashes, so that no loop runs over characters.

Lines are compared after normalisation: NFC, lower case, white space made single blanks. The hash of a word or line is
a polynomial of its code points modulo 2^64 (Karp and Rabin 1987), so prefix sums give all of them in a few operations
on whole arrays.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

LONGEST = 4_096  # characters of a line that are looked at one by one; the rest counts by its hash
STEM = 6  # letters of a word that tell it from others, whatever its ending
END = 10  # the line end's code point
PRIME = 0x9E3779B97F4A7C15

SCRIPTS = (
    "none", "Latin", "Greek", "Cyrillic", "Armenian", "Hebrew", "Arabic", "Devanagari", "Bengali", "Gurmukhi",
    "Gujarati", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala", "Thai", "Lao", "Tibetan", "Myanmar", "Georgian",
    "Ethiopic", "Khmer", "Mongolian", "Hangul", "Kana", "Han",
)  # fmt: skip
UNSPACED = ("Thai", "Lao", "Tibetan", "Myanmar", "Khmer", "Kana", "Han")
RANGES: tuple[tuple[int, int, str], ...] = (
    (0x41, 0x5A, "Latin"), (0x61, 0x7A, "Latin"), (0xAA, 0xAA, "Latin"), (0xBA, 0xBA, "Latin"),
    (0xC0, 0xD6, "Latin"), (0xD8, 0xF6, "Latin"), (0xF8, 0x2AF, "Latin"), (0x1E00, 0x1EFF, "Latin"),
    (0x2C60, 0x2C7F, "Latin"), (0xA722, 0xA7FF, "Latin"), (0xFF21, 0xFF3A, "Latin"), (0xFF41, 0xFF5A, "Latin"),
    (0x370, 0x373, "Greek"), (0x376, 0x37D, "Greek"), (0x37F, 0x3FF, "Greek"), (0x1F00, 0x1FFF, "Greek"),
    (0x400, 0x52F, "Cyrillic"), (0x1C80, 0x1C88, "Cyrillic"), (0x531, 0x587, "Armenian"), (0x5D0, 0x5F2, "Hebrew"),
    (0x620, 0x64A, "Arabic"), (0x66E, 0x6D3, "Arabic"), (0x750, 0x77F, "Arabic"), (0xFB50, 0xFDFB, "Arabic"),
    (0xFE70, 0xFEFC, "Arabic"), (0x900, 0x963, "Devanagari"), (0x980, 0x9FF, "Bengali"), (0xA00, 0xA7F, "Gurmukhi"),
    (0xA80, 0xAFF, "Gujarati"), (0xB80, 0xBFF, "Tamil"), (0xC00, 0xC7F, "Telugu"), (0xC80, 0xCFF, "Kannada"),
    (0xD00, 0xD7F, "Malayalam"), (0xD80, 0xDFF, "Sinhala"), (0xE01, 0xE3A, "Thai"), (0xE40, 0xE4E, "Thai"),
    (0xE80, 0xEFF, "Lao"), (0xF40, 0xFBC, "Tibetan"), (0x1000, 0x109F, "Myanmar"), (0x10A0, 0x10FF, "Georgian"),
    (0x1C90, 0x1CBF, "Georgian"), (0x1200, 0x137F, "Ethiopic"), (0x1780, 0x17D3, "Khmer"),
    (0x1820, 0x18AA, "Mongolian"), (0x1100, 0x11FF, "Hangul"), (0x3131, 0x318E, "Hangul"), (0xAC00, 0xD7A3, "Hangul"),
    (0x3041, 0x309F, "Kana"), (0x30A1, 0x30FA, "Kana"), (0x30FC, 0x30FF, "Kana"), (0x31F0, 0x31FF, "Kana"),
    (0xFF66, 0xFF9D, "Kana"), (0x3005, 0x3007, "Han"), (0x3400, 0x4DBF, "Han"), (0x4E00, 0x9FFF, "Han"),
    (0xF900, 0xFAFF, "Han"), (0x20000, 0x3FFFF, "Han"),
)  # fmt: skip


def _script_table() -> npt.NDArray[np.uint8]:
    table = np.zeros(0x110000, np.uint8)
    for first, last, script in RANGES:
        table[first : last + 1] = SCRIPTS.index(script)
    return table


TABLE = _script_table()
ALONE = np.isin(np.arange(len(SCRIPTS)), [SCRIPTS.index(name) for name in UNSPACED])


def mix(values: Hashes) -> Hashes:
    """Return well-mixed bits of each value (the finaliser of splitmix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def plain(line: str) -> str:
    """Return a line with single blanks; what is longer than `LONGEST` ends in its hash."""
    if len(line) > LONGEST:
        digest = hashlib.blake2b(line.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        line = f"{line[:LONGEST]} {digest}"
    return " ".join(line.split())


class Text:
    """Lines as one array of code points, after normalisation.

    Args:
        lines: Any strings.

    Example:
        >>> text = Text(["Guten  Tag", "guten tag", ""])
        >>> bool(text.hashes[0] == text.hashes[1]), text.lengths.tolist()
        (True, [9, 9, 0])
    """

    def __init__(self, lines: Sequence[str]) -> None:
        joined = "\n".join(map(plain, lines)) + "\n"
        if not joined.isascii():
            joined = unicodedata.normalize("NFC", joined)
        self.codes = np.frombuffer(joined.lower().encode("utf-32-le", "surrogatepass"), np.uint32)
        self.ends = np.flatnonzero(self.codes == END) if lines else np.zeros(0, np.int64)
        self.starts = np.concatenate([np.zeros(1, np.int64), self.ends[:-1] + 1]) if lines else self.ends

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def lengths(self) -> Ints:
        """Characters of each line."""
        return self.ends - self.starts

    @cached_property
    def line_of(self) -> Ints:
        """The line of each code point, its line end included."""
        return np.repeat(np.arange(len(self.ends)), self.lengths + 1)

    @cached_property
    def scripts(self) -> npt.NDArray[np.uint8]:
        """The script of each code point, a place in `SCRIPTS`."""
        return TABLE[self.codes]

    @cached_property
    def _sums(self) -> tuple[Hashes, Hashes]:
        """Prefix sums of the polynomial, and the powers that take its origin back."""
        size = len(self.codes)
        powers, inverse = np.full(size, PRIME, np.uint64), np.full(size, pow(PRIME, -1, 1 << 64), np.uint64)
        powers[:1] = inverse[:1] = 1
        powers, inverse = np.multiply.accumulate(powers), np.multiply.accumulate(inverse)
        sums = np.zeros(size + 1, np.uint64)
        np.cumsum(mix(self.codes.astype(np.uint64) + np.uint64(1)) * powers, out=sums[1:])
        return sums, inverse

    def spans(self, starts: Ints, ends: Ints) -> Hashes:
        """Return a hash of each stretch of code points; equal stretches have equal hashes, wherever they stand."""
        sums, inverse = self._sums
        return mix((sums[ends] - sums[starts]) * inverse[starts])

    @cached_property
    def hashes(self) -> Hashes:
        """A hash of each line."""
        return self.spans(self.starts, self.ends)

    @cached_property
    def words(self) -> tuple[Hashes, Ints]:
        """Hashes of all words by their first letters, and the line of each.

        A word is a run of letters and digits; in scripts that are written without spaces, each character.
        """
        scripts, codes = self.scripts, self.codes
        digit = (codes >= 48) & (codes <= 57)
        marks = (codes >= 0x300) & (codes <= 0x36F)
        inside, alone = (scripts > 0) | digit | marks, ALONE[scripts]
        before, alone_before = np.zeros_like(inside), np.zeros_like(alone)
        before[1:], alone_before[1:] = inside[:-1], alone[:-1]
        first = np.flatnonzero(inside & (~before | alone | alone_before))
        stop = np.flatnonzero(~inside | alone | ~before | alone_before)  # where a run that began earlier is over
        after = np.searchsorted(stop, first, side="right")
        ends = np.append(stop, len(codes))[after]
        return self.spans(first, np.minimum(ends, first + STEM)), self.line_of[first]

    def grams(self, bits: int) -> tuple[Ints, Ints]:
        """Return hashed character trigrams, `bits` wide, and the line of each; the line's edges are characters."""
        codes = np.concatenate([[END], self.codes]).astype(np.uint64)
        key = codes[:-2] * np.uint64(PRIME) + codes[1:-1] * np.uint64(0xC2B2AE3D27D4EB4F)
        key = (key + codes[2:] * np.uint64(0xD6E8FEB86659FD93)) * np.uint64(0xFF51AFD7ED558CCD)
        inner = self.codes[:-1] != END
        return (key >> np.uint64(64 - bits)).astype(np.int64)[inner], self.line_of[:-1][inner]

    def sums(self, values: npt.NDArray[np.generic], lines: Ints) -> npt.NDArray[np.float64]:
        """Return the sum of the values of each line."""
        return np.bincount(lines, values, len(self)).astype(np.float64)
