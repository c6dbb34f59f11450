"""Packages and checkpoints from a Hugging Face hub, by `owner/name` or `owner/name@revision`.

Only files of the names that a package has are asked for, one by one, all of one commit, and kept in a folder of that
commit in the user's cache. Nothing that a server says becomes part of a path, but for a checked commit.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from onehop.errors import FileError, ModelError, OnehopError
from onehop.files import cache_folder, new_folder, sha256, write_text
from onehop.tasks.manifest import task_of
from onehop.tasks.names import CARD, GOLDEN, JOINT, LARGEST, MANIFEST, SOURCE, TARGET, WEIGHTS
from onehop.tasks.tensors import INDEX, PICKLE, WHOLE, shards
from onehop.text.vocabularies import NAMES

PART = r"\w[\w.-]{0,95}"
HUB_ID = re.compile(rf"({PART}/{PART})(?:@(\w[\w./-]{{0,95}}))?", re.ASCII)
COMMIT = re.compile("[0-9a-f]{40}")
CONFIG, POOLING, FORMATS = "config.json", "1_Pooling/config.json", (WHOLE, INDEX, PICKLE)
OPTIONAL = (*NAMES.values(), "modules.json", "sentence_bert_config.json", POOLING)  # of a checkpoint
SECONDS = 10  # that a server may take to answer, and for each further part of a file
PATIENCE, SLOWEST = 30.0, 1024  # seconds, and then the bytes in each of them, without which a file is given up
SHARE = 0.9  # of the disk's free space, which one file may take
DAMAGED = "Try again, or tell its owner."
AWAY = {"TimeoutException", "NetworkError", "ProxyError"}  # kinds of httpx's errors by which no server answers
TRIES = 2  # for a file that does not come as the manifest says


def hub_id(model: str) -> tuple[str, str | None] | None:
    """Return the repository and the revision that a name means, or None where it is no hub id.

    What begins with the name of a file or folder that is here is a path.

    Example:
        >>> hub_id("somebody/en-de@v1")
        ('somebody/en-de', 'v1')
        >>> hub_id("./runs/first") is None
        True
    """
    found = HUB_ID.fullmatch(model)
    if not found or ".." in model or Path(found[1].partition("/")[0]).exists():
        return None
    return found[1], found[2]


def download(repository: str, revision: str | None, *, allow_pickle: bool = False) -> Path:
    """Return the folder of a package or a checkpoint, after fetching it where the cache has not that commit yet.

    Args:
        repository: `owner/name`.
        revision: A branch, a tag or a commit; None for the main branch.
        allow_pickle: Fetch a checkpoint's `pytorch_model.bin`, where it has no other weights.

    Raises:
        ModelError: There is no such package, or the hub cannot be reached and the cache has none.
        FileError: The cache cannot be written.
    """
    named = repository if revision is None else f"{repository}@{revision}"
    home = cache_folder() / "hub" / repository.replace("/", "--")
    pinned = bool(revision and COMMIT.fullmatch(revision))
    if revision and pinned and _is_model(home / revision, allow_pickle):
        return home / revision
    reference = home / f"{hashlib.sha256((revision or 'main').encode()).hexdigest()[:16]}.commit"
    commit, kind = _commit(repository, revision, named, reference)
    if pinned and commit != revision:
        raise ModelError(f"the hub sent the commit {commit} instead", "Do not use this hub.", named)
    if not _is_model(home / commit, allow_pickle):
        with new_folder(home / commit) as folder:
            if kind == MANIFEST:
                _fill(folder, repository, commit, named)
            else:
                _fill_checkpoint(folder, repository, commit, named, allow_pickle)
    if not pinned:
        write_text(reference, commit)
    return home / commit


def _is_model(folder: Path, allow_pickle: bool) -> bool:
    """Whether a folder of the cache holds a model; a checkpoint without the pickle that it has must be fetched anew."""
    if (folder / MANIFEST).is_file():
        return True
    return (folder / CONFIG).is_file() and (not allow_pickle or any((folder / name).is_file() for name in FORMATS))


def _commit(repository: str, revision: str | None, named: str, reference: Path) -> tuple[str, str]:
    """Return the commit that a revision is at, or was when there was a network, and the file that tells what it is."""
    from huggingface_hub import get_hf_file_metadata

    kind = MANIFEST
    try:
        try:
            with _told(named, MANIFEST):
                found = get_hf_file_metadata(_url(repository, MANIFEST, revision), timeout=SECONDS)
        except MissingError:
            kind = CONFIG
            try:
                with _told(named, CONFIG):
                    found = get_hf_file_metadata(_url(repository, CONFIG, revision), timeout=SECONDS)
            except MissingError as error:
                problem = f"no model: it has neither {MANIFEST} nor {CONFIG}"
                raise MissingError(problem, "Name another model.", named) from error
    except UnreachableError as error:
        known = reference.read_text("utf-8") if reference.is_file() else ""
        if COMMIT.fullmatch(known):
            return known, kind
        raise ModelError(error.problem, error.remedy, error.where) from error
    if not COMMIT.fullmatch(found.commit_hash or ""):
        raise ModelError("what answers there is no hub: it names no commit", "Check HF_ENDPOINT.", named)
    return str(found.commit_hash), kind


def _fill(folder: Path, repository: str, commit: str, named: str) -> None:
    """Fetch the files that the manifest names, each with its hash, and the card if there is one."""
    _fetch(folder / MANIFEST, repository, commit, named)
    try:
        task_of(folder)  # whole, by its own hash
    except ModelError as error:
        raise ModelError(f"{MANIFEST} came damaged: {error.problem}", DAMAGED, named) from error
    files: dict[str, str] = json.loads((folder / MANIFEST).read_bytes())["files"]
    for name in filter(files.__contains__, (GOLDEN, JOINT, SOURCE, TARGET, WEIGHTS)):
        for attempt in range(TRIES):
            _fetch(folder / name, repository, commit, named)
            if sha256(folder / name) == files[name]:
                break
            if attempt == TRIES - 1:  # nothing of it is kept, so that the next call begins again
                raise ModelError(f"{name} came damaged: its hash does not fit", DAMAGED, named)
    try:
        _fetch(folder / CARD, repository, commit, named)
    except MissingError:
        (folder / CARD).unlink(missing_ok=True)


def _fill_checkpoint(folder: Path, repository: str, commit: str, named: str, allow_pickle: bool) -> None:
    """Fetch what a checkpoint of `transformers` has of the files that Onehop reads."""
    _fetch(folder / CONFIG, repository, commit, named)
    (folder / POOLING).parent.mkdir()
    for name in OPTIONAL:
        _fetch_if_there(folder / name, repository, commit, named, name)
    for name in FORMATS if allow_pickle else FORMATS[:2]:
        if _fetch_if_there(folder / name, repository, commit, named, name):
            break
    if (folder / INDEX).is_file():
        for shard in shards(folder / INDEX, there=False):
            _fetch(shard, repository, commit, named)
    if not any((folder / POOLING).parent.iterdir()):
        (folder / POOLING).parent.rmdir()


def _fetch_if_there(path: Path, repository: str, commit: str, named: str, name: str) -> bool:
    try:
        _fetch(path, repository, commit, named, name)
    except MissingError:
        path.unlink(missing_ok=True)
        return False
    return True


def _fetch(path: Path, repository: str, commit: str, named: str, name: str = "") -> None:
    """Write one file of a commit, of the name of the path or another, to a path."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import build_hf_headers

    most = min(LARGEST.get(path.name, 1 << 50), int(SHARE * shutil.disk_usage(path.parent).free))
    with _told(named, path.name):
        session, url = cast("Any", get_session()), _url(repository, name or path.name, commit)
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        request = session.stream("GET", url, headers=headers, follow_redirects=True, timeout=SECONDS)
        began = time.monotonic()
        with request as response, open(path, "wb") as stream:
            if response.status_code != HTTPStatus.OK:  # whose body is never read: it may have no end
                raise _refused(response.status_code, response.headers.get("X-Error-Code", ""), path.name, named)
            for data in response.iter_bytes():
                stream.write(data)
                if stream.tell() > most:
                    raise ModelError(f"{path.name} is larger than {most >> 20} MiB", "Do not use it.", named)
                if (waited := time.monotonic() - began - PATIENCE) > 0 and stream.tell() < SLOWEST * waited:
                    raise _unreachable(f"{path.name} comes at less than {SLOWEST} bytes a second", named)


