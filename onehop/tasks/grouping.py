"""Fewer key/value heads for a trained model: multi-head attention becomes grouped-query or multi-query attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from onehop.errors import ConfigError
from onehop.models.registry import configure
from onehop.nn.attention import Attention
from onehop.tasks.package import Package, versions
from onehop.tasks.registry import kind
from onehop.tasks.translation import Translator
from onehop.tasks.weights import put, weights

Pool = Literal["mean", "first", "random"]
POOLS: dict[str, Pool] = {pool: pool for pool in get_args(Pool)}
MAPPED = ("additive", "concat", "location")  # scores that have weights of their own for each key/value head


def group_heads(package: Package, groups: int, pool: Pool = "mean", seed: int = 1) -> Package:
    """Return the package with `groups` key/value heads in its decoder (Ainslie 2023, 2.1), and golden lines of that.

    The projections of the heads that share a new one are averaged. The encoder keeps its heads, as in the paper: it
    has no cache. Translations are worse until the model has been trained a little further, with `train.init`.

    Args:
        package: A translation model, whose key/value heads `groups` divides.
        groups: G: 1 for multi-query attention.
        pool: `mean`; or, to compare, the `first` head of each group, or `random` new weights.
        seed: Of the random ones.

    Raises:
        ConfigError: Another task, a number that does not divide, or a score with weights for each key/value head.

    Example:
        >>> small = group_heads(onehop.tasks.load_package("runs/first"), 1)
        >>> small.task.model.decoder[0].cross.num_kv_heads
        1
    """
    old = package.task
    if not isinstance(old, Translator) or old.others:
        raise ConfigError("not one translation model", "Only decoders are grouped: they have a cache.", "--kv-heads")
    settings = old.settings.model_copy(update={"model": _grouped(old, groups)})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        new = Translator.build(settings, old.source_tokenizer, old.target_tokenizer)
    fresh, kept = weights(new.model), weights(old.model)
    put(new.model, {name: _pooled(kept[name], like, pool, _width(new.model)) for name, like in fresh.items()})
    new.model.eval()
    lines = kind(new.task).lines(new, [line["source"] for line in package.golden])
    return Package(new, lines, package.card, versions(), record=package.record, drift=package.drift)


def _grouped(task: Translator, groups: int) -> Mapping[str, Any]:
    """Return the settings of the model with so many key/value heads in the decoder."""
    settings, model = task.settings, dict(task.settings.model)
    config: Any = configure(settings.architecture, model)
    readers = [m for m in task.model.modules() if isinstance(m, Attention) and "encoder" not in m.name]
    if not readers:
        raise ConfigError("a model without attention has no heads", "Take one with attention.", "--kv-heads")
    for reader in readers:
        if groups < 1 or reader.num_kv_heads % groups:
            fits = [str(g) for g in range(1, reader.num_kv_heads + 1) if reader.num_kv_heads % g == 0]
            problem = f"{groups} key/value heads do not divide the {reader.num_kv_heads} of {reader.name}"
            raise ConfigError(problem, f"Use {' or '.join(fits)}.", "--kv-heads")
    scores: set[str | None] = {config.score, getattr(config, "cross_score", None)}
    if mapped := [name for name in MAPPED if name in scores]:
        raise ConfigError(
            f"the score {mapped[0]} has weights of its own for each key/value head, which have no mean",
            "Train with fewer heads from the start: model.num_kv_heads.",
            "--kv-heads",
        )
    keys = ("decoder_kv_heads", "cross_kv_heads") if hasattr(config, "cross_kv_heads") else ("num_kv_heads",)
    return {**model, **dict.fromkeys(keys, groups)}


def _width(model: Any) -> int:
    """Return the width of a head."""
    reader = next(m for m in model.modules() if isinstance(m, Attention) and "encoder" not in m.name)
    key = reader.projections.key
    return key.out_features // reader.num_kv_heads if isinstance(key, torch.nn.Linear) else 1


def _pooled(old: Tensor, like: Tensor, pool: Pool, width: int) -> Tensor:
    """Return a weight in its new shape: as it was, or the heads of each group as one."""
    if old.shape == like.shape:
        return old
    if pool == "random":
        return like
    heads = old.unflatten(0, (len(like) // width, -1, width))  # (G, heads of a group, K, ...)
    return (heads.mean(1) if pool == "mean" else heads[:, 0]).flatten(0, 1)
