"""The report of a classifier as one page that needs nothing beside it: to be read, kept, and shown to others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from onehop.metrics.classification import Labelling, bootstrap

SHOWN = 20  # mistakes
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top; }
th:first-child, td:first-child, td.text { text-align: left; }
td.right { background: #e5f2e5; } p.note { color: #555; }
"""


def label_page(
    title: str,
    result: Labelling,
    found: Sequence[str | None],
    wanted: Sequence[str],
    texts: Sequence[str],
    scores: Sequence[float],
    facts: Mapping[str, str],
) -> str:
    """Return the page.

    Args:
        title: Of the page.
        result: The figures of these texts.
        found: The label that each text got; None for none.
        wanted: The label that it has.
        texts: The texts; of several columns with a mark between them.
        scores: The probability of the label found.
        facts: More to tell, by name: calibration, data, model.

    Example:
        >>> from onehop.metrics.classification import labelling
        >>> found, wanted = ["good", "bad"], ["good", "good"]
        >>> result = labelling(found, wanted, ["bad", "good"])
        >>> page = label_page("Rooms", result, found, wanted, ["Lovely.", "Not <bad>."], [0.9, 0.8], {"model": "tiny"})
        >>> "Not &lt;bad&gt;." in page, "50.0 %" in page
        (True, True)
    """
    names = [one.label for one in result.classes]
    parts = [
        f"<h1>{escape(title)}</h1>",
        _figures(result, found, wanted, names),
        html_table(["", "value"], [[name, value] for name, value in facts.items()]) if facts else "",
        "<h2>By label</h2>",
        html_table(["label", "texts", "found", "precision", "recall", "F1"], _labels(result)),
        "<h2>Confusion</h2><p class=note>Rows: the label that texts have. Columns: the label they got.</p>",
        _confusion(result, names),
        "<h2>Surest mistakes</h2>",
        _mistakes(found, wanted, texts, scores),
    ]
    return html_page(title, parts)


def html_page(title: str, parts: Sequence[str]) -> str:
    """Return a page that needs nothing beside it, of parts that are HTML."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _figures(result: Labelling, found: Sequence[str | None], wanted: Sequence[str], names: list[str]) -> str:
    intervals = bootstrap(found, wanted, names) if wanted else {}
    rows = []
    for name, title in (("accuracy", "accuracy"), ("macro_f1", "macro F1")):
        between = intervals.get(name)
        told = f"{as_share(between.low)} to {as_share(between.high)}" if between else ""
        rows.append([title, as_share(getattr(result, name)), told])
    between = intervals.get("mcc")
    told = f"{between.low:.3f} to {between.high:.3f}" if between else ""
    rows.append(["Matthews' correlation", f"{result.mcc:.3f}", told])
    rows.append(["always the most frequent label", as_share(result.majority), ""])
    return f"<p>{len(wanted):,} texts for validation.</p>" + html_table(["", "value", "95 % interval"], rows)


def _labels(result: Labelling) -> list[list[str]]:
    return [
        [one.label, f"{one.support:,}", f"{one.predicted:,}", *map(as_share, (one.precision, one.recall, one.f1))]
        for one in result.classes
    ]


def _confusion(result: Labelling, names: list[str]) -> str:
    none = any(row[-1] for row in result.confusion)
    head = "".join(f"<th>{escape(name)}</th>" for name in ["", *names, *(["no label"] if none else [])])
    rows = []
    for place, row in enumerate(result.confusion):
        shown = row if none else row[:-1]
        cells = "".join(f"<td{' class=right' if i == place else ''}>{n:,}</td>" for i, n in enumerate(shown))
        rows.append(f"<tr><td>{escape(names[place])}</td>{cells}</tr>")
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _mistakes(found: Sequence[str | None], wanted: Sequence[str], texts: Sequence[str], scores: Sequence[float]) -> str:
    wrong = [i for i, (one, other) in enumerate(zip(found, wanted, strict=True)) if one is not None and one != other]
    wrong = sorted(wrong, key=lambda i: -scores[i])[:SHOWN]
    if not wrong:
        return "<p>None.</p>"
    rows = [[texts[i].replace("\x1e", " | ")[:300], wanted[i], found[i] or "", f"{scores[i]:.3f}"] for i in wrong]
    return html_table(["text", "its label", "it got", "probability"], rows)


def html_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table; what stands in its cells is text, not HTML."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def as_share(share: float) -> str:
    """Return a share as people read it."""
    return f"{100 * share:.1f} %"
