"""`onehop.json`: what a package says of itself, and the check that its files are those it speaks of."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from onehop.errors import ModelError
from onehop.files import os_errors, sha256, to_json
from onehop.tasks.header import read_header
from onehop.tasks.names import GOLDEN, JOINT, LARGEST, MANIFEST, SOURCE, TARGET, WEIGHTS
from onehop.tasks.registry import check_task
from onehop.tasks.settings import Precision

FORMAT, FIRST = "1.1", "1.0"
NEW = ("labels", "lengths", "fingerprints", "drift")  # what packages of 1.0 do not have

AGAIN = "Copy the package again, or train it again; nothing of it can be trusted."
FOREIGN = "Do not use this package, unless you know why it is so."


class Manifest(BaseModel):
    """The keys of `onehop.json` and what they may hold; a newer minor version may have more of them."""

    model_config = ConfigDict(strict=True, extra="ignore")

    format: str
    task: str
    precision: str
    settings: dict[str, Any]
    versions: dict[str, str]
    files: dict[str, str]
    labels: list[str] | None = None
    lengths: dict[str, int] | None = None
    fingerprints: dict[str, dict[str, str]] | None = None
    drift: str | None = None
    record: dict[str, Any] | None = None
    adapter: dict[str, Any] | None = None


def to_manifest(body: Mapping[str, Any]) -> str:
    """Return the text of `onehop.json`, which carries the hash of the rest of it."""
    return to_json({**body, "sha256": hashlib.sha256(to_json(body).encode()).hexdigest()})


def read_manifest(folder: Path, task: str | None = None) -> dict[str, Any]:
    """Return `onehop.json` after checking its own hash and those of the files it names.

    Args:
        folder: The package.
        task: That the model must have; None for any that this Onehop knows.

    Raises:
        ModelError: It is damaged, of another task or a newer format, or a file is not the one it names.
    """
    path = folder / MANIFEST
    manifest = _parse(read_whole(path), path)
    later = [name for name in NEW if name in manifest] if manifest["format"] == FIRST else []
    if later or not re.fullmatch(r"\d+\.\d+", manifest["format"]) or manifest.get("record", {}) is None:
        raise ModelError("damaged: not a manifest of Onehop", AGAIN, str(path))  # what no Onehop writes
    if manifest["format"].split(".")[0] != FORMAT.split(".")[0]:
        raise ModelError(
            f"package format {manifest['format']}, this Onehop reads {FORMAT}", "Update onehop.", str(path)
        )
    check_task(manifest["task"], task, str(folder))
    if manifest["precision"] not in get_args(Precision):
        problem = f"weights of the precision {manifest['precision']!r}"
        raise ModelError(problem, f"Update onehop; this one reads {', '.join(get_args(Precision))}.", str(path))
    names = {WEIGHTS, GOLDEN} | ({JOINT} if JOINT in manifest["files"] else {SOURCE, TARGET})
    for name, expected in manifest["files"].items():
        _check(folder, name, expected)
    if not names <= manifest["files"].keys():
        raise ModelError("damaged: not a manifest of Onehop", AGAIN, str(path))
    return manifest


def task_of(folder: Path) -> str:
    """Return the task of a package, without looking at its other files.

    Raises:
        ModelError: Its `onehop.json` is damaged.
    """
    return _parse(read_whole(folder / MANIFEST), folder / MANIFEST)["task"]


def is_adapter(folder: Path) -> bool:
    """Whether a folder is the package of an adapter, without looking at its other files.

    Raises:
        ModelError: Its `onehop.json` is damaged.
    """
    path = folder / MANIFEST
    return path.is_file() and _parse(read_whole(path), path).get("adapter") is not None


def _parse(text: bytes, path: Path) -> dict[str, Any]:
    """Return the object, if it has its keys, its one form, and the hash that it tells."""
    try:
        manifest = json.loads(text)
        canonical, claimed = to_json(manifest).encode(), manifest.pop("sha256")
        body = to_json(manifest).encode()
        known = canonical == text and hashlib.sha256(body).hexdigest() == claimed
        if known:
            Manifest.model_validate(manifest)
            manifest["sha256"] = claimed
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ModelError(f"damaged: not a manifest of Onehop ({where})", AGAIN, str(path)) from error
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ModelError("damaged: not a manifest of Onehop", AGAIN, str(path)) from error
    if not known:
        raise ModelError("changed since it was written: its hash does not fit", AGAIN, str(path))
    return manifest


def _check(folder: Path, name: str, expected: str) -> None:
    """Check a file of the package: that it lies in the folder and has its hash."""
    path = folder / name
    if "\0" in name or "\\" in name or Path(name).name != name:
        raise ModelError(f"names a file outside its folder: {name!r}", FOREIGN, str(folder / MANIFEST))
    with os_errors(path, "read"):
        there = path.is_file()
    if not there:
        raise ModelError("missing from the package", AGAIN, str(path))
    _within(path)
    if name == WEIGHTS:
        read_header(path)  # a file of another size is known for one without being read
    if sha256(path) != expected:
        raise ModelError("changed since it was written: its hash does not fit", AGAIN, str(path))


def _within(path: Path) -> None:
    """Refuse a link that leads out of the folder."""
    if path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve()):
        raise ModelError("a link that leads out of the package", "Put the file itself there.", str(path))


def read_whole(path: Path) -> bytes:
    """Return the bytes of a file of a package, if it is no larger than such a file can be.

    Raises:
        ModelError: It is larger, or a link that leads out of the package.
        FileError: It cannot be read.
    """
    _within(path)
    with os_errors(path, "read"), open(path, "rb") as stream:
        data = stream.read(LARGEST[path.name] + 1)
    if len(data) > LARGEST[path.name]:
        raise ModelError(f"larger than {LARGEST[path.name] >> 20} MiB", FOREIGN, str(path))
    return data
