"""Lines that `onehop predict` prints of tasks that have more to say than a label."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onehop.tasks.answering import Found
    from onehop.tasks.choosing import Chosen
    from onehop.tasks.embedding import Embedding
    from onehop.tasks.fates import Fate
    from onehop.tasks.multilabel import LabelSet
    from onehop.tasks.regression import Estimate
    from onehop.tasks.tagging import Tags


def fate(found: Fate) -> dict[str, Any]:
    """Return what every line says of a text that was too long."""
    return {"dropped": found.dropped, "cut": found.cut, "windows": found.windows, "lost": found.lost}


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
        **fate(found),
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
        **fate(found),
        **({"drift": drift} if drift else {}),
    }  # fmt: skip
    return json.dumps(row, ensure_ascii=False) + "\n"


def vector_line(found: Embedding, drift: str = "") -> str:
    """Return the line of a text's vector; numbers are rounded to what float32 tells apart in a unit vector."""
    values = None if found.vector is None else [round(value, 7) for value in found.vector.tolist()]
    return _line({"embedding": values}, found, drift)


def number_line(found: Estimate, drift: str = "") -> str:
    """Return the line of a text's number, with the digits that float32 has."""
    return _line({"value": None if found.value is None else float(f"{found.value:.7g}")}, found, drift)


def _line(values: dict[str, Any], found: Any, drift: str) -> str:
    row = {**values, **fate(found), **({"drift": drift} if drift else {})}
    return json.dumps(row, ensure_ascii=False) + "\n"


def set_line(found: LabelSet, drift: str = "") -> str:
    """Return the line of a text with its labels, and the probability of every label."""
    scores = {label: round(score, 6) for label, score in found.scores.items()}
    return _line({"labels": None if found.labels is None else list(found.labels), "scores": scores}, found, drift)


def choice_line(found: Chosen, drift: str = "") -> str:
    """Return the line of a choice: the place of the option, its text, and the probability of every option."""
    scores = [round(score, 6) for score in found.scores]
    return _line({"choice": found.choice, "option": found.option, "scores": scores}, found, drift)
