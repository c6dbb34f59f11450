"""Adapters: packages that hold a low-rank change of an encoder and a head, and name the encoder they change.

`model.safetensors` then holds what was learnt alone, and `onehop.json` an entry `adapter`: where the base is, as a path
from the package or a name, and the SHA-256 of its encoder's weights. That is of the numbers and not of a file, so the
same encoder as a checkpoint and as a package is the same base, and a README that changes is no other one.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor

from onehop.config import Table
from onehop.errors import ModelError
from onehop.nn.lora import OWN, TARGETS, adapt, merge
from onehop.tasks.weights import put, weights

ENCODER = "encoder."


class Adapter(Table):
    """What an adapter is made of, and what it changes."""

    base: str = Field(min_length=1, description="Folder or name of the base; in `onehop.json` from the package.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="Of the base's encoder; see `fingerprint`.")
    rank: int = Field(ge=1, le=1 << 14, description="Of the changes.")
    alpha: float = Field(gt=0, le=1e6, description="They are scaled by alpha / rank.")
    targets: list[str] = Field(min_length=1, description="Names of the maps that are changed.")

    @field_validator("targets")
    @classmethod
    def _known(cls, targets: list[str]) -> list[str]:
        if not set(targets) <= set(TARGETS) or len(set(targets)) < len(targets):
            raise ValueError(f"must be some of {', '.join(TARGETS)}, each once")
        return targets

    def like(self, other: Adapter) -> bool:
        """Whether another has the same base, shapes and scale, so that its weights mean the same."""
        return self.model_dump(exclude={"base"}) == other.model_dump(exclude={"base"})


def adapter_of(task: Any) -> Adapter | None:
    """Return the adapter that a task has beside its encoder; None where its weights are its own."""
    return getattr(task, "adapter", None)


def insert(task: Any, adapter: Adapter, dropout: float = 0.0) -> None:
    """Put changes that are still zero beside the maps of a task's encoder.

    Args:
        task: Changed in place.
        adapter: Rank, scale and names of the maps.
        dropout: On what the changes read, in training.

    Raises:
        ConfigError: The encoder has no such maps, or they are narrower than the rank.
    """
    adapt(task.model.encoder, adapter.targets, adapter.rank, adapter.alpha, dropout)
    task.adapter = adapter


def is_kept(name: str) -> bool:
    """Whether a parameter is of an adapter's package, by its name: of a change or of the head, not of the base."""
    return not name.startswith(ENCODER) or name.rpartition(".")[2] in OWN


def kept(task: Any) -> dict[str, Tensor]:
    """Return the weights that the package of a task holds."""
    values = weights(task.model)
    return {name: v for name, v in values.items() if is_kept(name)} if adapter_of(task) else values


def merged(task: Any) -> Any:
    """Return a task that does the same with weights of its own: changes are added to what they change.

    Example:
        >>> classifier = onehop.load_classifier("runs/reviews")
        >>> merged(classifier) is classifier
        True
    """
    if adapter_of(task) is None:
        return task
    twin = copy.copy(task)
    twin.model, twin.adapter = merge(task.model), None
    return twin


def fingerprint(model: Any) -> str:
    """Return the SHA-256 of an encoder's weights: names, shapes and float32 numbers, without changes beside them."""
    digest = hashlib.sha256()
    for name, value in sorted(weights(model.encoder).items()):
        if is_kept(ENCODER + name):
            continue
        plain = value.to("cpu", torch.float32).contiguous()
        digest.update(f"{name} {tuple(plain.shape)}\n".encode())
        digest.update(memoryview(plain.flatten().view(torch.uint8).numpy()))  # type: ignore[arg-type]
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------------ packages


def written(adapter: Adapter, folder: str | Path) -> dict[str, Any]:
    """Return the entry of `onehop.json` in a folder: the base as a path from there, or a name as it is."""
    base = adapter.base
    if Path(base).exists():
        base = Path(os.path.relpath(os.path.realpath(base), os.path.realpath(folder))).as_posix()
    return adapter.model_copy(update={"base": base}).model_dump()


def located(adapter: Adapter, folder: Path, base: str | Path | None) -> Adapter:
    """Return an adapter as it was read from a folder with its base as it is found from here.

    Args:
        adapter: As `onehop.json` has it.
        folder: Of the package.
        base: Where the base is said to be; None for where the package says.
    """
    there = os.path.normpath(folder / adapter.base)
    is_path = adapter.base.startswith("..") or os.path.exists(there)
    place = str(base) if base is not None else there if is_path else adapter.base
    return adapter.model_copy(update={"base": place})


def load_base(adapter: Adapter, load: Callable[[str], Any], where: str) -> Any:
    """Return the task whose encoder an adapter changes.

    Args:
        adapter: Its base as it is found from here.
        load: From a folder or name to a task.
        where: The package, for messages.

    Raises:
        ModelError: The base is not there, is an adapter itself, or is another one than the adapter was trained on.
    """
    again = f"Name the base it was trained on: onehop export {where} OUT --base MODEL"
    try:
        base = load(adapter.base)
    except ModelError as error:
        problem = f"an adapter, whose base {adapter.base!r} cannot be loaded: {error.problem}"
        raise ModelError(problem, again, where) from error
    found = fingerprint(base.model)
    if found != adapter.sha256:
        problem = (
            f"an adapter of another base: it was trained on an encoder with the SHA-256 {adapter.sha256[:12]}…, "
            f"and that of {adapter.base!r} has {found[:12]}…"
        )
        raise ModelError(problem, again, where)
    return base


def put_base(task: Any, base: Any, where: str) -> None:
    """Give the encoder beside an adapter its weights.

    Raises:
        ModelError: The package says that its encoder has another shape than the base's.
    """
    own = {ENCODER + name: value for name, value in weights(base.model.encoder).items()}
    values = weights(task.model)
    held = [name for name in values if not is_kept(name)]
    if any(name not in own or own[name].shape != values[name].shape for name in held):
        raise ModelError("an adapter whose settings are not those of its base", "Copy the package again.", where)
    put(task.model, {**values, **{name: own[name] for name in held}})


def size_of(base: Any) -> int:
    """Return how many parameters a base has, each tensor counted once; 0 for none."""
    return 0 if base is None else sum(1 for _ in base.model.parameters())
