"""A model package: weights, tokenizers, settings and golden outputs in one folder, under hashes.

    onehop.json         format, task, settings, precision, versions, sha256 of the other files, and its own
    model.safetensors   weights
    tokenizer.json      or source.tokenizer.json and target.tokenizer.json
    golden.jsonl        a few inputs with greedy outputs and the log-probability of each token
    MODEL_CARD.md       for people; not hashed

There is no time stamp anywhere: save, load, save gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from onehop.config import validate
from onehop.data import evaluation_batches
from onehop.errors import ModelError
from onehop.files import Run, new_folder, os_errors, sha256, to_json
from onehop.tasks.settings import TranslationSettings
from onehop.tasks.translation import Translator
from onehop.text import EOS, Tokenizer

FORMAT = "1.0"
MANIFEST, WEIGHTS, GOLDEN, CARD = "onehop.json", "model.safetensors", "golden.jsonl", "MODEL_CARD.md"
JOINT, SOURCE, TARGET = "tokenizer.json", "source.tokenizer.json", "target.tokenizer.json"


@dataclass(frozen=True)
class Package:
    """A task with what its package says beside it.

    Args:
        translator: The model with all it needs to run.
        golden: Lines of `golden.jsonl`.
        card: Text of the model card.
        versions: Of the software that made the package.
        path: The folder, where it was loaded from one.
        manifest: `onehop.json`, where it was loaded.
    """

    translator: Translator
    golden: tuple[dict[str, Any], ...]
    card: str
    versions: Mapping[str, str]
    path: Path | None = None
    manifest: Mapping[str, Any] | None = None


def new_package(translator: Translator, golden_sources: Sequence[str], card: str) -> Package:
    """Make a package of a trained model; its golden lines are computed here.

    Raises:
        ModelError: The translator is an ensemble.

    Example:
        >>> translator = onehop.load("runs/first")
        >>> new_package(translator, ["Hello."], "# A model").golden[0]["source"]
        'Hello.'
    """
    if translator.others:
        raise ModelError("an ensemble has no package", "Save each of its models by itself.")
    return Package(translator, tuple(golden(translator, golden_sources)), card, versions())


def versions() -> dict[str, str]:
    """Return the versions that decide what a model computes."""
    named = {name: version(name) for name in ("onehop", "torch", "tokenizers", "safetensors")}
    return {"python": platform.python_version(), **named}


def golden(translator: Translator, sources: Sequence[str]) -> list[dict[str, Any]]:
    """Return greedy outputs, with the log-probability of each token, end mark included."""
    decode = translator.settings.decode.searched(1)
    lines: list[dict[str, Any]] = []
    for source in sources:
        tokens = translator.source_tokenizer.encode(source)
        best = translator.search([tokens], decode)[0][0]
        target = [*best.tokens, EOS] if best.complete else best.tokens
        forced = translator.token_log_probs(next(evaluation_batches([tokens], [best.tokens], 1)))[0].tolist()
        rounded = [round(value, 5) for value in forced[: len(target)]]
        lines.append({"source": source, "target": best.text, "tokens": target, "log_probs": rounded})
    return lines


# ------------------------------------------------------------------------------------------------ writing


def save_package(package: Package, folder: str | Path) -> None:
    """Write a package; the folder is replaced whole.

    Raises:
        FileError: The folder cannot be written.

    Example:
        >>> save_package(load_package("runs/first"), "runs/copy")
        >>> load_package("runs/copy").manifest == load_package("runs/first").manifest
        True
    """
    with new_folder(folder) as new:
        files = _files(package)
        for name, data in files.items():
            (new / name).write_bytes(data)
        hashed = {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != CARD}
        (new / MANIFEST).write_bytes(_manifest(package, hashed).encode())


def _files(package: Package) -> dict[str, bytes]:
    translator = package.translator
    lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in package.golden)
    files = {
        WEIGHTS: save(weights(translator.model)),
        GOLDEN: lines.encode("utf-8", "surrogatepass"),
        CARD: package.card.encode("utf-8", "surrogateescape"),
    }
    if translator.joint:
        return {**files, JOINT: translator.source_tokenizer.to_json().encode()}
    source, target = translator.source_tokenizer.to_json(), translator.target_tokenizer.to_json()
    return {**files, SOURCE: source.encode(), TARGET: target.encode()}


def _manifest(package: Package, hashed: Mapping[str, str]) -> str:
    body = {
        "format": FORMAT,
        "task": package.translator.task,
        "precision": "float32",
        "settings": package.translator.settings.model_dump(),
        "versions": dict(package.versions),
        "files": dict(hashed),
    }
    return to_json({**body, "sha256": hashlib.sha256(to_json(body).encode()).hexdigest()})


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return every parameter once, tied ones under their first name."""
    return {name: parameter.detach().contiguous() for name, parameter in model.named_parameters()}


