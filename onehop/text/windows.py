"""Windows: a line of too many tokens divided where a reader would pause."""

from __future__ import annotations

import re
from collections.abc import Sequence

from onehop.text.vocabulary import BYTES

# A clause ends at a mark of a script with spaces only if white space comes next, so that 3.5 and 12:30 stay whole; at a
# mark of a script without spaces always. Brackets and quotation marks that close may come between.
_CLOSING = "\"'\u00bb\u2019\u201d\u203a)\\]}\u300b\u300d\u300f\uff09"
_GREEK_TO_TIBETAN = "\u00b7\u037e\u0387\u055d\u0589\u060c\u061b\u061f\u06d4\u0964\u0965\u0f0d\u1362-\u1368"
_CHINESE_TO_BURMESE = "\u3001\u3002\uff01\uff0c\uff0e\uff1a\uff1b\uff1f\uff61\uff64\u17d4\u17d5\u104a\u104b"
SPACED = re.compile(f"[,;:.!?\u2026{_GREEK_TO_TIBETAN}][{_CLOSING}]*$")
UNSPACED = re.compile(f"[{_CHINESE_TO_BURMESE}][{_CLOSING}]*$")
GOES_ON = re.compile(f"[{_CLOSING}{_CHINESE_TO_BURMESE}\\d]")
LONGEST_END = 16  # bytes that are looked at for the end of a clause

# Where a window may end, best first.
CLAUSE, WORD, CHARACTER, BYTE = range(4)
BYTE_OF = {piece: bytes([byte]) for byte, piece in enumerate(BYTES)}


def windows(tokens: Sequence[int], pieces: Sequence[str], max_length: int) -> list[list[int]]:
    """Return a line in parts of at most `max_length` tokens; together they are the line.

    A part ends at the last end of a clause in its second half; or else before the last word that begins in it; or else
    at its last whole character; or else it is full.

    Args:
        tokens: The line.
        pieces: The piece of each token. A space at the start of a piece begins a word; `<0xE3>` is a byte.
        max_length: At least 1.

    Example:
        >>> pieces = [" When", " it", " rains", ",", " it", " pours", "."]
        >>> windows(range(7), pieces, max_length=5)
        [[0, 1, 2, 3], [4, 5, 6]]
    """
    data = [BYTE_OF.get(piece) or piece.encode("utf-8", "surrogatepass") for piece in pieces]
    ranks = [_rank(data, place) for place in range(len(data))]
    parts: list[list[int]] = []
    start = 0
    while len(tokens) - start > max_length:
        end = _end(ranks, start, max_length)
        parts.append(list(tokens[start:end]))
        start = end
    return [*parts, list(tokens[start:])]


def _end(ranks: Sequence[int], start: int, size: int) -> int:
    """Return where a window that begins at `start` ends, not beyond `size` tokens."""
    full = start + size
    places = range(full, start, -1)
    clauses = (place for place in places if ranks[place] == CLAUSE and 2 * (place - start) > size)
    words = (place for place in places if ranks[place] <= WORD)
    characters = (place for place in places if ranks[place] <= CHARACTER)
    return next(clauses, None) or next(words, None) or next(characters, full)


def _rank(data: Sequence[bytes], place: int) -> int:
    """Return how well a window ends before the token at `place`."""
    following = data[place]
    if following[0] & 0xC0 == 0x80:
        return BYTE
    before = b"".join(data[max(0, place - LONGEST_END) : place])[-LONGEST_END:].decode("utf-8", "ignore")
    ahead = following.decode("utf-8", "ignore")
    spaced = ahead[:1].isspace() or (before[-1:].isspace() and before[-1:] != " ")  # a space begins the next word
    paused = SPACED.search(before.rstrip()) if spaced else UNSPACED.search(before) and not GOES_ON.match(ahead)
    if paused:
        return CLAUSE
    return WORD if spaced else CHARACTER
