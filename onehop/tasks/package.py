"""A model package: weights, tokenizers, settings and golden outputs in one folder, under hashes.

    onehop.json         format, task, settings, labels, lengths, precision, versions, fingerprints of the tokenizers,
                        sha256 of the other files, and its own
    model.safetensors   weights, in the precision that the first file names
    tokenizer.json      or source.tokenizer.json and target.tokenizer.json
    golden.jsonl        a few inputs with greedy outputs and the log-probability of each token
    MODEL_CARD.md       for people; not hashed

Of an adapter (`onehop.tasks.adapters`), the weights are those that it adds to another model, which `onehop.json` names.

There is no time stamp anywhere: save, load, save gives the same bytes.
"""

from __future__ import annotations

import copy
import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from onehop.config import validate
from onehop.errors import ModelError
from onehop.files import new_folder, sha256
from onehop.nn.mapped import tidy
from onehop.tasks.adapters import (
    Adapter,
    adapter_of,
    insert,
    is_kept,
    kept,
    load_base,
    located,
    merged,
    put_base,
    size_of,
    written,
)
from onehop.tasks.checkpoints import CONFIG, is_checkpoint, load_checkpoint
from onehop.tasks.folders import find
from onehop.tasks.foreign import task_of
from onehop.tasks.lines import read_golden, to_lines
from onehop.tasks.manifest import AGAIN, FIRST, FORMAT, NEW, is_adapter, read_manifest, read_whole, to_manifest
from onehop.tasks.names import CARD, GOLDEN, JOINT, MANIFEST, SOURCE, TARGET, WEIGHTS
from onehop.tasks.registry import Kind, Task, check_task, kind
from onehop.tasks.replay import circumstances, find_drift, is_remembered, remember
from onehop.tasks.settings import Precision
from onehop.tasks.tensor_file import write_tensors
from onehop.tasks.translation import Translator
from onehop.tasks.weights import Undrawn, check_shapes, load_weights, pack, put, unpack, weights
from onehop.text.pretrained import read_tokenizer

SHORT = ("a", "e", "1", ".")


@dataclass(frozen=True)
class Package:
    """A task with what its package says beside it.

    Args:
        task: The model with all it needs to run.
        golden: Lines of `golden.jsonl`.
        card: Text of the model card.
        versions: Of the software that made the package.
        precision: In which weights are stored; they compute in float32. `convert` makes one of another.
        path: The folder, where it was loaded from one.
        manifest: `onehop.json`, where it was loaded.
        record: How it was trained, so that `train --like` can do it again: recipe, hashes of the data; None if unknown.
        drift: What it computes otherwise than when it was made, where somebody allowed that; empty if nothing.
    """

    task: Any
    golden: tuple[dict[str, Any], ...]
    card: str
    versions: Mapping[str, str]
    precision: Precision = "float32"
    path: Path | None = None
    manifest: Mapping[str, Any] | None = None
    record: Mapping[str, Any] | None = None
    drift: str = ""

    @property
    def translator(self) -> Translator:
        """The task, which must be a translation.

        Raises:
            ModelError: It is another.
        """
        check_task(self.task.task, Translator.task, str(self.path or "MODEL"))
        return self.task


def new_package(task: Any, golden_texts: Sequence[str], card: str, record: Mapping[str, Any] | None = None) -> Package:
    """Make a package of a trained model of any task; its golden lines are computed here.

    Args:
        task: The model.
        golden_texts: Inputs of golden lines; those that are too long for the model are left out.
        card: Text of the model card.
        record: How it was trained. A model that has one has golden lines, of single letters if no text is short enough.

    Raises:
        ModelError: It is an ensemble.

    Example:
        >>> translator = onehop.load("runs/first")
        >>> new_package(translator, ["Hello."], "# A model").golden[0]["source"]
        'Hello.'
    """
    if getattr(task, "others", ()):
        raise ModelError("an ensemble has no package", "Save each of its models by itself.")
    lines = kind(task.task).lines(task, golden_texts)
    if not lines and record is not None:
        lines = kind(task.task).lines(task, SHORT)
    return Package(task, lines, card, versions(), record=record)


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
    task = copy.copy(package.task)
    task.model, task.drift = copy.deepcopy(package.task.model), ""
    put(task.model, {**weights(task.model), **unpack(pack(kept(package.task), precision))})
    lines = kind(task.task).lines(task, [line["source"] for line in package.golden])
    return Package(task, lines, package.card, versions(), precision, record=package.record, drift=package.drift)


