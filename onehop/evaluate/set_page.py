"""The report of a multi-label classifier as one page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from onehop.evaluate.label_page import as_share, html_page, html_table
from onehop.evaluate.multilabel import mistakes
from onehop.metrics.multilabel import Bools, bootstrap_sets, score_sets

SHOWN = 20  # mistakes


def set_page(
    title: str,
    found: Bools,
    wanted: Bools,
    texts: Sequence[str],
    scores: Sequence[dict[str, float]],
    thresholds: Mapping[str, float],
) -> str:
    """Return the page.

    Args:
        title: Of the page.
        found: Whether each text was given each label, `(N, C)`.
        wanted: Whether it has it, `(N, C)`.
        texts: The texts; of several columns with a mark between them.
        scores: The probability of each label for each text, by its name.
        thresholds: By label, the probability from which on a text gets it, in the order of the table.

    Example:
        >>> import numpy as np
        >>> table = np.array([[True], [False]])
        >>> page = set_page("Rooms", table, ~table, ["<Loud>", "Calm"], [{"loud": 0.9}, {"loud": 0.1}], {"loud": 0.5})
        >>> "&lt;Loud&gt;" in page, "<td>loud</td>" in page
        (True, True)
    """
    labels = list(thresholds)
    result, intervals = score_sets(found, wanted, labels), bootstrap_sets(found, wanted)
    rows: list[list[str]] = []
    for name, what in (("micro_f1", "micro F1"), ("macro_f1", "macro F1"), ("exact", "exact match")):
        between = intervals[name]
        rows.append([what, as_share(getattr(result, name)), f"{as_share(between.low)} to {as_share(between.high)}"])
    rows.append(["exact match of always the most frequent set", as_share(result.majority), ""])
    rows.append(["micro F1 of that", as_share(result.majority_micro_f1), ""])
    classes = [
        [one.label, f"{thresholds[one.label]:g}", f"{one.support:,}", f"{one.predicted:,}",
         *map(as_share, (one.precision, one.recall, one.f1))]
        for one in result.classes
    ]  # fmt: skip
    wrong = [
        [texts[one.row - 1].replace("\x1e", " | ")[:300], one.label, "given" if one.given else "missed",
         f"{one.score:.3f}"]
        for one in mistakes(found, wanted, scores, labels, SHOWN)
    ]  # fmt: skip
    note = "Every second text is judged by thresholds that were chosen on the others."
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{len(texts):,} texts for validation. {note}</p>",
        html_table(["", "value", "95 % interval"], rows),
        "<h2>By label</h2>",
        html_table(["label", "threshold", "texts", "found", "precision", "recall", "F1"], classes),
        "<h2>Surest mistakes</h2>",
        html_table(["text", "label", "was", "probability"], wrong) if wrong else "<p>None.</p>",
    ]
    return html_page(title, parts)