def _refused(status: int, code: str, name: str, named: str) -> ModelError:
    """Return the error for an answer that is no file."""
    if status == HTTPStatus.NOT_FOUND and code not in ("RepoNotFound", "RevisionNotFound"):
        return MissingError(f"no package of Onehop: it has no {name}", "Name another model.", named)
    return ModelError(f"the hub refused {name}: {code or 'status'} {status}", "Try again later.", named)


def _url(repository: str, name: str, revision: str | None) -> str:
    from huggingface_hub import hf_hub_url

    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    return hf_hub_url(repository, name, revision=revision, endpoint=endpoint)


class UnreachableError(ModelError):
    """There is no way to the hub, or it is not to be used."""


class MissingError(ModelError):
    """The repository has no such file."""


@contextmanager
def _told(named: str, name: str) -> Generator[None]:
    """Turn whatever goes wrong between here and a server into one message."""
    from huggingface_hub import errors

    try:
        yield
    except OnehopError:
        raise
    except errors.EntryNotFoundError as error:
        raise MissingError(f"no package of Onehop: it has no {name}", "Name another model.", named) from error
    except (errors.HFValidationError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        problem = "no such model: neither a folder here, nor a repository of the hub with this name and revision"
        raise ModelError(problem, "Check the name; that of a folder may begin with ./", named) from error
    except errors.HfHubHTTPError as error:
        raise ModelError(f"the hub refused {name}: {_first(error)}", "Try again later.", named) from error
    except OSError as error:
        if isinstance(error, errors.OfflineModeIsEnabled):
            raise _unreachable("HF_HUB_OFFLINE is set", named) from error
        if error.errno is None:
            raise _unreachable(_first(error), named) from error
        raise FileError(f"cannot be written: {_first(error)}", "Name another cache: ONEHOP_CACHE.", name) from error
    except Exception as error:
        known = "httpx" in type(error).__module__ or "httpcore" in type(error).__module__
        if not known and not isinstance(error, ValueError):  # which a place that is none is to the hub's library
            raise
        if AWAY & {base.__name__ for base in type(error).__mro__}:
            raise _unreachable(_first(error), named) from error
        problem = f"what the hub answers for {name} cannot be used: {_first(error)}"
        raise UnreachableError(problem, "Try again; or check HF_ENDPOINT and the way to it.", named) from error


def _unreachable(why: str, named: str) -> UnreachableError:
    problem = f"no such folder, and no hub to ask for a model of this name: {why}"
    return UnreachableError(problem, "Name a folder that `onehop train --out` made, or go online.", named)


def _first(error: Exception) -> str:
    return str(error).split("\n")[0][:200] or type(error).__name__
