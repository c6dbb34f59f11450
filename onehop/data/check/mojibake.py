"""UTF-8 that was read as Windows-1252 or Latin-1, told from correct text by what its characters do elsewhere.

The three characters of `é »` with its no-break space are the bytes of a Han character, those of `ß“` the bytes of a
letter of N'Ko: good typography of German, French or Spanish looks like mojibake. What tells them apart is the corpus:
a letter that is at home in it is mostly followed by other letters, one that is half a character hardly ever.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

# UTF-8's lead bytes of two to four byte characters, read as Latin-1 or Windows-1252, and what may follow them there
FOLLOWERS = "\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122"
BROKEN = re.compile(f"[\u00c2-\u00df][{FOLLOWERS}]|[\u00e0-\u00ef][{FOLLOWERS}]{{2}}|[\u00f0-\u00f4][{FOLLOWERS}]{{3}}")
ASCII = re.compile("[\x00-\x7f]+")
UNSEEN = re.compile("[\u0080-\u009f]")  # no text has these; Latin-1 makes them of the bytes that UTF-8 goes on with
TYPOGRAPHY = frozenset("\u00a0«»¡¿·‚„…‹›‘’“”–—")  # what follows a letter in correct text
# The quotes, dashes and signs of which the three characters, such as â€™, are in no correct text
SIGNS = re.compile("[\u2010-\u2044\u20ac\u2122]")
# cp1252 leaves five bytes without a character; programs read them as the control character of the same number
BYTES = {chr(code): bytes([code]) for code in range(256)} | {
    bytes([code]).decode("cp1252"): bytes([code]) for code in range(128, 160) if code not in (129, 141, 143, 144, 157)
}
ENOUGH = 10  # occurrences from which what follows a letter says something
MOSTLY = 0.9  # share of them that are halves of characters, if it is no letter of this text
COMMON = 5  # occurrences of a character that is at home in a text
DEPTH = 3  # times that a text may have been read wrongly


class Mojibake:
    r"""Knows which stretches of a text are characters that were read as another encoding.

    Args:
        texts: Of one language, or one side of a corpus: a sample of some size.

    Example:
        >>> spoilt = Mojibake(["sch\u00c3\u00b6n", "gr\u00c3\u00b6\u00c3\u009fer"])
        >>> spoilt.mended("sch\u00c3\u00b6n")
        'schön'
        >>> Mojibake(["„Viel Spaß“", "groß, Gruß"]).mended("„Spaß“")
        '„Spaß“'
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._characters, self._stretches = Counter[str](), Counter[str]()
        self._leads, self._telling = Counter[str](), Counter[str]()
        self._known: dict[str, str] = {}
        lines = [text for text in texts if not text.isascii()]
        for _ in range(DEPTH):
            self._learn(lines)
            lines = [again for text in lines if (again := BROKEN.sub(self._meant, text)) != text]

    def _learn(self, lines: list[str]) -> None:
        """Count characters and stretches, and which of these are not what follows a letter in correct text."""
        for text in lines:
            self._characters.update(ASCII.sub("", text))
            found = BROKEN.findall(text)
            self._stretches.update(found)
            self._leads.update(stretch[0] for stretch in found)
            self._telling.update(stretch[0] for stretch in found if not TYPOGRAPHY.issuperset(stretch[1:]))
        self._known.clear()

    def mended(self, text: str) -> str:
        """Return a text as it was meant, each broken stretch put right by itself; correct text as it is."""
        for _ in range(DEPTH):
            if text.isascii():
                return text
            again = BROKEN.sub(self._meant, text)
            if again == text:
                break
            text = again
        return text

    def _meant(self, match: re.Match[str]) -> str:
        stretch = match[0]
        if stretch not in self._known:
            found = _decoded(stretch)
            self._known[stretch] = found if found and self._believable(stretch, found) else stretch
        return self._known[stretch]

    def _believable(self, stretch: str, found: str) -> bool:
        """Whether `stretch` is more probably `found` than itself."""
        if len(stretch) == 4 or UNSEEN.search(stretch) or (len(stretch) == 3 and SIGNS.match(found)):
            return True
        lead = stretch[0]
        seen, broken, correct = self._characters[lead], self._leads[lead], TYPOGRAPHY.issuperset(stretch[1:])
        stranger = broken >= MOSTLY * seen  # its lead is hardly ever a letter here
        if self._characters[found] >= max(COMMON, 2 * self._stretches[stretch]) and (stranger or not correct):
            return True
        if seen < ENOUGH:
            return stranger and lead in "ÂÃ" and not correct
        return stranger and self._telling[lead] >= (1 - MOSTLY) * broken


def _decoded(stretch: str) -> str:
    """Return the character whose bytes these are, or nothing."""
    try:
        found = b"".join(BYTES[character] for character in stretch).decode("utf-8")
    except (UnicodeDecodeError, KeyError):
        return ""
    # one of UNSEEN stands half way back from what was read wrongly twice
    return "" if unicodedata.category(found)[0] == "C" and not UNSEEN.match(found) else found
