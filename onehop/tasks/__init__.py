"""Tasks: a model with its tokenizers, its loss, its decoding; and the package that a task is saved to."""

from pathlib import Path
from typing import Any

from onehop.tasks.answer_settings import AnswerHead, AnswerSettings, ContextLimits
from onehop.tasks.answering import Answerer, Found
from onehop.tasks.classification import Classifier, Prediction
from onehop.tasks.classify_settings import ClassifySettings, DocumentLimits, HeadConfig
from onehop.tasks.ensemble import load_ensemble
from onehop.tasks.folders import bundled
from onehop.tasks.grouping import group_heads
from onehop.tasks.package import Package, convert, load_package, new_package, save_package
from onehop.tasks.registry import TASKS, Kind, Task
from onehop.tasks.settings import DecodeConfig, Precision, TextLimits, TranslationSettings
from onehop.tasks.tag_settings import TagHead, TagSettings, WordLimits
from onehop.tasks.tagging import Tagger, Tags
from onehop.tasks.translated import Candidate, Translation
from onehop.tasks.translation import Translator

__all__ = [
    "TASKS",
    "AnswerHead",
    "AnswerSettings",
    "Answerer",
    "Candidate",
    "Classifier",
    "ClassifySettings",
    "ContextLimits",
    "DecodeConfig",
    "DocumentLimits",
    "Found",
    "HeadConfig",
    "Kind",
    "Package",
    "Precision",
    "Prediction",
    "TagHead",
    "TagSettings",
    "Tagger",
    "Tags",
    "Task",
    "TextLimits",
    "Translation",
    "TranslationSettings",
    "Translator",
    "WordLimits",
    "bundled",
    "convert",
    "group_heads",
    "load",
    "load_classifier",
    "load_ensemble",
    "load_package",
    "load_translator",
    "new_package",
    "save_package",
]


def load_translator(model: str | Path, *, allow_drift: bool = False, device: str = "cpu") -> Translator:
    """Load a translation model: a run, a package folder, the name of a bundled model, or a hub id.

    Args:
        model: Its folder or name.
        allow_drift: See `load_package`; the translator's `drift` tells what was found.
        device: Where to put the weights, as torch names it.

    Raises:
        ModelError: It is none, is damaged, or has drifted.

    Example:
        >>> load_translator("runs/first").translate(["Hello.", ""])[1].text
        ''
    """
    return load_package(model, task="translation", allow_drift=allow_drift, device=device).task


def load_classifier(model: str | Path, *, allow_drift: bool = False, device: str = "cpu") -> Classifier:
    """Load a classifier: a run, a package folder, or a hub id.

    Args:
        model: Its folder or name.
        allow_drift: See `load_package`; the classifier's `drift` tells what was found.
        device: Where to put the weights, as torch names it.

    Raises:
        ModelError: It is none, is damaged, or has drifted.

    Example:
        >>> load_classifier("runs/reviews").labels
        ('bad', 'good')
    """
    return load_package(model, task="classify", allow_drift=allow_drift, device=device).task


def load(model: str | Path, *, allow_drift: bool = False, device: str = "cpu") -> Any:
    """Load a model of any task: a run, a package folder, the name of a bundled model, or a hub id.

    Args:
        model: Its folder or name.
        allow_drift: See `load_package`; the `drift` of what is returned tells what was found.
        device: Where to put the weights, as torch names it.

    Returns:
        A `Translator`, a `Classifier`, or what else its `task` says.

    Example:
        >>> load("runs/first").task
        'translation'
    """
    return load_package(model, allow_drift=allow_drift, device=device).task
