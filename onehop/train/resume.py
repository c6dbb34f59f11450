"""Whether a run may be continued: with the recipe and the text it began with, and only if it is not finished."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from onehop.errors import ConfigError, DataError, FileError, ModelError, OnehopError
from onehop.files import Run, os_errors
from onehop.tasks.manifest import read_manifest
from onehop.train.fit import limit_reached
from onehop.train.progress import Progress, load_progress
from onehop.train.recipe import AnyRecipe, found_from, make_recipe, relative_to
from onehop.train.record import other_software

LIMITS = {"max_updates", "max_minutes", "keep", "save_every", "patience"}  # of `train`: may differ when a run goes on
TOLD = {"check"}  # of `data`: may differ, too, since it changes nothing but what is told


def read_record(run: Run) -> dict[str, Any]:
    """Return `run.json`."""
    with os_errors(run.record, "read"):
        text = run.record.read_text("utf-8")
    try:
        record = json.loads(text)
        for name in ("given", "recipe"):
            make_recipe(record[name])
        return {"init": None, **record, "data": dict(record["data"]), "pairs": int(record["pairs"])}
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise FileError("a damaged record of a run", "Begin anew with --overwrite.", str(run.record)) from error


def same_recipe(recipe: AnyRecipe, record: dict[str, Any], run: Run) -> None:
    """Refuse a recipe that is not, but for its limits, the one the run was given, nor that one resolved."""
    if recipe.task != make_recipe(record["recipe"]).task:
        begun = make_recipe(record["recipe"]).task
        remedy = "Resume with the recipe it began with, or begin anew with --overwrite."
        raise ConfigError(
            f"a recipe of the task {recipe.task!r}; this run began with {begun!r}", remedy, str(run.recipe)
        )
    ours = _fixed(relative_to(recipe, run.folder))
    given, resolved = (_fixed(make_recipe(record[name])) for name in ("given", "recipe"))
    if ours in (given, resolved):
        return
    closer = min(given, resolved, key=lambda other: sum(len(_keys(ours[table], other[table])) for table in ours))
    differ = [f"{table}.{key}" for table in ours for key in _keys(ours[table], closer[table])]
    go_on = f"onehop train --out {run.folder} --resume"
    remedy = f"Resume with the settings the run began with, which {go_on} takes, or begin anew with --overwrite."
    raise ConfigError(f"not the recipe this run began with: {', '.join(differ)} differ", remedy, str(run.recipe))


def _fixed(recipe: AnyRecipe) -> dict[str, Any]:
    """Return what may not change; a setting of the model that is None is as good as left out."""
    tables = recipe.model_dump(exclude={"task": True, "train": LIMITS, "data": TOLD})
    return {**tables, "model": {key: value for key, value in tables["model"].items() if value is not None}}


def _keys(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    return [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]


def resumed(recipe: AnyRecipe, record: dict[str, Any], run: Run) -> Any:
    """Return the run's resolved recipe with the limits of the one given, so that nothing is chosen anew.

    Limits may decide what is chosen, so another limit must not lead to another model.
    """
    resolved = found_from(make_recipe(record["recipe"]), run.folder)
    limits = {key: getattr(recipe.train, key) for key in LIMITS}
    if not (limits["max_updates"] or limits["max_minutes"]):
        limits["max_updates"] = resolved.train.max_updates
    told = {key: getattr(recipe.data, key) for key in TOLD & type(recipe.data).model_fields.keys()}
    data = resolved.data.model_copy(update=told)
    return resolved.model_copy(update={"train": resolved.train.model_copy(update=limits), "data": data})


def continued(entry: dict[str, Any], record: dict[str, Any], run: Run, tell: Callable[[str], None]) -> None:
    """Refuse to go on with another text or vocabulary than the run began with; tell other versions and threads.

    Args:
        entry: What `run.json` will hold; gets what the run was given, and the sittings so far.
        record: What it holds.
        run: The run.
        tell: Hears of what may change the last digits.
    """
    entry["given"] = record["given"]
    entry["sittings"] = list(record.get("sittings", []))
    if not run.saved():
        return
    same_data(entry, record, run)
    then, threads = record.get("versions", {}), record.get("machine", {}).get("threads")
    if record.get("tokenizers", entry["tokenizers"]) != entry["tokenizers"]:
        made = ", ".join(f"{name} {number}" for name, number in then.items())
        remedy = f"Use what it began with ({made}), or begin anew with --overwrite."
        raise DataError("the text gives another vocabulary than the one this run began with", remedy, str(run.folder))
    if other := other_software(then, threads):
        entry["sittings"].append({"versions": then, "threads": threads})
        tell(f"resume: the weights may differ in the last digits: begun with {'; '.join(other)}")


def same_data(entry: dict[str, Any], record: dict[str, Any], run: Run) -> None:
    """Refuse to go on with other text than the run began with: its tokens would mean something else."""
    changed = [file for file, digest in entry["data"].items() if record["data"].get(file) != digest]
    if changed:
        remedy = "Put back what the run began with, or begin anew with --overwrite."
        raise DataError(f"not the data this run began with: {', '.join(changed)} changed", remedy, str(run.folder))


def whole_package(run: Run) -> None:
    """Refuse to call a run finished whose package is not there, or not what was written.

    Raises:
        ModelError: So it is.
    """
    try:
        read_manifest(run.model)
    except OnehopError as error:
        problem = f"the run is finished, but its package cannot be used: {error.problem}"
        raise ModelError(problem, "Copy it here again, or begin anew with --overwrite.", error.where) from error


def finished(recipe: AnyRecipe, run: Run) -> Progress | None:
    """Return how far the run came, if its newest checkpoint lies at a limit that still holds."""
    saved, train = run.saved(), recipe.train
    progress = load_progress(saved[-1]) if saved else Progress()
    limited = train.max_updates or train.max_minutes or train.patience
    return progress if progress.finished and (not limited or limit_reached(train, progress)) else None