def merge_package(package: Package) -> Package:
    """Return the package of an adapter as one that needs no base: its changes are added to the encoder's weights.

    Raises:
        ModelError: It is no adapter.
    """
    if adapter_of(package.task) is None:
        raise ModelError("no adapter: there is nothing to merge", "Leave --merge out.", str(package.path or ""))
    task = merged(package.task)
    task.drift = ""
    lines = kind(task.task).lines(task, [line["source"] for line in package.golden])
    return Package(task, lines, package.card, versions(), record=package.record, drift=package.drift)


def versions() -> dict[str, str]:
    """Return the versions that decide what a model computes."""
    named = {name: version(name) for name in ("onehop", "torch", "tokenizers", "safetensors")}
    return {"python": platform.python_version(), **named}


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
        hashed[WEIGHTS] = write_tensors(new / WEIGHTS, pack(kept(package.task), package.precision))
        (new / MANIFEST).write_bytes(_manifest(package, hashed, Path(folder)).encode())


def _files(package: Package) -> dict[str, bytes]:
    """Return what stands beside the weights."""
    tokenizers = {
        name: one.to_json().encode() for name, one in kind(package.task.task).tokenizers(package.task).items()
    }
    return {
        GOLDEN: to_lines(package.golden),
        CARD: _card(package.card),
        **tokenizers,
    }


