"""Tasks: a model with its tokenizers, its loss, its decoding; and the package that a task is saved to."""

from pathlib import Path

from onehop.tasks.ensemble import load_ensemble
from onehop.tasks.folders import bundled
from onehop.tasks.package import Package, convert, load_package, new_package, save_package
from onehop.tasks.settings import DecodeConfig, Precision, TextLimits, TranslationSettings
from onehop.tasks.translation import Candidate, Translation, Translator

__all__ = [
    "Candidate",
    "DecodeConfig",
    "Package",
    "Precision",
    "TextLimits",
    "Translation",
    "TranslationSettings",
    "Translator",
    "bundled",
    "convert",
    "load",
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
    return load_package(model, allow_drift=allow_drift, device=device).translator


def load(model: str | Path, *, allow_drift: bool = False, device: str = "cpu") -> Translator:
    """Load a model of any task: a run, a package folder, the name of a bundled model, or a hub id.

    Args:
        model: Its folder or name.
        allow_drift: See `load_package`; the translator's `drift` tells what was found.
        device: Where to put the weights, as torch names it.

    Example:
        >>> load("runs/first").task
        'translation'
    """
    return load_translator(model, allow_drift=allow_drift, device=device)
