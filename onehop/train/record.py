"""What a run leaves about itself, in `run.json` and in its package, and how to train the same again from it."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from onehop.errors import ConfigError, DataError, ModelError
from onehop.files import Run, sha256
from onehop.tasks.folders import find
from onehop.tasks.manifest import read_manifest
from onehop.tasks.package import versions
from onehop.text import Ledger
from onehop.text.ledger import concerned
from onehop.train.card import learnt
from onehop.train.jobs import Ready
from onehop.train.parent import hash_of
from onehop.train.recipe import AnyRecipe, found_from, make_recipe, relative_to


def data_hashes(recipe: AnyRecipe) -> dict[str, str]:
    """Return the SHA-256 of each data file, by its path as the recipe names it."""
    return {file: sha256(file) for name in recipe.data.FILES for file in getattr(recipe.data, name)}


def run_record(given: AnyRecipe, prepared: Ready, run: Run, hashes: Mapping[str, str]) -> dict[str, Any]:
    """Return what `run.json` holds: the recipe as given and as resolved, and what it ran on; paths are from the run."""
    return {
        "command": sys.argv,
        "given": relative_to(given, run.folder).model_dump(),
        **_trained(prepared, run.folder, hashes),
        "tokenizers": {
            side: hashlib.sha256(tokenizer.to_json().encode()).hexdigest()
            for side, tokenizer in prepared.tokenizers().items()
        },
        "sittings": [],
        "versions": versions(),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "system": platform.platform(),
        },
    }


def package_record(prepared: Ready, run: Run, hashes: Mapping[str, str]) -> dict[str, Any]:
    """Return what a package holds of its run; paths are from the package."""
    return {**_trained(prepared, run.model, hashes), "threads": torch.get_num_threads()}


def truncation(ledger: Ledger, pairs: int, corpora: Sequence[Ledger] = ()) -> dict[str, Any]:
    """Return what the length limit did to a split.

    Args:
        ledger: Of the whole split.
        pairs: Pairs of the split, of which the ledger may have seen fewer.
        corpora: Ledgers of its files, if it has several that are told apart.
    """
    record = {"split": ledger.split, "max_length": ledger.max_length, "policy": ledger.policy, "pairs": pairs}
    several = {"corpora": [figures(each) for each in corpora]} if len(corpora) > 1 else {}
    return {**record, **figures(ledger), **several}


def figures(ledger: Ledger) -> dict[str, Any]:
    """Return a ledger's figures for people: of the labels, only those of which a line was affected."""
    by_label = {"by_label": concerned(ledger.by_label)} if ledger.by_label else {}
    return {**ledger.counts(), **by_label}


def truncations(prepared: Ready) -> dict[str, dict[str, Any]]:
    """Return what the length limit did to each split, to the training pairs as far as they were read."""
    ledger, valid = learnt(prepared), prepared.limited
    corpora = () if hasattr(prepared, "divided") else prepared.batches.ledgers  # files are divided together
    return {
        "train": truncation(ledger, prepared.num_pairs, corpora),
        "valid": truncation(valid, valid.lines),
    }


def _trained(prepared: Ready, folder: Path, hashes: Mapping[str, str]) -> dict[str, Any]:
    recipe = relative_to(prepared.recipe, folder)
    there = {
        here: path
        for name in recipe.data.FILES
        for here, path in zip(getattr(prepared.recipe.data, name), getattr(recipe.data, name), strict=True)
    }
    return {
        "recipe": recipe.model_dump(),
        "init": prepared.parent.sha256 if prepared.parent else None,
        "pairs": prepared.num_pairs,
        "data": {there[here]: digest for here, digest in hashes.items()},
    }


