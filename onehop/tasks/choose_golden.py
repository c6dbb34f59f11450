"""Models that choose, as packages: golden lines are choices, with the log-probability of every option."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from onehop.errors import ModelError
from onehop.tasks.choosing import Chooser, ChooseSettings
from onehop.tasks.lines import are_numbers, short_texts, too_long
from onehop.tasks.names import GOLDEN, JOINT
from onehop.tasks.registry import Kind
from onehop.text.pretrained import PretrainedTokenizer


def golden(chooser: Chooser, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the place of the option that is chosen of each, with the log-probability of every one.

    Those of more tokens than the model's limit, all options together, or than 1,024, and those after the 64th, are
    left out.
    """
    short = short_texts(chooser, texts, chooser.documents.encode_batch)
    found = chooser.scores([row for _, row in short], 1)  # each alone
    lines: list[dict[str, Any]] = []
    for (text, _), scores in zip(short, found, strict=True):
        values = [round(value, 5) for value in scores.log_softmax(0).tolist()]
        lines.append({"source": text, "choice": int(scores.argmax()), "log_probs": values})
    return lines


def is_golden(chooser: Chooser, value: Any) -> bool:
    """Whether a value can be a golden line of this model."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("source"), str)
        and are_numbers(value.get("log_probs"))
        and type(value.get("choice")) is int
        and 0 <= value["choice"] < len(value["log_probs"])
    )


def replay(chooser: Chooser, lines: Sequence[Mapping[str, Any]], tolerance: float) -> str:
    """Choose again, and return the first golden line that comes out otherwise."""
    rows = chooser.documents.encode_batch([line["source"] for line in lines])
    if told := too_long(chooser, rows):
        return told
    for number, (line, scores) in enumerate(zip(lines, chooser.scores(rows, 1), strict=True), 1):
        values, before = scores.log_softmax(0), torch.tensor(line["log_probs"])
        if len(values) != len(before):
            return f"{GOLDEN}:{number}: {len(values)} options, not {len(before)}"
        if not bool(((values - before).abs() <= tolerance).all()):
            place = int((values - before).abs().nan_to_num(torch.inf).argmax())
            now, then = float(values[place]), float(before[place])
            return f"{GOLDEN}:{number}: option {place + 1} has the log-probability {now:.5f}, not {then:.5f}"
        if float(values.max() - values[line["choice"]]) > tolerance:
            return f"{GOLDEN}:{number}: option {int(values.argmax()) + 1} is chosen, not {line['choice'] + 1}"
    return ""


def build(settings: ChooseSettings, files: Mapping[str, Any]) -> Chooser:
    """Return a model with fresh weights."""
    if not isinstance(files.get(JOINT), PretrainedTokenizer):
        raise ModelError(f"damaged: {JOINT} is not that of a pretrained model", "Copy the package again.")
    return Chooser.build(settings, files[JOINT])


KIND = Kind(
    "choose",
    "predict",
    ChooseSettings,
    build,
    lambda chooser: {JOINT: chooser.tokenizer},
    lambda settings: {"text": settings.text.max_length},
    golden,
    is_golden,
    replay,
    lambda settings: settings.model_dump(mode="json", include={"first_number", "columns", "option_columns"}),
)
