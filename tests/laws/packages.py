"""How tasks come to the laws: a small package of each task, for every family that it can be made of."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from onehop.data.labelled import SEPARATOR
from onehop.models.checkpoint import layout
from onehop.models.encoders import ENCODERS, encoder_family
from onehop.models.registry import names
from onehop.tasks import (
    Classifier,
    ClassifySettings,
    DecodeConfig,
    DocumentLimits,
    HeadConfig,
    Package,
    Tagger,
    TagSettings,
    TextLimits,
    TranslationSettings,
    Translator,
    WordLimits,
    load_package,
    new_package,
)
from onehop.tasks.adapters import Adapter, fingerprint, insert
from onehop.tasks.answer_settings import AnswerSettings, ContextLimits
from onehop.tasks.answering import Answerer
from onehop.tasks.choosing import Chooser, ChooseSettings
from onehop.tasks.wordwise import joined_words
from onehop.text import train_bpe
from onehop.train.pretrained import begin_headed
from tests.fixtures.labelled import classifier, multilabeller, regressor, reviews
from tests.fixtures.tagged import LABELS, meetings, tagger
from tests.laws.cases import ENTRIES, Case, every_value

CHECKPOINTS = Path(__file__).parents[1] / "fixtures" / "checkpoints"
TEXTS = ["One two three.", "Vier fünf sechs sieben."]
WORDWISE = [family for family in ENCODERS if encoder_family(family).unit == "words"]
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
    yield Small("classify", "bert", "adapter", _adapter)


def _adapter() -> Package:
    """Return a classifier whose changes stand beside a checkpoint's encoder."""
    folder = CHECKPOINTS / "BertModel"
    begun = load_package(folder).task
    settings = ClassifySettings(
        architecture="bert", model=begun.settings.model, rows=begun.settings.rows, labels=["bad", "good"],
        text=DocumentLimits(max_length=begun.settings.text.max_length, sentences=False), head=HeadConfig(pooling="cls"),
    )  # fmt: skip
    made = Classifier.build(settings, begun.tokenizer)
    begin_headed(made, begun)
    shape: Any = {"rank": 2, "alpha": 4.0, "targets": ["query", "up"]}
    insert(made, Adapter(base=str(folder), sha256=fingerprint(begun.model), **shape))
    with torch.no_grad():
        for name, parameter in made.model.named_parameters():
            if name.endswith("lora_b"):
                parameter.normal_(std=0.1)
        made.model.output.weight.mul_(20)
    return new_package(made, WORDS, "")


def _taggers() -> Iterator[Small]:
    texts = [joined_words(words) for words, _ in meetings(3)]
    for place, family in enumerate(WORDWISE):
        crf = place % 2 == 1
        make = lambda family=family, crf=crf: new_package(tagger(family, crf=crf), texts, "")  # noqa: E731
        yield Small("tag", family, "fresh", make)
    yield from _checkpoints("tag", "Model", _tagger)


def _tagger(folder: Path) -> Package:
    """Return a tagger that begins with a checkpoint's encoder."""
    begun = load_package(folder).task
    settings = TagSettings(
        architecture=begun.settings.architecture, model=begun.settings.model, rows=begun.settings.rows,
        labels=LABELS, scheme="bio", text=WordLimits(max_length=begun.settings.text.max_length, words="space"),
    )  # fmt: skip
    made = Tagger.build(settings, begun.tokenizer)
    begin_headed(made, begun)
    with torch.no_grad():
        made.model.output.weight.mul_(20)
    return new_package(made, WORDS, "")


def _answerers() -> Iterator[Small]:
    yield from _checkpoints("answer", "Model", _answerer)


def _answerer(folder: Path) -> Package:
    """Return a model that answers, and begins with a checkpoint's encoder."""
    begun = load_package(folder).task
    settings = AnswerSettings(
        architecture=begun.settings.architecture, model=begun.settings.model, rows=begun.settings.rows,
        text=ContextLimits(max_length=begun.settings.text.max_length, overlap=4),
    )  # fmt: skip
    made = Answerer.build(settings, begun.tokenizer)
    begin_headed(made, begun)
    with torch.no_grad():
        made.model.output.weight.mul_(20)
    return new_package(made, [SEPARATOR.join(("the cat?", text)) for text in WORDS], "")


def _choosers() -> Iterator[Small]:
    yield from _checkpoints("choose", "Model", chooser)


def chooser(folder: Path) -> Package:
    """Return a model that chooses, and begins with a checkpoint's encoder."""
    begun = load_package(folder).task
    settings = ChooseSettings(
        architecture=begun.settings.architecture, model=begun.settings.model, rows=begun.settings.rows,
        head=HeadConfig(pooling="cls"), columns=["premise"],
        text=DocumentLimits(max_length=begun.settings.text.max_length, sentences=False),
    )  # fmt: skip
    made = Chooser.build(settings, begun.tokenizer)
    begin_headed(made, begun)
    with torch.no_grad():
        made.model.output.weight.mul_(20)
    asked = [(context, *WORDS[:size]) for context in ("the cat", "a red rug", "big") for size in (2, 3)]
    return new_package(made, [SEPARATOR.join(texts) for texts in asked], "")


def _regressors() -> Iterator[Small]:
    texts = [text for text, _ in reviews(3)]
    for family in ("recurrent", "bert"):
        yield Small("regress", family, "fresh", lambda family=family: new_package(regressor(family), texts, ""))


def _multilabellers() -> Iterator[Small]:
    texts = [text for text, _ in reviews(3)]
    for family in ("recurrent", "hierarchical", "bert"):
        make = lambda family=family: new_package(multilabeller(family), texts, "")  # noqa: E731
        yield Small("multilabel", family, "fresh", make)


def _embedders() -> Iterator[Small]:
    yield from _checkpoints("embed", "Model")


def _checkpoints(task: str, use: str, make: Callable[[Path], Package] | None = None) -> Iterator[Small]:
    for folder in sorted(CHECKPOINTS.glob(f"*{use}")):
        family = layout(json.loads((folder / "config.json").read_text())["model_type"]).architecture
        yield Small(task, family, folder.name, lambda folder=folder: (make or _package)(folder))


def _package(folder: Path) -> Package:
    """Return a checkpoint as a package with golden lines, which is stored nowhere yet."""
    found = load_package(folder)
    return replace(new_package(found.task, WORDS, found.card), path=None)


PACKAGES: Mapping[str, Callable[[], Iterator[Small]]] = {
    "translation": _translations,
    "classify": _classifiers,
    "tag": _taggers,
    "answer": _answerers,
    "multilabel": _multilabellers,
    "choose": _choosers,
    "regress": _regressors,
    "embed": _embedders,
}


def every_package() -> list[Small]:
    """Return the small packages of every task."""
    return [small for of_task in PACKAGES.values() for small in of_task()]