def like(
    model: str | Path,
    files: Mapping[str, Sequence[str]] | None = None,
    settings: Sequence[str] = (),
    tell: Callable[[str], None] = lambda text: None,
) -> Any:
    """Return the recipe that a model was trained by, for another run of it.

    On the same machine, with as many threads and the same versions, the run gives the same weights, bit for bit,
    unless it was limited by minutes or resumed with other limits.

    Args:
        model: A run, a package or a bundled name.
        files: Other data files, by their keys of `[data]`; they take the place of all that the record names.
        settings: `TABLE.KEY=VALUE`, to change a recipe.
        tell: Hears what will make another model of it: versions, threads.

    Raises:
        ModelError: The package has no record.
        DataError: A file is missing or has changed since; lists each of them.

    Example:
        >>> like("runs/first").train.seed
        1
    """
    folder = find(model)
    manifest = read_manifest(folder)
    record = manifest.get("record")
    if record is None:
        raise ModelError("its package does not say how it was trained", "Give a recipe instead.", str(folder))
    try:
        tables, data = dict(record["recipe"]), dict(record["data"])
        recipe = found_from(make_recipe(tables), folder)
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        remedy = "Update onehop, or give a recipe instead."
        raise ModelError(f"its record cannot be used: {error}", remedy, str(folder)) from error
    tables, names = recipe.model_dump(), recipe.data.FILES
    if files and not files.keys() <= set(names):
        raise ConfigError(f"files of another task than {recipe.task!r}", f"Give {', '.join(names)}.", str(model))
    if files:
        empty = {name: [] for name in names}
        of_files = {"weights", "tags"} & tables["data"].keys()
        kept = {name: tables["data"][name] if _as_many(tables["data"], files) else [] for name in of_files}
        tables["data"] |= {**empty, **kept, **{key: list(row) for key, row in files.items()}}
        _carried(tables["train"], settings, tell)
    if not files:
        hashes = {os.path.normpath(folder / file): digest for file, digest in data.items()}
        _same_files(tables, names, hashes, str(model))
    _same_parent(tables["train"]["init"], record.get("init"), str(model))
    _differences(manifest, record, tell)
    return make_recipe(tables, settings, str(model))


def other_software(theirs: Mapping[str, str], threads: int | None) -> list[str]:
    """Return in what another sitting's versions and threads were not those of this one."""
    ours, here = versions(), torch.get_num_threads()
    found = [f"{name} {theirs[name]}, here {ours.get(name)}" for name in theirs if theirs[name] != ours.get(name)]
    return found + ([f"{threads} threads, here {here}"] if threads != here else [])


def _carried(train: Mapping[str, Any], settings: Sequence[str], tell: Callable[[str], None]) -> None:
    """Tell which settings of a classifier other data go by that the model's own labels may have decided."""
    changed = {setting.partition("=")[0].strip() for setting in settings}
    kept = [key for key in ("best", "class_weights") if f"train.{key}" not in changed]
    if train.get("class_weights") and kept:
        told = ", ".join(f"train.{key} = {train[key]!r}" for key in kept)
        tell(f"like: kept from that model, whose labels may have been of other shares: {told}")


def _as_many(data: Mapping[str, Any], files: Mapping[str, Sequence[str]]) -> bool:
    ours, theirs = (len(each.get("pairs") or each.get("source") or []) for each in (files, data))
    return ours == theirs


def _same_files(tables: Mapping[str, Any], names: Sequence[str], hashes: Mapping[str, str], model: str) -> None:
    """Refuse files of the record that are not what the model was trained on."""
    named = {os.path.normpath(file): file for name in names for file in tables["data"][name]}
    faults = [
        f"{file} {'changed' if Path(file).exists() else 'is missing'}"
        for place, file in named.items()
        if place in hashes and (not Path(file).exists() or sha256(file) != hashes[place])
    ]
    if faults:
        others = "--pairs F, or --source F --target F" if "pairs" in names else "--data F"
        remedy = f"Put back what it was trained on, or name other files: {others}."
        raise DataError(f"not the data it was trained on: {', '.join(faults)}", remedy, model)


def _same_parent(init: str | None, digest: str | None, model: str) -> None:
    if init is not None and hash_of(find(init)) != digest:
        remedy = "Put back the model it continued, or name another: --init MODEL."
        raise ModelError(f"not the model that it continued: {init} changed", remedy, model)


def _differences(manifest: Mapping[str, Any], record: Mapping[str, Any], tell: Callable[[str], None]) -> None:
    """Tell what keeps a repeated run from giving the same bits."""
    found = other_software(manifest["versions"], record.get("threads"))
    if record["recipe"]["train"]["max_minutes"]:
        found.append("limited by minutes")
    if found:
        tell(f"like: the weights may differ in the last digits: trained with {'; '.join(found)}")
