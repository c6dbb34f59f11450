"""Whether a run may be continued: with the recipe and the text it began with, and only if it is not finished."""

from __future__ import annotations

import json
from typing import Any

from onehop.errors import ConfigError, DataError, FileError
from onehop.files import Run, os_errors
from onehop.train.fit import limit_reached
from onehop.train.progress import Progress, load_progress
from onehop.train.recipe import Recipe, found_from, make_recipe, relative_to

LIMITS = {"max_updates", "max_minutes", "keep", "save_every", "patience"}  # of `train`: may differ when a run goes on


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


def same_recipe(recipe: Recipe, record: dict[str, Any], run: Run) -> None:
    """Refuse a recipe that is not, but for its limits, the one the run was given, nor that one resolved."""
    ours = _fixed(relative_to(recipe, run.folder))
    given, resolved = (_fixed(make_recipe(record[name])) for name in ("given", "recipe"))
    if ours in (given, resolved):
        return
    closer = min(given, resolved, key=lambda other: sum(len(_keys(ours[table], other[table])) for table in ours))
    differ = [f"{table}.{key}" for table in ours for key in _keys(ours[table], closer[table])]
    remedy = "Resume with the settings the run began with, or begin anew with --overwrite."
    raise ConfigError(f"not the recipe this run began with: {', '.join(differ)} differ", remedy, str(run.recipe))


def _fixed(recipe: Recipe) -> dict[str, Any]:
    """Return what may not change; a setting of the model that is None is as good as left out."""
    tables = recipe.model_dump(exclude={"train": LIMITS})
    return {**tables, "model": {key: value for key, value in tables["model"].items() if value is not None}}


def _keys(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    return [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]


def resumed(recipe: Recipe, record: dict[str, Any], run: Run) -> Recipe:
    """Return the run's resolved recipe with the limits of the one given, so that nothing is chosen anew.

    Limits may decide what is chosen, so another limit must not lead to another model.
    """
    resolved = found_from(make_recipe(record["recipe"]), run.folder)
    limits = {key: getattr(recipe.train, key) for key in LIMITS}
    if not (limits["max_updates"] or limits["max_minutes"]):
        limits["max_updates"] = resolved.train.max_updates
    return resolved.model_copy(update={"train": resolved.train.model_copy(update=limits)})


def same_data(entry: dict[str, Any], record: dict[str, Any], run: Run) -> None:
    """Refuse to go on with other text than the run began with: its tokens would mean something else."""
    changed = [file for file, digest in entry["data"].items() if record["data"].get(file) != digest]
    if changed and run.saved():
        remedy = "Put back what the run began with, or begin anew with --overwrite."
        raise DataError(f"not the data this run began with: {', '.join(changed)} changed", remedy, str(run.folder))


def finished(recipe: Recipe, run: Run) -> Progress | None:
    """Return how far the run came, if its newest checkpoint lies at a limit that still holds."""
    saved, train = run.saved(), recipe.train
    progress = load_progress(saved[-1]) if saved else Progress()
    limited = train.max_updates or train.max_minutes or train.patience
    return progress if progress.finished and (not limited or limit_reached(train, progress)) else None
