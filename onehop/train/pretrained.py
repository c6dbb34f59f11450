"""A run that begins with a pretrained encoder: what is learnt anew, and how fast (Devlin et al. 2018, section 4.1)."""

from __future__ import annotations

from typing import Any

from onehop.models.body import initialise
from onehop.models.checkpoint import layout
from onehop.tasks.classify_settings import HeadConfig
from onehop.tasks.embedding import Embedder, EmbedSettings
from onehop.tasks.weights import put, weights
from onehop.train.parent import Parent
from onehop.train.recipe import TrainConfig

USUAL: dict[str, Any] = {
    "learning_rate": 1e-4, "layer_decay": 0.9, "schedule": "linear", "betas": [0.9, 0.999], "epsilon": 1e-8,
}  # fmt: skip


def usual(train: TrainConfig) -> dict[str, Any]:
    """Return the settings of fine-tuning that a recipe leaves open: a small rate that falls to zero."""
    return {key: value for key, value in USUAL.items() if key not in train.model_fields_set}


def family_head(head: HeadConfig, theirs: EmbedSettings) -> HeadConfig:
    """Return the head of a pretrained encoder's family, with what a recipe says of it."""
    usual = {"pooling": "cls", "transform": layout(theirs.architecture).sentence[1], "dropout": 0.1}
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
