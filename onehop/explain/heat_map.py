"""A heat map of attention as SVG, made by hand: one call, one string, no library, nothing loaded from anywhere.

It is drawn in the text's own colour and one more, by opacity, and so can be read on light and on dark ground. Names of
rows and columns are text, of any script and direction, and each cell tells its words and its weight.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from unicodedata import east_asian_width

from torch import Tensor

SMALL, LARGE = 13, 34  # width of a cell, in pixels: of many words, of few
ROOM = 620  # width that cells may take together before they get small
SHOWN = 18  # characters of a label; the rest is in its tooltip
LEAST = 0.005  # weights below it are drawn as nothing
STYLE = (
    ".heat-map{color:#1d2430;background:#fff;--heat:#0b6e69}"
    "@media(prefers-color-scheme:dark){.heat-map{color:#e4e8ee;background:#1a1e25;--heat:#3fd0c4}}"
    ".heat-map text{font-family:system-ui,sans-serif;fill:currentColor}"
)
# what XML cannot hold, and marks that would turn the direction of what stands around a word
FORBIDDEN = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]")


def heat_map(
    weights: Tensor | Sequence[Sequence[float]],
    source_words: Sequence[str],
    target_words: Sequence[str],
    title: str = "",
) -> str:
    """Draw where each target word looks: a row for each, a column for each source word.

    Args:
        weights: `(T, S)`, from 0 to 1.
        source_words: Names of the columns, S.
        target_words: Names of the rows, T.
        title: Such as the layer and the head.

    Returns:
        An `<svg>` element, to be written to a file or put into a page.

    Raises:
        ValueError: There are not as many words as rows or columns, or a weight is no number.

    Example:
        >>> svg = heat_map([[0.9, 0.1]], ["a", "<b>"], ["A"], "decoder.1.cross, head 2")
        >>> svg[:4], "A, a: 90 %" in svg, "&lt;b&gt;" in svg
        ('<svg', True, True)
    """
    rows = _rows(weights)
    if any(weight != weight for row in rows for weight in row):
        raise ValueError("weights that are no numbers (NaN)")
    if len(rows) != len(target_words) or any(len(row) != len(source_words) for row in rows):
        raise ValueError(
            f"weights are not of {len(target_words)} target words (rows) and {len(source_words)} source words (columns)"
        )
    most = max(len(source_words), len(target_words), 1)
    cell = max(SMALL, min(LARGE, ROOM // most))
    size = max(10, min(14, cell - 3))
    left, top = _room(target_words, size), round(0.8 * _room(source_words, size)) + (26 if title else 6)
    wide, high = left + cell * len(source_words), top + cell * len(target_words)
    overhang = round(0.62 * _room(source_words[-1:], size))  # of the last name, which leans to the right
    across, down = wide + overhang, high + 4
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="heat-map" role="img" viewBox="0 0 {across} {down}" '
        f'width="{across}" height="{down}"><style>{STYLE}</style>',
        f"<title>{text(title or 'attention')}</title>",
        f'<text x="4" y="16" font-size="13" font-weight="600" class="name">{text(title)}</text>' if title else "",
        *(_column(word, left + cell * (i + 0.5), top - 7, size) for i, word in enumerate(source_words)),
        *(_row(word, left - 7, top + cell * (i + 0.5), size, i) for i, word in enumerate(target_words)),
        _grid(left, top, cell, len(source_words), len(target_words)),
        f'<g class="cells" data-left="{left}" data-top="{top}" data-cell="{cell}">',
        *(
            _cell(weight, left + cell * s, top + cell * t, cell, f"{target_words[t]}, {source_words[s]}")
            for t, row in enumerate(rows)
            for s, weight in enumerate(row)
            if weight >= LEAST
        ),
        "</g></svg>",
    ]
    return "".join(parts)


def _rows(weights: Tensor | Sequence[Sequence[float]]) -> list[list[float]]:
    try:
        return [[float(weight) for weight in row] for row in weights]
    except (TypeError, ValueError) as error:
        shape = f" of the shape {tuple(weights.shape)}" if isinstance(weights, Tensor) else ""
        raise ValueError(f"weights{shape} that are no rows of numbers: choose one sentence and one head") from error


def text(value: str) -> str:
    """Return text as it may stand in XML and HTML, between tags and in attributes.

    Example:
        >>> text('<a & "b">' + chr(0)) == "&lt;a &amp; &quot;b&quot;&gt;" + chr(0xFFFD)
        True
    """
    return escape(FORBIDDEN.sub("\ufffd", value))


def _room(words: Sequence[str], size: int) -> int:
    """Return the pixels that the longest of the words takes, about."""
    longest = max((sum(1.0 if _is_wide(c) else 0.6 for c in _short(word)) for word in words), default=0.0)
    return round(longest * size) + 16


def _is_wide(character: str) -> bool:
    return east_asian_width(character) in "WF"


def _short(word: str) -> str:
    return word if len(word) <= SHOWN else word[: SHOWN - 1] + "…"


def _label(word: str) -> str:
    shown = text(_short(word))
    return shown if len(word) <= SHOWN else f"<title>{text(word)}</title>{shown}"


def _column(word: str, x: float, y: float, size: int) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" transform="rotate(-52 {x:.1f} {y:.1f})"'
    return f'<text {place} font-size="{size}">{_label(word)}</text>'


def _row(word: str, x: float, y: float, size: int, number: int) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="end" dominant-baseline="central" '
        f'class="row" data-row="{number}">{_label(word)}</text>'
    )


def _grid(left: int, top: int, cell: int, columns: int, rows: int) -> str:
    right, bottom = left + cell * columns, top + cell * rows
    lines = [f"M{left + cell * i} {top}V{bottom}" for i in range(columns + 1)]
    lines += [f"M{left} {top + cell * i}H{right}" for i in range(rows + 1)]
    return f'<path d="{"".join(lines)}" fill="none" stroke="currentColor" stroke-opacity="0.14"/>'


def _cell(weight: float, x: int, y: int, cell: int, words: str) -> str:
    return (
        f'<rect x="{x + 1}" y="{y + 1}" width="{cell - 2}" height="{cell - 2}" rx="2" fill="var(--heat)" '
        f'fill-opacity="{min(weight, 1.0):.2f}"><title>{text(words)}: {weight:.0%}</title></rect>'
    ).replace("%</title>", " %</title>")
