"""How tasks come to the laws: a small package of each task, for every family that it can be made of."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from onehop.models.checkpoint import layout
from onehop.models.encoders import ENCODERS
from onehop.models.registry import names
from onehop.tasks import (
    DecodeConfig,
    Package,
    TextLimits,
    TranslationSettings,
    Translator,
    load_package,
    new_package,
)
from onehop.text import train_bpe
from tests.fixtures.labelled import classifier, reviews
from tests.laws.cases import ENTRIES, Case, every_value

CHECKPOINTS = Path(__file__).parents[1] / "fixtures" / "checkpoints"
TEXTS = ["One two three.", "Vier fünf sechs sieben."]
WORDS = ["The cat sat on the mat.", "a dog ran", "big red mat, small rug!"]  # that the tiny checkpoints know


@dataclass(frozen=True)
class Small:
    """A small package.

    Args:
        task: Its task.
        family: Of its model.
        start: Where its weights are from: `fresh`, or the class of a checkpoint.
        make: Makes it, with no weight at its neutral value.
    """

    task: str
    family: str
    start: str
    make: Callable[[], Package]

    def __str__(self) -> str:
        return f"{self.task}-{self.family}-{self.start}"


def translation(case: Case) -> Package:
    """Return a package that translates, of one combination of a family's settings."""
    own = {key: value for key, value in case.row.items() if key != "vocabularies"}
    source = train_bpe(TEXTS, 310)
    target = source if case.row["vocabularies"] == "joint" else train_bpe(TEXTS[1:], 300)
    settings = TranslationSettings(
        architecture=case.family,
        model={**ENTRIES[case.family].small, **own},
        text=TextLimits(max_length=20, sentences=True),
        decode=DecodeConfig(max_length=12, beam_size=2),
    )
    translator = Translator.build(settings, source, target)
    with torch.no_grad():
        for parameter in translator.model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return new_package(translator, TEXTS, "")


def _translations() -> Iterator[Small]:
    for family in names():
        case = next(case for case in every_value() if case.family == family)
        yield Small("translation", family, "fresh", lambda case=case: translation(case))


def _classifiers() -> Iterator[Small]:
    texts = [text for text, _ in reviews(3)]
    for family in ENCODERS:
        yield Small("classify", family, "fresh", lambda family=family: new_package(classifier(family), texts, ""))
    yield from _checkpoints("classify", "ForSequenceClassification")


def _embedders() -> Iterator[Small]:
    yield from _checkpoints("embed", "Model")


def _checkpoints(task: str, use: str) -> Iterator[Small]:
    for folder in sorted(CHECKPOINTS.glob(f"*{use}")):
        family = layout(json.loads((folder / "config.json").read_text())["model_type"]).architecture
        yield Small(task, family, folder.name, lambda folder=folder: _package(folder))


def _package(folder: Path) -> Package:
    """Return a checkpoint as a package with golden lines, which is stored nowhere yet."""
    found = load_package(folder)
    return replace(new_package(found.task, WORDS, found.card), path=None)


PACKAGES: Mapping[str, Callable[[], Iterator[Small]]] = {
    "translation": _translations,
    "classify": _classifiers,
    "embed": _embedders,
}


def every_package() -> list[Small]:
    """Return the small packages of every task."""
    return [small for of_task in PACKAGES.values() for small in of_task()]