# ------------------------------------------------------------------------------------------------ reading


def find(model: str | Path) -> Path:
    """Return the package folder that `model` means: a package, or a run with one inside.

    Raises:
        ModelError: It is neither, or the run has no package yet.
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
    if folder.exists():
        raise ModelError(f"not a model: there is no {MANIFEST}", "Name a run or its model/ folder.", where=str(folder))
    raise ModelError("no such model", "Name a folder that `onehop train --out` made.", where=str(folder))


def load_package(model: str | Path) -> Package:
    """Load a package, or the package of a run, after checking every hash.

    Raises:
        ModelError: Not a model, of another task, damaged, or made by a newer Onehop; says which file and what to do.

    Example:
        >>> load_package("runs/first").manifest["task"]
        'translation'
    """
    folder = find(model)
    manifest = read_manifest(folder)
    settings = validate(TranslationSettings, manifest["settings"], str(folder / MANIFEST), "settings.")
    names = manifest["files"]
    source = _tokenizer(folder / (JOINT if JOINT in names else SOURCE))
    target = source if JOINT in names else _tokenizer(folder / TARGET)
    translator = Translator.build(settings, source, target)
    _load_weights(translator.model, folder / WEIGHTS)
    translator.model.eval()
    with os_errors(folder, "read"):
        lines = (folder / GOLDEN).read_bytes().decode("utf-8", "surrogatepass").split("\n")
        card = (folder / CARD).read_bytes() if (folder / CARD).is_file() else b""
    record = tuple(json.loads(line) for line in lines if line)
    return Package(translator, record, card.decode("utf-8", "surrogateescape"), manifest["versions"], folder, manifest)


def read_manifest(folder: Path, task: str = Translator.task) -> dict[str, Any]:
    """Return `onehop.json` after checking its own hash and those of the files it names."""
    path = folder / MANIFEST
    with os_errors(path, "read"):
        text = path.read_bytes()
    again = "Copy the package again, or train it again; nothing of it can be trusted."
    try:
        manifest = json.loads(text)
        canonical, claimed = to_json(manifest).encode(), manifest.pop("sha256")
        body = to_json(manifest).encode()
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ModelError("damaged: not a manifest of Onehop", again, str(path)) from error
    if canonical != text or hashlib.sha256(body).hexdigest() != claimed:
        raise ModelError("changed since it was written: its hash does not fit", again, str(path))
    missing = {"format", "task", "settings", "versions", "files"} - manifest.keys()
    if missing:
        raise ModelError("damaged: not a manifest of Onehop", again, str(path))
    if str(manifest["format"]).split(".")[0] != FORMAT.split(".")[0]:
        raise ModelError(
            f"package format {manifest['format']}, this Onehop reads {FORMAT}", "Update onehop.", str(path)
        )
    if manifest["task"] != task:
        raise ModelError(f"a model of the task {manifest['task']!r}, not {task!r}", "Name another model.", str(folder))
    for name, expected in manifest["files"].items():
        if Path(name).name != name:
            raise ModelError(f"names a file outside its folder: {name!r}", "Do not use this package.", str(path))
        if not (folder / name).is_file():
            raise ModelError("missing from the package", again, str(folder / name))
        if sha256(folder / name) != expected:
            raise ModelError("changed since it was written: its hash does not fit", again, str(folder / name))
    names = {WEIGHTS, GOLDEN} | ({JOINT} if JOINT in manifest["files"] else {SOURCE, TARGET})
    if not names <= manifest["files"].keys():
        raise ModelError("damaged: not a manifest of Onehop", again, str(path))
    return manifest


def _tokenizer(path: Path) -> Tokenizer:
    with os_errors(path, "read"):
        return Tokenizer.from_json(path.read_text("utf-8"))


def _load_weights(model: nn.Module, path: Path) -> None:
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"cannot read the weights: {error}", "Copy the package again.", str(path)) from error
    wanted = dict(model.named_parameters())
    faults = [f"missing {name}" for name in wanted if name not in found]
    faults += [f"unexpected {name}" for name in found if name not in wanted]
    faults += [
        f"{name} is {tuple(found[name].shape)}, not {tuple(parameter.shape)}"
        for name, parameter in wanted.items()
        if name in found and found[name].shape != parameter.shape
    ]
    if faults:
        raise ModelError(f"weights and settings do not fit: {'; '.join(faults)}", "Copy the package again.", str(path))
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(found[name])
