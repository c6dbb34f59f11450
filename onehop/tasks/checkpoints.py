"""Checkpoints of `transformers`, read: a folder with `config.json`, weights and a tokenizer, as it comes from a hub.

Strict, and all faults at once: a tensor too many, too few or of another shape, a vocabulary of another size than the
embeddings, an architecture or a setting that is not done here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from onehop.errors import ModelError, OnehopError
from onehop.files import os_errors
from onehop.models.checkpoint import (
    Layout,
    Pretrained,
    Use,
    build_pretrained,
    check,
    class_of,
    duplicates,
    layout,
    lines,
    plan,
    use_of,
)
from onehop.models.encoders import configure_encoder
from onehop.models.hf_config import whole
from onehop.models.keys import Key, refuse, to_ours
from onehop.tasks.names import MANIFEST
from onehop.tasks.tensors import Tensors, open_tensors
from onehop.tasks.weights import Undrawn, few_parameters, put
from onehop.text.pretrained import PretrainedTokenizer
from onehop.text.vocabularies import NAMES, TokenizerFiles, read_files

CONFIG, MODULES, POOLING, SENTENCES = (
    "config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json",
)  # fmt: skip
AGAIN = "Copy the checkpoint again."
LARGEST = 1 << 28  # bytes of any file but the weights
SPARE = 127  # rows of an embedding table that no token has: tables are padded to multiples of 64 or 128
ENDLESS = 1 << 30  # what tokenizer_config.json says where nobody thought of a length is larger


@dataclass(frozen=True)
class Reading:
    """How a checkpoint without a head makes one vector of a text.

    Args:
        pooling: `mean`, `cls` or `max`.
        unit: Whether the vector is brought to length 1.
    """

    pooling: str = "mean"
    unit: bool = True


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, loaded.

    Args:
        path: Its folder.
        model: Encoder and heads.
        tokenizer: Of what it reads.
        layout: Of its family.
        model_type: As `config.json` names the family.
        use: What it is for.
        heads: That it has.
        labels: Names of its classes, in the order of their ids; empty where it has none.
        settings: Of the encoder, resolved.
        config: `config.json`.
        reading: How it makes one vector of a text, where it has no head.
        max_length: Most tokens of a text, control tokens included.
        weights: Name of the file of the weights, or of the index of its shards.
    """

    path: Path
    model: Pretrained
    tokenizer: PretrainedTokenizer
    layout: Layout
    model_type: str
    use: Use
    heads: tuple[str, ...]
    labels: tuple[str, ...]
    settings: Mapping[str, Any]
    config: Mapping[str, Any]
    reading: Reading
    max_length: int
    weights: str

    @property
    def class_name(self) -> str:
        """Its class in `transformers`."""
        return class_of(self.layout, self.model_type, self.use, self.heads)


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder is a checkpoint of `transformers`."""
    return (folder / CONFIG).is_file() and not (folder / MANIFEST).is_file()


def load_checkpoint(folder: str | Path, *, allow_pickle: bool = False) -> Checkpoint:
    """Load a checkpoint of `transformers` from its folder.

    Args:
        folder: With `config.json`, weights and tokenizer.
        allow_pickle: Read a foreign `pytorch_model.bin`, where there is no safetensors.

    Raises:
        ModelError: It cannot be loaded; names the file and all that is wrong with it.
    """
    folder = Path(folder)
    config = _object(folder / CONFIG)
    where = str(folder / CONFIG)
    of = layout(str(config.get("model_type")), where)
    try:
        use = use_of(of, config, where)
        labels = _labels(config, where) if use in ("classify", "tag") else ()
        settings = of.read(config)
        vocab_size = whole(config, "vocab_size")
    except ModelError as error:
        raise ModelError(error.problem, error.remedy, where) from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:  # a list for a number, a word for an object
        problem = f"a setting of a kind that {config['model_type']} does not have: {error}"
        raise ModelError(problem, "Copy the checkpoint again.", where) from error
    tensors = open_tensors(folder, allow_pickle=allow_pickle)
    model, heads = _model(of, use, settings, tensors, vocab_size, len(labels))
    tokenizer = _tokenizer(folder)
    _fits(tokenizer, vocab_size, folder)
    resolved = configure_encoder(of.architecture, settings).model_dump()
    longest = min(resolved["max_positions"], _longest(folder))
    return Checkpoint(
        folder, model.eval(), tokenizer, of, str(config["model_type"]), use, tuple(heads), labels, resolved, config,
        _reading(folder), longest, tensors.path.name,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ weights


def _model(
    of: Layout, use: Use, settings: Mapping[str, Any], tensors: Tensors, vocab_size: int, count: int
) -> tuple[Any, list[str]]:
    """Return the model with its weights; shapes are checked before memory is taken."""
    names = [*tensors.shapes, *tensors.others]
    prefixed, heads = plan(of, use, names)
    ignored, repeats = duplicates(of, heads, names)
    where = str(tensors.path)
    whole = sorted(tensors.others - ignored)
    refuse([f"{name} holds whole numbers" for name in whole], where, "Use a checkpoint that is not quantised.")
    kept = {name: shape for name, shape in tensors.shapes.items() if name not in ignored}
    for name, first in repeats.items():
        kept.setdefault(first, kept[name])
        kept.pop(name)

    def build() -> Any:
        return build_pretrained(of, settings, heads, vocab_size, count)

    try:
        with few_parameters(4 * len(names) + 16), Undrawn(), torch.device("meta"):
            shell = build()
    except (RuntimeError, TypeError, ValueError, OverflowError, MemoryError) as error:
        raise ModelError(f"no such model can be made: {str(error)[:200]}", AGAIN, where) from error
    except OnehopError as error:
        raise ModelError(error.problem, error.remedy or AGAIN, error.where or where) from error
    table = lines(of, configure_encoder(of.architecture, settings), heads, prefixed)
    check(table, kept, shell, where)
    with Undrawn():
        model = build()
    put(model, _values(table, tensors, repeats, where))
    return model, heads


def _values(table: list[Key], tensors: Tensors, repeats: Mapping[str, str], where: str) -> dict[str, Any]:
    values = tensors.load()
    wrong: list[str] = []
    for name, first in repeats.items():
        if not torch.equal(values[name], values.setdefault(first, values[name])):
            wrong.append(f"{name} differs from {first}, with which it should share its numbers")
    refuse(wrong, where, "Use a checkpoint whose output shares its weights with the embeddings.")
    return to_ours(table, values)


def _labels(config: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Return the names of the classes in the order of their ids."""
    named = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    try:
        ordered = sorted((int(number), str(name)) for number, name in dict(named).items())
    except (ValueError, TypeError) as error:
        raise ModelError("id2label is no table of numbers and names", AGAIN, where) from error
    if [number for number, _ in ordered] != list(range(len(ordered))):
        raise ModelError(f"id2label has the numbers {[n for n, _ in ordered]}, which are not 0, 1, ...", AGAIN, where)
    names = tuple(name for _, name in ordered)
    if len(set(names)) < len(names):
        raise ModelError("id2label gives two classes one name", "Give each a name of its own.", where)
    claimed = config.get("label2id")
    if config.get("id2label") and claimed and dict(claimed) != {name: number for number, name in enumerate(names)}:
        raise ModelError("id2label and label2id of config.json disagree", "Ask its maker which is right.", where)
    return names


