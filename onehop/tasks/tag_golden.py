"""Taggers as packages: golden lines are sentences with the label of each word and its log-probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onehop.errors import ModelError
from onehop.tasks.lines import are_numbers, short_texts, too_long
from onehop.tasks.names import GOLDEN, JOINT
from onehop.tasks.registry import Kind
from onehop.tasks.tag_settings import TagSettings
from onehop.tasks.tagging import Tagger
from onehop.text import Tokenizer


def golden(tagger: Tagger, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the labels of each sentence with their log-probabilities, and that of every label of its first word.

    Sentences that are longer than the model's limit or than 1,024 tokens, and those after the 64th, are left out.
    """
    short = short_texts(tagger, texts, tagger.encode)
    emissions = tagger.emissions([row for _, row in short], 1)  # each alone
    ids, values = tagger.decode(emissions), tagger.log_probs(emissions)
    return [
        {"source": text, "labels": [tagger.labels[label] for label in own],
         "log_probs": [round(value, 5) for value in each[range(len(own)), own].tolist()],
         "first": {name: round(value, 5) for name, value in zip(tagger.labels, each[0].tolist(), strict=True)}}
        for (text, _), own, each in zip(short, ids, values, strict=True)
    ]  # fmt: skip


def is_golden(tagger: Tagger, value: Any) -> bool:
    """Whether a value can be a golden line of this model: its labels are of its own, one for each word."""
    return (
        isinstance(value, dict)
        and {"source", "labels", "log_probs", "first"} <= value.keys()
        and isinstance(value["source"], str)
        and isinstance(value["labels"], list)
        and all(label in tagger.labels for label in value["labels"])
        and are_numbers(value["log_probs"])
        and len(value["log_probs"]) == len(value["labels"])
        and isinstance(value["first"], dict)
        and value["first"].keys() == set(tagger.labels)
        and are_numbers(list(value["first"].values()))
    )


def replay(tagger: Tagger, lines: Sequence[Mapping[str, Any]], tolerance: float) -> str:
    """Label the golden sentences again, and return the first that comes out otherwise."""
    rows = tagger.encode([line["source"] for line in lines])
    if told := too_long(tagger, rows):
        return told
    for number, (line, row) in enumerate(zip(lines, rows, strict=True), 1):
        words = sum(token >= tagger.documents.offset for token in row)
        if words != len(line["labels"]):
            return f"{GOLDEN}:{number}: the sentence has {words} words, not {len(line['labels'])}"
    emissions = tagger.emissions(rows, 1)
    values, ids = tagger.log_probs(emissions), tagger.decode(emissions)
    for number, (line, each, own) in enumerate(zip(lines, values, ids, strict=True), 1):
        claimed = [tagger.labels.index(label) for label in line["labels"]]
        for place, (label, before) in enumerate(zip(claimed, line["log_probs"], strict=True)):
            value = float(each[place, label])
            if not abs(value - before) <= tolerance:
                name = tagger.labels[label]
                return f"{GOLDEN}:{number}: {name!r} of word {place + 1} has {value:.5f}, not {before:.5f}"
        for name, value in zip(tagger.labels, each[0].tolist(), strict=True):
            if not abs(value - line["first"][name]) <= tolerance:
                return f"{GOLDEN}:{number}: {name!r} of word 1 has {value:.5f}, not {line['first'][name]:.5f}"
        place = next((i for i, pair in enumerate(zip(own, claimed, strict=True)) if pair[0] != pair[1]), None)
        if place is not None and float(each[range(len(own)), own].sum() - sum(line["log_probs"])) > tolerance:
            found, wanted = tagger.labels[own[place]], line["labels"][place]
            return f"{GOLDEN}:{number}: word {place + 1} is {found!r}, not {wanted!r}"
    return ""


def build(settings: TagSettings, files: Mapping[str, Tokenizer]) -> Tagger:
    """Return a tagger with fresh weights."""
    if JOINT not in files:
        raise ModelError(f"damaged: no {JOINT}", "Copy the package again.")
    return Tagger.build(settings, files[JOINT])


KIND = Kind(
    "tag",
    "predict",
    TagSettings,
    build,
    lambda tagger: {JOINT: tagger.tokenizer},
    lambda settings: {"text": settings.text.max_length},
    golden,
    is_golden,
    replay,
    lambda settings: {"scheme": settings.scheme, "words": settings.text.words},
)
