"""The model that a run continues, with `train.init`: its weights, tokenizers and settings; the optimizer is new."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onehop.data import Pair
from onehop.errors import ConfigError, ModelError
from onehop.files import Run, sha256
from onehop.models.registry import configure
from onehop.tasks import Translator, load_package
from onehop.tasks.folders import find
from onehop.tasks.names import MANIFEST
from onehop.tasks.registry import check_task
from onehop.text import Tokenizer
from onehop.text.tokenizer import CONTROLS, RESERVED
from onehop.train.jobs import PACKAGED
from onehop.train.recipe import AnyRecipe, Recipe

FREE = ("dropout", "attention_dropout", "activation_dropout", "word_dropout")  # of the model: no weight depends on them
HEADED = (
    "classify",
    "multilabel",
    "regress",
    "tag",
    "answer",
    "choose",
    "mlm",
    "embed",
)  # tasks that an encoder alone can begin
FOREIGN = 0.01  # share of tokens that are single bytes, above which the vocabulary hardly knows the text


@dataclass(frozen=True)
class Parent:
    """The model that a run began with.

    Args:
        task: Its weights and tokenizers; on a resume, those of the run's own package.
        sha256: Of its `onehop.json`, or of all files of a checkpoint.
    """

    task: Any
    sha256: str

    @property
    def translator(self) -> Translator:
        """The task of a run that continues a translation model, which is all that `parent_of` gives it."""
        return self.task

    def let_go(self, own: Any) -> None:
        """Give back the memory of its weights, which the run's `own` task has by now; settings and tokenizers stay."""
        if self.task.model is not own.model:
            self.task.model.to("meta")


def parent_of(recipe: AnyRecipe, run: Run, record: Mapping[str, Any] | None) -> Parent | None:
    """Return what the run continues, or None; once there is a checkpoint, the run's own package stands for it.

    Raises:
        ModelError: It cannot be loaded.
    """
    if recipe.train.init is None:
        return None
    resumes = record is not None and bool(run.saved())
    if resumes and (run.model / MANIFEST).is_file():
        begun = load_package(run.model, task=PACKAGED.get(recipe.task, recipe.task)).task
        return Parent(begun, (record or {})["init"])
    folder = find(recipe.train.init)
    begun = load_package(folder).task
    if not (recipe.task in HEADED and begun.task == "embed"):  # which learn a head for an encoder
        check_task(begun.task, recipe.task, str(folder))
    found = hash_of(folder)
    if record and resumes and found != record["init"]:  # the weights that are held stand nowhere else
        remedy = "Put back the model that the run began with, or begin anew with --overwrite."
        raise ModelError(f"not the model that this run began with: {folder} changed", remedy, str(run.folder))
    return Parent(begun, found)


def hash_of(folder: Path) -> str:
    """Return the SHA-256 of a model: of its `onehop.json`, or of all files of a checkpoint."""
    return sha256(folder / MANIFEST if (folder / MANIFEST).is_file() else folder)


def inherit(recipe: Recipe, parent: Parent) -> Recipe:
    """Return the recipe with the parent's model, vocabulary and limits, and its other settings where it has none.

    Raises:
        ConfigError: Lists every key that contradicts the parent, with the parent's value.
    """
    theirs, translator = parent.translator.settings, parent.translator
    sizes = {translator.source_tokenizer.vocab_size, translator.target_tokenizer.vocab_size}
    text: dict[str, Any] = {
        "vocab_size": sizes.pop() if len(sizes) == 1 else None,
        "joint": translator.joint,
        "normalization": translator.source_tokenizer.normalization,
        "max_length": theirs.text.max_length,
    }
    model = {"architecture": theirs.architecture, **theirs.model}
    ours = _asked(recipe)
    faults = [
        f"{name} = {value!r}, but the model that train.init names has {fixed[key]!r}"
        for table, fixed in (("text", text), ("model", model))
        for key, value in ours[table].items()
        if key in fixed and key not in FREE and value != fixed[key] and (name := f"{table}.{key}")
    ]
    if faults:
        raise ConfigError("; ".join(faults), "Leave them out, or begin anew without train.init.", "train.init")
    own = {key: value for key, value in ours["model"].items() if key in FREE}
    asked = {name: getattr(recipe.decode, name) for name in recipe.decode.model_fields_set}
    languages = {
        name: getattr(recipe.data, name) or getattr(theirs, name) for name in ("source_language", "target_language")
    }
    return recipe.model_copy(
        update={
            "model": {**model, **own},
            "text": recipe.text.model_copy(update={"long": recipe.text.long or "drop", **text}),
            "decode": theirs.decode.model_copy(update=asked),
            "data": recipe.data.model_copy(update=languages),
        }
    )


def _asked(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Return what the recipe itself says of text and model; what is None it leaves open."""
    text = {name: getattr(recipe.text, name) for name in recipe.text.model_fields_set}
    model = {**recipe.model}
    if model.get("preset") == "auto":
        del model["preset"]
    elif model.get("preset"):
        name = model.pop("architecture", "transformer")
        model = {**configure(name, model).model_dump(), "architecture": name}
    both = {"text": text, "model": model}
    return {name: {key: value for key, value in table.items() if value is not None} for name, table in both.items()}


def kept_vocabularies(
    parent: Parent, lines: Sequence[Pair], tell: Callable[[str], None]
) -> tuple[Tokenizer, Tokenizer]:
    """Return the parent's tokenizers, and tell how well they know the new text."""
    sides = {"source": parent.translator.source_tokenizer, "target": parent.translator.target_tokenizer}
    sizes = " and ".join(f"{tokenizer.vocab_size:,}" for tokenizer in dict.fromkeys(sides.values()))
    tell(f"text: the vocabulary of {sizes} pieces is kept")
    some = lines[:: max(1, len(lines) // 30_000)]
    for place, (side, tokenizer) in enumerate(sides.items()):
        tokens = [token for row in tokenizer.encode_batch([pair[place] for pair in some]) for token in row]
        share = sum(len(CONTROLS) <= token < len(RESERVED) for token in tokens) / max(1, len(tokens))
        if share > FOREIGN:
            tell(
                f"warning: {100 * share:.0f} % of the {side} tokens are single bytes: the vocabulary hardly knows this "
                "text, and a model trained from scratch may do better"
            )
    return sides["source"], sides["target"]


def notices(ours: str, theirs: str, whose: str = "of the model it continues") -> str:
    """Return the licence or notice of the new text with that of the parent's, which still holds."""
    return theirs if ours in theirs else f"{ours}; {whose}: {theirs}" if theirs else ours
