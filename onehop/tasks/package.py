"""A model package: weights, tokenizers, settings and golden outputs in one folder, under hashes.

    onehop.json         format, task, settings, precision, versions, sha256 of the other files, and its own
    model.safetensors   weights, in the precision that the first file names
    tokenizer.json      or source.tokenizer.json and target.tokenizer.json
    golden.jsonl        a few inputs with greedy outputs and the log-probability of each token
    MODEL_CARD.md       for people; not hashed

There is no time stamp anywhere: save, load, save gives the same bytes.
"""

from __future__ import annotations

import copy
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

from safetensors.torch import save

from onehop.config import validate
from onehop.data import evaluation_batches
from onehop.errors import ModelError
from onehop.files import new_folder, os_errors, sha256, to_json
from onehop.tasks.folders import MANIFEST, find
from onehop.tasks.settings import Precision, TranslationSettings
from onehop.tasks.translation import Translator
from onehop.tasks.weights import Undrawn, load_weights, pack, put, unpack, weights
from onehop.text import EOS, Tokenizer

FORMAT = "1.0"
WEIGHTS, GOLDEN, CARD = "model.safetensors", "golden.jsonl", "MODEL_CARD.md"
JOINT, SOURCE, TARGET = "tokenizer.json", "source.tokenizer.json", "target.tokenizer.json"


@dataclass(frozen=True)
class Package:
    """A task with what its package says beside it.

    Args:
        translator: The model with all it needs to run.
        golden: Lines of `golden.jsonl`.
        card: Text of the model card.
        versions: Of the software that made the package.
        precision: In which weights are stored; they compute in float32. `convert` makes one of another.
        path: The folder, where it was loaded from one.
        manifest: `onehop.json`, where it was loaded.
        record: How it was trained, so that `train --like` can do it again: recipe, hashes of the data; None if unknown.
    """

    translator: Translator
    golden: tuple[dict[str, Any], ...]
    card: str
    versions: Mapping[str, str]
    precision: Precision = "float32"
    path: Path | None = None
    manifest: Mapping[str, Any] | None = None
    record: Mapping[str, Any] | None = None


def new_package(
    translator: Translator, golden_sources: Sequence[str], card: str, record: Mapping[str, Any] | None = None
) -> Package:
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
    return Package(translator, tuple(golden(translator, golden_sources)), card, versions(), record=record)


def convert(package: Package, precision: Precision) -> Package:
    """Return the package with its weights rounded to what a precision can store, and golden lines of those weights.

    Matrices become float16, or int8 with a scale for each output row; see `onehop.tasks.weights`. What was rounded
    once stays so: float32 takes more room and gives nothing back.

    Raises:
        ModelError: A weight is too large for float16, or not finite.

    Example:
        >>> small = convert(load_package("runs/first"), "int8")
        >>> save_package(small, "runs/small")
        >>> load_package("runs/small").precision
        'int8'
    """
    old = package.translator
    translator = Translator(copy.deepcopy(old.model), old.source_tokenizer, old.target_tokenizer, old.settings)
    put(translator.model, unpack(pack(weights(old.model), precision)))
    lines = golden(translator, [line["source"] for line in package.golden])
    return Package(translator, tuple(lines), package.card, versions(), precision, record=package.record)


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
    """Write a package in its precision; the folder is replaced whole.

    Raises:
        FileError: The folder cannot be written.
        ModelError: A weight is not a finite number in that precision.

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
        WEIGHTS: save(pack(weights(translator.model), package.precision)),
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
        "precision": package.precision,
        "settings": package.translator.settings.model_dump(),
        "versions": dict(package.versions),
        "files": dict(hashed),
    }
    body |= {"record": package.record} if package.record is not None else {}
    return to_json({**body, "sha256": hashlib.sha256(to_json(body).encode()).hexdigest()})


# ------------------------------------------------------------------------------------------------ reading


def load_package(model: str | Path) -> Package:
    """Load a package, the package of a run, or a bundled one by its name, after checking every hash.

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
    precision = _precision(manifest, folder / MANIFEST)
    with Undrawn():
        translator = Translator.build(settings, source, target)
    load_weights(translator.model, folder / WEIGHTS, precision)
    translator.model.eval()
    with os_errors(folder, "read"):
        lines = (folder / GOLDEN).read_bytes().decode("utf-8", "surrogatepass").split("\n")
        card = (folder / CARD).read_bytes() if (folder / CARD).is_file() else b""
    outputs, text = tuple(json.loads(line) for line in lines if line), card.decode("utf-8", "surrogateescape")
    versions, record = manifest["versions"], manifest.get("record")
    return Package(translator, outputs, text, versions, precision, folder, manifest, record)


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
    missing = {"format", "task", "precision", "settings", "versions", "files"} - manifest.keys()
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


def _precision(manifest: Mapping[str, Any], path: Path) -> Precision:
    if manifest["precision"] not in get_args(Precision):
        problem = f"weights of the precision {manifest['precision']!r}"
        raise ModelError(problem, f"Update onehop; this one reads {', '.join(get_args(Precision))}.", str(path))
    return manifest["precision"]


def _tokenizer(path: Path) -> Tokenizer:
    with os_errors(path, "read"):
        return Tokenizer.from_json(path.read_text("utf-8"))