def _card(text: str) -> bytes:
    """Return the card as it was read, whatever bytes it held; half a surrogate, as of a label, as `?`."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _manifest(package: Package, hashed: Mapping[str, str], folder: Path) -> str:
    task, of_task = package.task, kind(package.task.task)
    fingerprints = {name: one.fingerprint() for name, one in of_task.tokenizers(task).items()}
    body: dict[str, Any] = {
        "format": FORMAT,
        "task": task.task,
        "precision": package.precision,
        "settings": task.settings.model_dump(),
        "versions": dict(package.versions),
        "files": dict(hashed),
        "labels": None if task.labels is None else list(task.labels),
        "lengths": of_task.lengths(task.settings),
        "fingerprints": fingerprints,
        "drift": package.drift or None,
    }
    body |= {"record": package.record} if package.record is not None else {}
    adapter = adapter_of(task)
    body |= {"adapter": written(adapter, folder)} if adapter else {}
    if package.manifest and package.manifest["format"] == FIRST and not package.drift:
        body = {name: value for name, value in body.items() if name not in NEW} | {"format": FIRST}
    return to_manifest(body)


# ------------------------------------------------------------------------------------------------ reading


def load_package(
    model: str | Path,
    *,
    task: str | None = None,
    allow_drift: bool = False,
    allow_pickle: bool = False,
    device: str = "cpu",
    base: str | Path | None = None,
) -> Package:
    """Load a package, the package of a run, a bundled one by its name, one of the hub by its id, or a checkpoint.

    A checkpoint of `transformers` comes as a package that has not been saved yet: without golden lines.

    Every hash is checked, and the sizes of all tensors before memory is taken for them. The golden lines are done
    again, and the tokenizers' fingerprints taken, once for each package, version of the software, instruction set and
    kind of device.

    Args:
        model: Its folder or name; a hub id is `owner/name` or `owner/name@revision`.
        task: That it must have, such as `translation`; None for any.
        allow_drift: Accept a model that does otherwise than when it was made; the package's `drift` tells what.
        allow_pickle: Read the weights of a foreign checkpoint from a pickle, where there is no other file of them.
        device: Where to put the weights, as torch names it.
        base: Of an adapter: where the model is that it changes; default: where it was, seen from the package.

    Raises:
        ModelError: Not a model, of another task, damaged, drifted, or made by a newer Onehop; says which file and what
            to do.

    Example:
        >>> load_package("runs/first").manifest["task"]
        'translation'
    """
    folder = find(model, allow_pickle=allow_pickle)
    if is_checkpoint(folder):
        return _foreign(folder, task, allow_pickle, device)
    manifest = read_manifest(folder, task)
    of_task = kind(manifest["task"])
    loaded = _loaded(of_task, folder, manifest, base)
    _agree(of_task, loaded, manifest, folder / MANIFEST)
    loaded.to(device)
    lines = read_golden(folder / GOLDEN, lambda value: of_task.is_golden(loaded, value))
    loaded.drift = _drift(of_task, loaded, manifest, lines)
    if loaded.drift and not allow_drift:
        made = ", ".join(f"{name} {number}" for name, number in manifest["versions"].items())
        raise ModelError(
            f"does not do what it did when it was made: {loaded.drift}",
            f"Copy the package again, or use what it was made with ({made}). To use it as it is, add --allow-drift "
            "(in Python: allow_drift=True), or write it anew: onehop export MODEL OUT --allow-drift",
            str(folder),
        )
    card = read_whole(folder / CARD).decode("utf-8", "surrogateescape") if (folder / CARD).is_file() else ""
    drift = loaded.drift or manifest.get("drift") or ""
    return Package(
        loaded, lines, card, manifest["versions"], manifest["precision"], folder, manifest,
        record=manifest.get("record"), drift=drift,
    )  # fmt: skip


def _foreign(folder: Path, task: str | None, allow_pickle: bool, device: str) -> Package:
    """Return a checkpoint of `transformers` as a package."""
    checkpoint = load_checkpoint(folder, allow_pickle=allow_pickle)
    made = task_of(checkpoint)
    check_task(made.task, task, str(folder))
    made.to(device)
    of_task = kind(made.task)
    manifest = {
        "format": FORMAT,
        "settings": made.settings.model_dump(),
        "labels": None if made.labels is None else list(made.labels),
        "lengths": of_task.lengths(made.settings),
        "versions": versions(),
        "files": {name: sha256(folder / name) for name in (CONFIG, checkpoint.weights)},
    }
    card = f"# {folder.resolve().name}\n\nRead from a checkpoint of the class {checkpoint.class_name}.\n"
    return Package(made, (), card, versions(), "float32", folder, manifest)


def _loaded(of_task: Kind, folder: Path, manifest: Mapping[str, Any], base: str | Path | None) -> Any:
    where = str(folder / MANIFEST)
    settings = validate(of_task.settings, manifest["settings"], where, "settings.")
    names = [JOINT] if JOINT in manifest["files"] else [SOURCE, TARGET]
    tokenizers = {name: _tokenizer(folder / name) for name in names}
    entry, begun = manifest.get("adapter"), None
    adapter = None if entry is None else located(validate(Adapter, entry, where, "adapter."), folder, base)
    if adapter:
        begun = load_base(adapter, _whole, str(folder))
    elif base is not None:
        raise ModelError("no adapter: its weights are its own", "Leave --base out.", str(folder))

    def build() -> Any:
        task = of_task.build(settings, tokenizers)
        if adapter:
            insert(task, adapter)
        return task

    held = is_kept if adapter else lambda name: True
    check_shapes(lambda: build().model, folder / WEIGHTS, manifest["precision"], held, size_of(begun))
    with Undrawn():
        loaded = build()
    load_weights(loaded.model, folder / WEIGHTS, held)
    if begun is not None:
        put_base(loaded, begun, str(folder))
    loaded.model.eval()
    tidy()
    return loaded


def _whole(model: str) -> Any:
    """Return the task of a model with weights of its own, as the base of an adapter must be."""
    folder = find(model)
    if is_adapter(folder):  # perhaps of itself
        raise ModelError("it is an adapter itself", "Name a model that is none.", str(folder))
    return load_package(folder).task


def _tokenizer(path: Path) -> Any:
    try:
        return read_tokenizer(read_whole(path).decode())
    except UnicodeDecodeError as error:
        raise ModelError("damaged: not a tokenizer", AGAIN, str(path)) from error
    except ModelError as error:
        raise ModelError(error.problem, error.remedy, str(path)) from error


def _agree(of_task: Kind, task: Task, manifest: Mapping[str, Any], path: Path) -> None:
    """Check what stands twice in a package: label names and lengths, and which tokenizers have fingerprints."""
    if manifest["format"] == FIRST:
        return
    labels = None if task.labels is None else list(task.labels)
    if manifest.get("labels") != labels:
        raise ModelError(f"the labels {manifest.get('labels')}, where the model has {labels}", AGAIN, str(path))
    lengths = of_task.lengths(task.settings)
    if manifest.get("lengths") != lengths:
        raise ModelError(f"the lengths {manifest.get('lengths')}, where its settings say {lengths}", AGAIN, str(path))
    names = list(of_task.tokenizers(task))
    if sorted(manifest.get("fingerprints") or ()) != sorted(names):
        raise ModelError(f"no fingerprints of {' and '.join(names)}", AGAIN, str(path))


def _drift(of_task: Kind, task: Task, manifest: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> str:
    """Return what the model does otherwise than its package says; what held before is not done again."""
    key = circumstances(manifest["sha256"], versions(), task.device)
    if is_remembered(key):
        return ""
    fingerprints = manifest.get("fingerprints") or {}
    found = find_drift(task, lines, fingerprints, of_task.tokenizers(task), manifest["precision"])
    tidy(task.model.parameters())  # who packs the weights now reads them one by one
    if not found:
        remember(key)
    return found
