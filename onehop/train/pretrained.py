"""A run that begins with another model: what is learnt anew, and how fast (Devlin et al. 2018, section 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from onehop.errors import ConfigError
from onehop.models.body import initialise
from onehop.models.checkpoint import layout
from onehop.tasks.adapters import Adapter, adapter_of, fingerprint, insert, merged
from onehop.tasks.classify_settings import HeadConfig
from onehop.tasks.embedding import Embedder, EmbedSettings
from onehop.tasks.folders import find
from onehop.tasks.weights import put, weights
from onehop.train.parent import Parent
from onehop.train.recipe import TrainConfig
from onehop.train.tune import redraw
from onehop.train.tune_recipe import TuneConfig

LORA_RATE = 1e-3  # peak, where only changes of low rank and the head learn
USUAL: dict[str, Any] = {
    "learning_rate": 1e-4, "layer_decay": 0.9, "schedule": "linear", "betas": [0.9, 0.999], "epsilon": 1e-8,
}  # fmt: skip


def usual(train: TrainConfig) -> dict[str, Any]:
    """Return the settings of fine-tuning that a recipe leaves open: a small rate that falls to zero."""
    chosen = USUAL
    if isinstance(train, TuneConfig) and train.lora_rank:
        chosen = {**{key: value for key, value in USUAL.items() if key != "layer_decay"}, "learning_rate": LORA_RATE}
    return {key: value for key, value in chosen.items() if key not in train.model_fields_set}


def family_head(head: HeadConfig, theirs: EmbedSettings, *, windows: bool = False) -> HeadConfig:
    """Return the head of a pretrained encoder's family, with what a recipe says of it.

    Args:
        head: As the recipe has it.
        theirs: The encoder.
        windows: Whether long texts are read in windows, of which no one state stands for the whole.
    """
    usual = {"pooling": "cls", "transform": layout(theirs.architecture).sentence[1], "dropout": 0.1}
    usual |= {"pooling": "attention", "transform": "none"} if windows else {}
    asked = {key: getattr(head, key) for key in head.model_fields_set}
    return HeadConfig.model_validate({**usual, **asked})


def is_pretrained(parent: Parent | None) -> bool:
    """Whether a run begins with an encoder alone, and learns a head for it."""
    return parent is not None and parent.task.task == "embed"


def begin_headed(task: Any, parent: Embedder) -> None:
    """Give a model with a new head the weights of an encoder."""
    task.model.output.apply(initialise)
    own = weights(parent.model)
    values = weights(task.model)
    put(task.model, values | {name: own[name] for name in values if name.startswith("encoder.")})


def begin_with(task: Any, parent: Embedder) -> None:
    """Give a task of whole texts the weights of an encoder, and those of its map of a text's vector if it has one."""
    for part in (task.model.pooling, task.model.output):
        part.apply(initialise)
    sentence, transform = layout(task.settings.architecture).sentence
    own = weights(parent.model)
    begins = {"encoder.": "encoder."}
    if task.settings.head.transform == transform and sentence in parent.settings.heads:
        begins["pooling.transform."] = f"heads.{sentence}."
    values = weights(task.model)
    for ours, theirs in begins.items():
        values |= {name: own[theirs + name.removeprefix(ours)] for name in values if name.startswith(ours)}
    put(task.model, values)


# ------------------------------------------------------------------------------------------------ adapters


def begin(task: Any, parent: Parent | None, train: TuneConfig, of_encoder: Callable[[Any, Embedder], None]) -> None:
    """Give a task the weights it begins with, if it does not begin anew, and the changes beside them that it learns.

    A parent that is an adapter goes on where the recipe asks for the same one; where it asks for none, its changes are
    added to its weights, and all of them learn.

    Args:
        task: Of fresh weights.
        parent: The model that is continued, or the encoder that is begun with.
        train: Says what learns.
        of_encoder: `begin_with` or `begin_headed`.

    Raises:
        ConfigError: The recipe asks for an adapter beside another, or of an encoder that has no such maps.
    """
    if parent is None:
        return
    if is_pretrained(parent):
        of_encoder(task, merged(parent.task))
        redraw(task.model, train.fresh_layers)
    else:
        put(task.model, weights(merged(parent.task).model))
    if adapter := _adapter(parent, train, task.task):
        insert(task, adapter, train.lora_dropout)
        if adapter_of(parent.task):
            put(task.model, weights(parent.task.model))


def _adapter(parent: Parent, train: TuneConfig, task: str) -> Adapter | None:
    """Return the adapter that a recipe asks for a task, of the parent or of the parent's own base."""
    if not train.lora_rank:
        return None
    theirs, init = adapter_of(parent.task), train.init or ""
    shape: dict[str, Any] = {"rank": train.lora_rank, "alpha": train.lora_alpha, "targets": list(train.lora_targets)}
    if theirs is None:
        base = str(find(init)) if Path(init).exists() else init
        return Adapter(base=base, sha256=fingerprint(parent.task.model), **shape)
    if parent.task.task != task:
        remedy = "Begin from one model: onehop export MODEL OUT --merge; or leave lora_rank out."
        raise ConfigError("the model that train.init names is an adapter, of another task", remedy, "train.lora_rank")
    if not theirs.like(theirs.model_copy(update=shape)):
        told = f"lora_rank = {theirs.rank}, lora_alpha = {theirs.alpha:g}, lora_targets = {theirs.targets}"
        raise ConfigError(
            f"the model that train.init names is an adapter of another shape ({told})",
            "Give the same to go on with it; or begin from one model: onehop export MODEL OUT --merge",
            "train.lora_rank",
        )
    return theirs
