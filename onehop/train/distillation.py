"""Sequence-level distillation: a small model learns from what a large one writes (Kim and Rush 2016).

The teacher's translations are more alike than people's, so that a model with a fraction of the layers comes nearer to
the teacher than it would on the text itself. What is validated stays what people wrote.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from onehop.data import Pair, PairStore, Split
from onehop.errors import ConfigError
from onehop.files import new_text, os_errors, to_json, write_text
from onehop.tasks.settings import DecodeConfig
from onehop.tasks.translation import Translator
from onehop.tasks.weights import weights
from onehop.train.choose import Tell
from onehop.train.parent import notices
from onehop.train.prepare import read_data
from onehop.train.recipe import TRANSLATION, DataConfig, Recipe

CHUNK = 2_000  # sources that are translated together, and whose translations are kept if the run is stopped
WRITTEN, VALIDATION, OF = "train.jsonl", "valid.jsonl", "distilled.json"
TEACHER = "of its teacher"
EVERY = 20.0  # seconds between two lines of progress


@dataclass
class Counts:
    """What became of the sources.

    Args:
        sources: Of training, each once.
        long: Left out, since the teacher reads no lines of that length.
        endless: Left out, since the teacher came to no end, or wrote nothing.
    """

    sources: int = 0
    long: int = 0
    endless: int = 0


def distill(
    teacher: Translator, recipe: Recipe, folder: Path, decode: DecodeConfig | None = None, *, tell: Tell = print
) -> Recipe:
    """Write the teacher's translations of the training sources; return the recipe that trains a student on them.

    A source that stands in the text several times is translated once. A call that was stopped goes on where it was.

    Args:
        teacher: As fast as it runs: `Translator.fast`.
        recipe: Of the student; its data are what the teacher translates.
        folder: Of the new text.
        decode: How the teacher searches; default: as its package says.
        tell: Hears how far it is.

    Raises:
        ConfigError: A recipe of another task, with tags or weights, or a folder of another teacher or text.

    Example:
        >>> recipe = onehop.train.make_recipe({"data": {"source": ["my.en"], "target": ["my.de"]}})
        >>> student = onehop.train.distill(onehop.load("runs/first").fast(), recipe, Path("runs/student.text"))
        data: 160 training pairs, 40 for validation (held out by hash of the source)
        distilled: 160 sources with what the teacher makes of them
        >>> student.data.pairs
        ['runs/student.text/train.jsonl']
    """
    _refuse(recipe)
    decode = decode or teacher.settings.decode
    with TemporaryDirectory() as spool:
        store, split = read_data(recipe, Path(spool), tell)
        identity = {"teacher": fingerprint(teacher), "decode": decode.model_dump(), "text": _digest(store, split)}
        _begin(folder, identity)
        if not (folder / WRITTEN).is_file():
            _write(folder / VALIDATION, split.validation)
            counts = _translate_all(teacher, decode, store, split, folder, tell)
            _join(folder, counts, identity)
    counts = Counts(**json.loads((folder / OF).read_text("utf-8"))["counts"])
    tell(f"distilled: {counts.sources - counts.long - counts.endless:,} sources with what the teacher makes of them")
    if counts.long or counts.endless:
        tell(f"distilled: left out {counts.long:,} too long for the teacher, {counts.endless:,} without an end")
    return _of_student(recipe, teacher, folder, bool(split.validation))


def fingerprint(translator: Translator) -> str:
    """Return a hash of what decides a model's translations: settings, vocabularies, weights."""
    model = translator.reference
    found = hashlib.sha256(to_json(model.settings.model_dump()).encode())
    for one in (model.source_tokenizer, model.target_tokenizer):
        found.update(one.to_json().encode())
    for name, value in sorted(weights(model.model).items()):
        found.update(name.encode() + value.float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _refuse(recipe: Recipe) -> None:
    if recipe.task != TRANSLATION:
        raise ConfigError(f"a recipe of the task {recipe.task!r}", "A teacher writes translations.", "task")
    for key in ("tags", "weights"):
        if getattr(recipe.data, key):
            remedy = "Distil the text of one teacher, then train with tags and weights on several such texts."
            raise ConfigError(f"data.{key} with a teacher", remedy, f"data.{key}")


def _digest(store: PairStore, split: Split) -> str:
    """Return a hash of the text: all sources, and the pairs of validation."""
    found = hashlib.sha256()
    for pair in store:
        found.update(pair.source.encode("utf-8", "surrogatepass") + b"\0")
    for pair in split.validation:
        found.update("\0".join(pair).encode("utf-8", "surrogatepass") + b"\1")
    return found.hexdigest()


def _begin(folder: Path, identity: Mapping[str, object]) -> None:
    """Make the folder, or see that what lies there is of the same teacher and text."""
    place = folder / OF
    if place.is_file():
        there = json.loads(place.read_text("utf-8"))
        for key, what in (("teacher", "teacher"), ("decode", "way to search"), ("text", "text")):
            if there.get(key) != identity[key]:
                raise ConfigError(
                    f"holds the translations of another {what}", "Remove the folder, or name another run.", str(folder)
                )
        return
    with os_errors(folder, "write"):
        folder.mkdir(parents=True, exist_ok=True)
    write_text(place, to_json({**identity, "counts": {}}))


def _translate_all(
    teacher: Translator, decode: DecodeConfig, store: PairStore, split: Split, folder: Path, tell: Tell
) -> Counts:
    """Write a part of the text for each chunk of sources that has none yet."""
    total, counts, done = sum(1 for _ in _sources(store, split)), Counts(), 0
    told, began = time.monotonic(), 0.0
    sources = iter(_sources(store, split))
    for number, chunk in enumerate(iter(lambda: list(islice(sources, CHUNK)), [])):
        part = folder / f"part-{number:06}.json"
        if not part.is_file():
            began = began or time.monotonic()
            found = teacher.translate(chunk, decode, split=False, long="drop")
            whole = [t for t in found if not t.dropped and t.complete and t.text.strip()]
            long = sum(t.dropped for t in found)
            kept = [[t.source, t.text] for t in whole]
            write_text(part, to_json({"pairs": kept, "long": long, "endless": len(found) - len(whole) - long}))
            done += len(chunk)
        counts.sources += len(chunk)
        if done and time.monotonic() - told > EVERY:
            told, seconds = time.monotonic(), time.monotonic() - began
            left = (total - counts.sources) * seconds / done / 60
            tell(f"teacher: {counts.sources:,} of {total:,} sources, {done / seconds:,.0f}/s, {left:.1f} minutes to go")
    return counts


def _sources(store: PairStore, split: Split) -> Iterator[str]:
    """Yield the training sources, each once, in their order."""
    held, seen = set(split.held.tolist()), set[bytes]()
    for number, pair in enumerate(store):
        key = hashlib.blake2b(pair.source.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        if number in held or key in seen:
            continue
        seen.add(key)
        yield pair.source


def _join(folder: Path, counts: Counts, identity: Mapping[str, object]) -> None:
    """Make one file of the parts, then remove them."""
    parts = sorted(folder.glob("part-*.json"))
    with new_text(folder / WRITTEN) as out:
        for part in parts:
            found = json.loads(part.read_text("utf-8"))
            counts.long, counts.endless = counts.long + found["long"], counts.endless + found["endless"]
            out.writelines(_line(Pair(*pair)) for pair in found["pairs"])
        write_text(folder / OF, to_json({**identity, "counts": vars(counts)}))
    for part in parts:
        part.unlink()


def _write(path: Path, pairs: Sequence[Pair]) -> None:
    with new_text(path) as out:
        out.writelines(map(_line, pairs))


def _line(pair: Pair) -> str:
    return json.dumps(pair._asdict(), ensure_ascii=False) + "\n"


def _of_student(recipe: Recipe, teacher: Translator, folder: Path, validated: bool) -> Recipe:
    """Return the recipe with the new text in place of the old, and the teacher's notices beside its own."""
    old, theirs = recipe.data, teacher.settings
    data = DataConfig(
        pairs=[str(folder / WRITTEN)],
        valid_pairs=[str(folder / VALIDATION)] if validated else [],
        source_language=old.source_language or theirs.source_language,
        target_language=old.target_language or theirs.target_language,
        check=False,  # it looks for people's mistakes
        license=notices(old.license, theirs.license, TEACHER),
        attribution=notices(old.attribution, theirs.attribution, TEACHER),
    )
    return recipe.model_copy(update={"data": data})
