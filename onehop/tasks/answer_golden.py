"""Models that answer, as packages: golden lines are questions with contexts, and the scores of their best answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from onehop.errors import ModelError
from onehop.tasks.answer_settings import AnswerSettings
from onehop.tasks.answering import Answerer
from onehop.tasks.lines import are_numbers, short_texts, too_long
from onehop.tasks.names import GOLDEN, JOINT
from onehop.tasks.registry import Kind
from onehop.text.pretrained import PretrainedTokenizer


def golden(answerer: Answerer, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the tokens of the best answer to each question, with the log-probability of its first and last."""
    short = short_texts(answerer, texts, answerer.encode)
    found = answerer.scores([row for _, row in short], 1)  # each alone
    lines: list[dict[str, Any]] = []
    for (text, _), scores in zip(short, found, strict=True):
        first, last, _ = answerer.best(scores)
        values = [round(value, 5) for value in log_probs(scores, first, last)]
        lines.append({"source": text, "first": first, "last": last, "log_probs": values})
    return lines


def log_probs(scores: Tensor, first: int, last: int) -> list[float]:
    """Return the log-probabilities of the first and the last token of a span."""
    values = scores.log_softmax(0)
    return [float(values[first, 0]), float(values[last, 1])]


def is_golden(answerer: Answerer, value: Any) -> bool:
    """Whether a value can be a golden line of this model."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("source"), str)
        and all(type(value.get(key)) is int and value[key] >= 0 for key in ("first", "last"))
        and are_numbers(value.get("log_probs"))
        and len(value["log_probs"]) == 2
    )


def replay(answerer: Answerer, lines: Sequence[Mapping[str, Any]], tolerance: float) -> str:
    """Answer the golden questions again, and return the first that comes out otherwise."""
    rows = answerer.encode([line["source"] for line in lines])
    if told := too_long(answerer, rows):
        return told
    for number, (line, scores) in enumerate(zip(lines, answerer.scores(rows, 1), strict=True), 1):
        if max(line["first"], line["last"]) >= len(scores):
            return f"{GOLDEN}:{number}: an answer at token {line['last']} of a context of {len(scores) - 1}"
        again = log_probs(scores, line["first"], line["last"])
        for name, value, before in zip(("first", "last"), again, line["log_probs"], strict=True):
            if not abs(value - before) <= tolerance:
                return f"{GOLDEN}:{number}: the {name} token of the answer has {value:.5f}, not {before:.5f}"
        first, last, _ = answerer.best(scores)
        if sum(log_probs(scores, first, last)) - sum(again) > tolerance:
            return f"{GOLDEN}:{number}: the answer is tokens {first} to {last}, not {line['first']} to {line['last']}"
    return ""


def build(settings: AnswerSettings, files: Mapping[str, Any]) -> Answerer:
    """Return a model with fresh weights."""
    if not isinstance(files.get(JOINT), PretrainedTokenizer):
        raise ModelError(f"damaged: {JOINT} is not that of a pretrained model", "Copy the package again.")
    return Answerer.build(settings, files[JOINT])


KIND = Kind(
    "answer",
    "predict",
    AnswerSettings,
    build,
    lambda answerer: {JOINT: answerer.tokenizer},
    lambda settings: {"text": settings.text.max_length},
    golden,
    is_golden,
    replay,
    lambda settings: {
        **settings.model_dump(mode="json", include={"threshold", "unanswerable"}),
        **settings.text.model_dump(mode="json", include={"overlap", "longest_answer"}),
    },
)