# ------------------------------------------------------------------------------------------------ text


def _tokenizer(folder: Path) -> PretrainedTokenizer:
    texts = {field: _text(folder / name) for field, name in NAMES.items()}
    try:
        return read_files(TokenizerFiles(**texts))
    except ModelError as error:
        raise ModelError(error.problem, error.remedy, error.where or str(folder)) from error


def _fits(tokenizer: PretrainedTokenizer, rows: int, folder: Path) -> None:
    """Check that each token has a row of the embeddings, and that not many rows have no token."""
    size = tokenizer.vocab_size
    if not rows - SPARE <= size <= rows:
        raise ModelError(
            f"a vocabulary of {size:,} tokens, and weights for {rows:,}",
            "Use the tokenizer that belongs to these weights.",
            str(folder),
        )


def _longest(folder: Path) -> int:
    """Return the most tokens that the tokenizer's settings allow."""
    found = [
        _optional(folder / "tokenizer_config.json").get("model_max_length"),
        _optional(folder / SENTENCES).get("max_seq_length"),
    ]
    known = [int(value) for value in found if isinstance(value, int | float) and 0 < value < ENDLESS]
    return min(known, default=ENDLESS)


def _reading(folder: Path) -> Reading:
    """Return what sentence-transformers' files say of pooling; where there are none, the default."""
    if not (folder / MODULES).is_file():
        return Reading()
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in _list(folder / MODULES)]
    unknown = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    if unknown:
        raise ModelError(
            f"modules that Onehop does not do: {', '.join(unknown)}", "It does Transformer, Pooling, Normalize.",
            str(folder / MODULES),
        )  # fmt: skip
    return Reading(_pooling(folder / POOLING), "Normalize" in kinds)


def _pooling(path: Path) -> str:
    config = _object(path)
    modes = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max"}
    asked = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    found = [modes[key] for key in asked if key in modes]
    if isinstance(config.get("pooling_mode"), str):
        asked, found = [config["pooling_mode"]], [m for m in ("mean", "cls", "max") if m == config["pooling_mode"]]
    if len(asked) != 1 or len(found) != 1:
        raise ModelError(
            f"the pooling {', '.join(asked) or 'of no kind'}", "Onehop does mean, cls or max, one of them.", str(path)
        )
    return found[0]


# ------------------------------------------------------------------------------------------------ files


def _text(path: Path) -> str | None:
    if not path.is_file():
        return None
    with os_errors(path, "read"), open(path, "rb") as stream:
        data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ModelError(f"larger than {LARGEST >> 20} MiB", "Do not use this checkpoint.", str(path))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError("not UTF-8", AGAIN, str(path)) from error


def _json(path: Path) -> Any:
    text = _text(path)
    if text is None:
        raise ModelError("missing from the checkpoint", AGAIN, str(path))
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"not JSON: {str(error)[:200]}", AGAIN, str(path)) from error


def _object(path: Path) -> dict[str, Any]:
    found = _json(path)
    if not isinstance(found, dict):
        raise ModelError("not an object", AGAIN, str(path))
    return found


def _optional(path: Path) -> dict[str, Any]:
    return _object(path) if path.is_file() else {}


def _list(path: Path) -> list[dict[str, Any]]:
    found = _json(path)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ModelError("not a list of objects", AGAIN, str(path))
    return found
