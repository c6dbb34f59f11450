"""The model card: what a package is, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onehop.text import Ledger
from onehop.text.ledger import shown
from onehop.train.progress import Progress
from onehop.train.validation import Translated

if TYPE_CHECKING:
    from onehop.train.jobs import Ready
    from onehop.train.prepare import Prepared


def model_card(prepared: Prepared, progress: Progress, loss: float, found: Translated) -> str:
    """Return the card of a translation model as Markdown."""
    translator, recipe = prepared.translator, prepared.recipe
    settings = translator.settings
    sides = f"{settings.source_language or 'source'} to {settings.target_language or 'target'}"
    parameters = sum(p.numel() for p in translator.model.parameters())
    parent = prepared.parent
    continued = [f"- continues the model whose onehop.json has the SHA-256 {parent.sha256}"] if parent else []
    lines = [
        f"# Translation model, {sides}",
        "",
        f"A {settings.architecture} of {parameters:,} parameters, trained with Onehop on {prepared.num_pairs:,} pairs.",
        "",
        f"- updates: {progress.update:,} of the run, {progress.targets:,} target tokens",
        validated(
            len(prepared.validation),
            "pairs",
            f"loss {loss:.3f} nats a token, BLEU {found.bleu:.1f} on {found.sentences} of them (beam "
            f"{recipe.evaluate.beam_size}), {found.incomplete} of the translations ended by the maximum length",
        ),
        f"- longest line: {settings.text.max_length} tokens; "
        + ("trained on single sentences" if settings.text.sentences else "trained on lines of several sentences"),
        f"- longer lines: {'; '.join(longer(prepared))}",
        f"- vocabulary: {translator.source_tokenizer.vocab_size:,} pieces"
        + (", shared" if translator.joint else f" and {translator.target_tokenizer.vocab_size:,}"),
        *continued,
        *ending(settings, "translate MODEL input.txt -o output.txt"),
    ]
    return "\n".join(lines)


def validated(count: int, what: str, told: str) -> str:
    """Return the line of a card about validation, which has no figures where nothing was held out.

    Example:
        >>> validated(0, "texts", "loss 0.000 nats, accuracy 0.0 %")
        '- validation: none, no texts were held out'
    """
    return f"- validation, {count:,} {what}: {told}" if count else f"- validation: none, no {what} were held out"


def ending(settings: Any, use: str) -> list[str]:
    """Return the last lines of a card: whose the data are, and the command `use` that the model is for."""
    return [
        "",
        "## Data",
        "",
        f"Licence: {settings.license or 'not stated'}. {settings.attribution}".rstrip(),
        "",
        "## Use",
        "",
        f"    onehop {use}",
        "",
    ]


def learnt(prepared: Ready) -> Ledger:
    """Return what the length limit did to the training examples: so far, or where they were divided first, to all."""
    return getattr(prepared, "divided", None) or prepared.batches.ledger


def longer(prepared: Ready) -> list[str]:
    """Return what became of lines longer than the limit, for each split."""
    told: list[str] = []
    for ledger in (learnt(prepared), prepared.limited):
        done = {"error": "", "drop": " dropped", "cut": " cut", "window": " divided"}[ledger.policy]
        labels = f" ({text})" if (text := shown(ledger.by_label)) else ""
        told.append(f"{ledger.split} {ledger.affected:,} of {ledger.lines:,}{done}{labels}")
    if learnt(prepared).lines < prepared.num_pairs:
        told.append(f"{prepared.num_pairs:,} training pairs in all, not all of them read when this model was saved")
    return told
