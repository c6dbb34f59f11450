"""Ensembles: several translation models that write one target together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onehop.errors import ModelError
from onehop.tasks.package import load_package
from onehop.tasks.translation import Translator
from onehop.text import Tokenizer


def load_ensemble(models: Sequence[str | Path], *, allow_drift: bool = False, device: str = "cpu") -> Translator:
    """Load several models as one: at every token the mean of their probabilities decides (Sutskever 2014).

    All must have the vocabularies of the first, as runs of one recipe with other seeds have. The settings are those of
    the first model, except that a source is no longer than each of them can read.

    Args:
        models: Runs or package folders, at least one.
        allow_drift: See `load_package`.
        device: Where to put the weights, as torch names it.

    Raises:
        ModelError: One is none, is damaged, or has other vocabularies; or none is named.

    Example:
        >>> both = load_ensemble(["runs/first", "runs/first"])
        >>> alone = onehop.load("runs/first")
        >>> both.translate(["Hello."])[0].text == alone.translate(["Hello."])[0].text
        True
    """
    if not models:
        raise ModelError("an ensemble of no models", "Name at least one.")
    first, *others = [
        load_package(model, task=Translator.task, allow_drift=allow_drift, device=device).task for model in models
    ]
    for name, other in zip(models[1:], others, strict=True):
        for side in ("source", "target"):
            one, two = (getattr(translator, f"{side}_tokenizer") for translator in (first, other))
            if reason := _difference(one, two):
                raise ModelError(
                    f"cannot translate together with {models[0]}: the {side} {reason}",
                    "Name models of one vocabulary, such as runs of one recipe and data with other seeds.",
                    str(name),
                )
    text = first.settings.text
    least = min(translator.settings.text.max_length for translator in (first, *others))
    settings = first.settings.model_copy(update={"text": text.model_copy(update={"max_length": least})})
    together = Translator(
        first.model, first.source_tokenizer, first.target_tokenizer, settings, [other.model for other in others]
    )
    together.drift = "; ".join(one.drift for one in (first, *others) if one.drift)
    return together


def _difference(one: Tokenizer, two: Tokenizer) -> str:
    """Return how two tokenizers differ, or the empty string."""
    if one.vocab_size != two.vocab_size:
        return f"vocabulary has {two.vocab_size} pieces, not {one.vocab_size}"
    if one.normalization != two.normalization:
        return f"text is normalised by {two.normalization}, not {one.normalization}"
    return "" if one.to_json() == two.to_json() else "vocabulary has other pieces"
