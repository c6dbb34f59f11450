"""What validation found of a model as one page that needs nothing beside it; a classifier's is `label_page`."""

from __future__ import annotations

from html import escape

from onehop.evaluate.label_page import html_page, html_table
from onehop.evaluate.scored import Grid, Shown

SHOWN = 20  # mistakes
LONGEST = 300  # characters of a text


def report_page(title: str, shown: Shown, mistakes: Grid) -> str:
    """Return the page.

    Args:
        title: Of the page.
        shown: The figures, as a terminal shows them too.
        mistakes: Examples of them.

    Example:
        >>> shown = Shown([Grid("2 texts", ("", "value"), [["Spearman", "0.9"]])], ["a note"])
        >>> page = report_page("Report", shown, Grid("Largest errors", ("text",), [["<b>"]]))
        >>> "<td>Spearman</td>" in page, "&lt;b&gt;" in page
        (True, True)
    """
    parts = [f"<h1>{escape(title)}</h1>"]
    for grid in [*shown.grids, mistakes]:
        parts.append(f"<h2>{escape(grid.title)}</h2>")
        parts.append(html_table(grid.head, grid.rows) if grid.rows else "<p>None.</p>")
    parts += [f"<p class=note>{escape(note)}</p>" for note in shown.notes]
    return html_page(title, parts)


def shortened(text: str) -> str:
    """Return a text as a cell shows it.

    Example:
        >>> shortened("one" + chr(30) + "other")
        'one | other'
    """
    return text.replace("\x1e", " | ")[:LONGEST]
