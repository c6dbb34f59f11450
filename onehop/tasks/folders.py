"""Which folder a model's name means: a package, a run with one inside, one that ships with Onehop, or of a hub."""

from __future__ import annotations

from pathlib import Path

from onehop.errors import ModelError, nearest
from onehop.files import Run
from onehop.tasks.hub import download, hub_id
from onehop.tasks.names import MANIFEST

FOLDER = Path(__file__).parents[1] / "bundled" / "models"


def bundled() -> dict[str, Path]:
    """Return the packages that ship with Onehop, by name.

    Example:
        >>> all((folder / "onehop.json").is_file() for folder in bundled().values())
        True
    """
    if not FOLDER.is_dir():
        return {}
    return {path.name: path for path in sorted(FOLDER.iterdir()) if (path / MANIFEST).is_file()}


def find(model: str | Path, *, allow_pickle: bool = False) -> Path:
    """Return the folder that `model` means: a package or checkpoint here, a bundled package, or one of the hub.

    Args:
        model: Its folder, name or hub id.
        allow_pickle: Fetch weights of the hub that are a pickle, where there are no others.

    Raises:
        ModelError: It is none of them, or a run that has no package yet; or the hub cannot be reached.
    """
    folder = Path(model)
    if (folder / MANIFEST).is_file():
        return folder
    run = Run(folder)
    if (run.model / MANIFEST).is_file():
        return run.model
    if run.record.is_file():
        raise ModelError(
            "this run has no model yet", f"Train on: onehop train --out {folder} --resume", where=str(folder)
        )
    if (folder / "config.json").is_file():
        return folder
    if folder.exists():
        problem = f"not a model: there is neither {MANIFEST} nor config.json"
        raise ModelError(problem, "Name a run, its model/ folder, or a checkpoint.", where=str(folder))
    shipped = bundled()
    if str(model) in shipped:
        return shipped[str(model)]
    if wanted := hub_id(str(model)):
        return download(*wanted, allow_pickle=allow_pickle)
    raise ModelError("no such model", _remedy(str(model), list(shipped)), where=str(folder))


def _remedy(name: str, shipped: list[str]) -> str:
    if not shipped:
        return "Name a folder that `onehop train --out` made."
    hint = nearest(name, shipped)
    also = f"a bundled model: {', '.join(shipped)}{f' ({hint})' if hint else ''}."
    return f"Name a folder that `onehop train --out` made, or {also}"
