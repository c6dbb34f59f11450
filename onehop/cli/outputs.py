"""Lines that `onehop predict` prints of tasks that have more to say than a label."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onehop.tasks.answering import Found
    from onehop.tasks.tagging import Tags


def tags_line(found: Tags, drift: str = "") -> str:
    """Return the line of a sentence: its words and where they stand, their labels, and the spans that these mean."""
    words = found.words
    spans: list[dict[str, Any]] = []
    for span in found.spans:
        start, end = words.offsets[span.start][0], words.offsets[span.end - 1][1]
        spans.append({"label": span.label, "start": start, "end": end, "text": words.text[start:end]})
    row = {
        "words": list(words.words),
        "offsets": [list(offset) for offset in words.offsets],
        "labels": list(found.labels),
        "scores": [round(score, 6) for score in found.scores],
        "spans": spans,
        "dropped": found.dropped, "cut": found.cut, "windows": found.windows,
        **({"drift": drift} if drift else {}),
    }  # fmt: skip
    return json.dumps(row, ensure_ascii=False) + "\n"


def answer_line(found: Found, drift: str = "") -> str:
    """Return the line of a question: its answer, where it stands in the context, and how sure the model is."""
    row = {
        "answer": found.answer,
        "start": found.start,
        "end": found.end,
        "score": round(found.score, 6),
        "dropped": found.dropped, "cut": found.cut, "windows": found.windows,
        **({"drift": drift} if drift else {}),
    }  # fmt: skip
    return json.dumps(row, ensure_ascii=False) + "\n"
