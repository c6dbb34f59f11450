"""What every task that reads whole texts prepares alike: data, vocabulary, lengths, batches, what is inherited.

A task adds its own targets (labels, numbers), its model and its loss; see `onehop.train.classify` and
`onehop.train.regress`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from onehop.data import Batch, PairStore, Split, TrainingBatches, hold_out, sample
from onehop.data.labelled import SEPARATOR, open_labelled
from onehop.data.tokens import BatchEncoder, LabelEncoder, names_of
from onehop.errors import ConfigError, DataError
from onehop.models.encoders import configure_encoder, encoder_family
from onehop.models.reach import within_reach
from onehop.tasks.classify_settings import DocumentLimits
from onehop.tasks.documents import Documents
from onehop.tasks.framed import FramedDocuments, documents_of
from onehop.text import Ledger, Tokenizer, default_max_length, limit, train_tokenizer
from onehop.train.choose import Tell, precision, tell_left_out
from onehop.train.classify_recipe import ARCHITECTURE
from onehop.train.parent import Parent, notices
from onehop.train.pretrained import begin, begin_with, family_head, is_pretrained, usual
from onehop.train.tune import layer_scales

SAMPLE = 100_000  # texts that vocabulary and lengths are chosen on
TEXTS = 32  # of a batch
RATES = {"transformer": 5e-4}  # peak; of the others 2e-3
EPOCHS = ((2_000, 20), (20_000, 10))  # passes over so many texts, where the recipe sets no limit; else 4
FEWEST = 200  # updates, likewise
FILLED = 0.98  # share of packed rows that is text


@dataclass(frozen=True)
class Read:
    """Texts with their targets, as they were read.

    Args:
        store: All of them.
        split: Which are for validation.
        columns: Names of the texts' columns; none where the table has none.
    """

    store: PairStore
    split: Split
    columns: tuple[str, ...]

    @property
    def num_pairs(self) -> int:
        """Texts to train on."""
        return len(self.store) - len(self.split.held)

    def sample(self) -> list[str]:
        """Return texts that vocabulary and lengths can be chosen on: none of those for validation."""
        unseen = {pair.source for pair in self.split.validation} if len(self.split.held) else set[str]()
        return [pair.source for pair in sample(self.store, SAMPLE) if pair.source not in unseen]


@dataclass(frozen=True)
class Chosen:
    """What does not depend on a task's targets.

    Args:
        recipe: With all that was chosen filled in.
        tokenizer: Of the texts: the parent's, or a new one.
        parent: The model that is continued, or the encoder that is begun with.
    """

    recipe: Any
    tokenizer: Any
    parent: Parent | None

    def settings(self, columns: Sequence[str]) -> dict[str, Any]:
        """Return the settings that every task of whole texts has; see `onehop.tasks.TextSettings`."""
        recipe, theirs = self.recipe, (self.parent.task.settings if self.parent else None)
        return {
            "architecture": recipe.model["architecture"],
            "model": {key: value for key, value in recipe.model.items() if key != "architecture"},
            "rows": getattr(theirs, "rows", None),
            "head": recipe.head,
            "text": DocumentLimits(
                max_length=recipe.text.max_length or 1,
                sentences=bool(recipe.text.sentences),
                windows=self._windows(theirs),
            ),
            "columns": list(columns) if len(columns) > 1 else [],
            "language": recipe.data.language,
            "license": notices(recipe.data.license, theirs.license if theirs else ""),
            "attribution": notices(recipe.data.attribution, getattr(theirs, "attribution", "")),
        }

    def _windows(self, theirs: Any) -> Literal["averaged", "pooled"]:
        """Return how texts in windows are read: as they are learnt from, or as the model that goes on reads them."""
        before = theirs.text.windows if theirs and not is_pretrained(self.parent) else "averaged"
        return "pooled" if self.recipe.text.long == "window" else before

    def weigh(self, task: Any) -> Any:
        """Give a task the weights it begins with, if it does not begin anew; return it."""
        begin(task, self.parent, self.recipe.train, begin_with)
        if self.recipe.train.layer_decay:
            layer_scales(task.model, self.recipe.train.layer_decay)  # refused before anything is written
        return task

    def batches(self, read: Read, documents: Any, targets: BatchEncoder) -> TrainingBatches:
        """Return the batches to train on; where long texts are an error, all have been looked at."""
        text, train = self.recipe.text, self.recipe.train
        found = TrainingBatches(
            read.store, documents, targets,
            batch_tokens=train.tokens, max_length=text.max_length or 1, long_policy=text.long or "error",
            seed=train.seed, held=read.split.held, packing=bool(train.packing), finish=counted,
        )  # fmt: skip
        if text.long == "error":
            found.check_lengths()
        return found

    def held_out(self, read: Read, documents: Any, targets: BatchEncoder, tell: Tell) -> Held:
        """Return the validation texts within the length limit."""
        ledger = Ledger("valid", self.recipe.text.max_length or 1, self.recipe.text.long or "error")
        pairs, held = read.split.validation, Held([], [], [], ledger)
        encoded = documents.encode_batch([pair.source for pair in pairs])
        wanted = targets.encode_batch([pair.target for pair in pairs])
        names = targets.labels if isinstance(targets, LabelEncoder) else ()
        for number, (pair, tokens, target) in enumerate(zip(pairs, encoded, wanted, strict=True)):
            with ledger.of(*names_of(names, target)):
                where = read.split.where(number).source
                divided = ledger.policy == "window"
                row = documents.in_windows(tokens, ledger, where) if divided else limit(tokens, ledger, where)
            if row is not None:
                held.rows.append(row)
                held.texts.append(pair.source)
                held.targets.append(target)
        if summary := ledger.summary():
            tell(summary)
        return held


@dataclass(frozen=True)
class Held:
    """Validation texts within the length limit.

    Args:
        texts: As they were read.
        rows: Their tokens.
        targets: The tokens that encode the target of each; one, but of sets of labels.
        ledger: What the limit did.
    """

    texts: list[str]
    rows: list[list[int]]
    targets: list[list[int]]
    ledger: Ledger


def chosen(recipe: Any, read: Read, parent: Parent | None, tell: Tell, device: str, *, best: str) -> Chosen:
    """Choose what the recipe leaves open.

    Args:
        recipe: As the user wrote it, or as it was inherited.
        read: The data.
        parent: The model to continue.
        tell: Hears what was chosen and why.
        device: Where it will train.
        best: The figure that chooses the model kept, where the recipe names none.
    """
    recipe = recipe.model_copy(
        update={"train": precision(recipe.train, device, tell, pretrained=is_pretrained(parent))}
    )
    recipe, texts = resolve(recipe, parent), read.sample()
    tokenizer = parent.task.tokenizer if parent else vocabulary(recipe, texts, tell)
    documents = documents_of(tokenizer, sentences=bool(recipe.text.sentences), language=recipe.data.language)
    _windows_fit(recipe, documents)
    recipe = packed(recipe, isinstance(documents, FramedDocuments))
    recipe, mean = lengths(recipe, documents, texts, tell)
    recipe = choose(recipe, read.num_pairs, mean, tell, best, pretrained=is_pretrained(parent))
    return Chosen(recipe, tokenizer, parent)


def _windows_fit(recipe: Any, documents: Documents | FramedDocuments) -> None:
    """Refuse windows that cannot be pooled.

    Raises:
        ConfigError: The encoder is no pretrained one, or the pooling takes one state of a text.
    """
    if recipe.text.long != "window":
        return
    if not isinstance(documents, FramedDocuments):
        problem = "an encoder that is not pretrained reads texts of any length whole, and has no windows"
        raise ConfigError(problem, "Give a larger text.max_length, or use error, drop or cut.", "text.long")
    if recipe.head.pooling in ("cls", "last"):
        problem = f"head.pooling = {recipe.head.pooling!r} takes one state, and a text in windows has one in each"
        raise ConfigError(problem, "Use attention, mean or max, or leave it out.", "head.pooling")


def read_data(recipe: Any, folder: Path, tell: Tell) -> Read:
    """Read training and validation texts with their targets."""
    data = recipe.data
    store, columns = _read(recipe, data.train, folder, tell)
    valid: PairStore | None = None
    if data.valid:
        valid, others = _read(recipe, data.valid, folder, tell)
        if len(others) != len(columns):
            problem = f"{len(others)} columns of text where the training data have {len(columns)}"
            raise DataError(problem, "Name them: data.text_columns", data.valid[0])
        split, how = Split.of(valid), "from your validation files"
    else:
        split, how = hold_out(store), "held out by hash of the text"
    tell(f"data: {len(store) - len(split.held):,} training texts, {len(split.validation):,} for validation ({how})")
    if not split.validation:
        tell("data: too few texts to hold any out: no validation, and the last model is the one kept")
    tell_left_out(store, valid, "rows with an empty text or no label", tell)
    return Read(store, split, columns)


def _read(recipe: Any, files: Sequence[str], folder: Path, tell: Tell) -> tuple[PairStore, tuple[str, ...]]:
    store, columns = PairStore(folder), tuple[str, ...]()
    for place, file in enumerate(files):
        table = open_labelled(file, recipe.data.columns)
        if place and len(table.texts) != len(columns):
            problem = f"{len(table.texts)} columns of text where the first file has {len(columns)}"
            raise DataError(problem, "Name them: data.text_columns", file)
        columns = table.texts
        if columns:
            named = " and ".join(map(repr, columns))
            tell(f"data: {file}: texts from {named}, labels from {table.label!r}")
        store.add_numbered(table.numbered(), file, table.place)
    if not len(store):
        problem = f"no text with a label ({store.num_skipped} rows without one or the other)"
        raise DataError(problem, "Check that this is the file you meant.", ", ".join(files))
    return store, columns


def resolve(recipe: Any, parent: Parent | None) -> Any:
    """Resolve the settings of the encoder, and whether sentences are told apart."""
    model = dict(recipe.model)
    name = model.pop("architecture", ARCHITECTURE)
    family = encoder_family(name)
    settings = configure_encoder(name, model).model_dump()
    reads = family.unit == "sentences"
    sentences = reads if recipe.text.sentences is None else recipe.text.sentences
    if reads and not sentences:
        raise ConfigError(f"the architecture {name!r} reads sentences", "Leave text.sentences out.", "text.sentences")
    if reads and recipe.train.packing:
        problem = f"the architecture {name!r} reads the segments of a row as sentences, not as packed texts"
        raise ConfigError(problem, "Leave train.packing out.", "train.packing")
    if recipe.train.activation_checkpointing and name != "transformer":
        raise ConfigError("this family has no blocks", "Leave it out.", "train.activation_checkpointing")
    text = recipe.text.model_copy(update={"sentences": sentences})
    return recipe.model_copy(update={"model": {"architecture": name, **settings}, "text": text})


def vocabulary(recipe: Any, texts: Sequence[str], tell: Tell) -> Tokenizer:
    """Train the vocabulary on the training texts."""
    text, characters = recipe.text, sum(map(len, texts))
    planned = next((size for limit, size in SIZES if characters < limit), 16_000)
    parts = [part for line in texts for part in line.split(SEPARATOR)]
    size = text.vocab_size or planned
    tokenizer = train_tokenizer(parts, size, text.algorithm, text.normalization, text.coverage)
    if text.vocab_size and tokenizer.vocab_size < size:
        problem = f"the text gives no more than {tokenizer.vocab_size} pieces, not {size}"
        raise ConfigError(problem, "Leave it out to have it chosen; or give more text.", "text.vocab_size")
    tell(f"text: vocabulary of {tokenizer.vocab_size:,} pieces")
    return tokenizer


SIZES = ((100_000, 1_000), (1_000_000, 4_000), (10_000_000, 8_000))  # characters, and pieces for fewer than those


def lengths(recipe: Any, documents: Documents | FramedDocuments, texts: Sequence[str], tell: Tell) -> tuple[Any, float]:
    """Choose the longest text and what becomes of longer ones, unless the user did; also return the mean length."""
    some = texts[:: max(1, len(texts) // 10_000)]
    found = np.array([len(row) for row in documents.encode_batch(some)])
    given = recipe.text.max_length
    max_length = within_reach(given or default_max_length(found), bool(given), recipe.model, writes=False)
    policy = recipe.text.long or ("error" if given else "cut")
    fates = {"drop": "are dropped", "cut": "are cut", "error": "are an error", "window": "are read in windows"}
    fate, share = fates[policy], 100 * float(np.mean(found <= max_length))
    tell(f"text: up to {max_length} tokens, which holds {share:.1f} % of the texts; longer ones {fate}")
    text = recipe.text.model_copy(update={"max_length": max_length, "long": policy})
    read = found if policy == "window" else np.minimum(found, max_length)
    return recipe.model_copy(update={"text": text}), float(read.mean()) + 1


def packed(recipe: Any, framed: bool) -> Any:
    """Choose whether texts share rows, unless the user did: those of a pretrained encoder do.

    Packed rows hold texts in any order. Fine-tuned on batches of like length instead, all-MiniLM-L6-v2 reached a
    Matthews correlation of 0.27 on CoLA, judged on rows held out of its training part, in place of 0.33 (means of three
    seeds). Why is not known: labels there do not depend on length.

    Args:
        recipe: Of any task that reads an encoder.
        framed: Whether texts stand between the marks of a pretrained encoder.
    """
    packing = framed if recipe.train.packing is None else recipe.train.packing
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"packing": packing})})


def choose(
    recipe: Any, num_pairs: int, mean: float, tell: Tell, best: str = "accuracy", *, pretrained: bool = False
) -> Any:
    """Fill in what the recipe leaves open of training."""
    train, name = recipe.train, recipe.model["architecture"]
    for key in ("frozen", "fresh_layers", "lora_rank"):
        if getattr(train, key) and not train.init:
            raise ConfigError("a model that begins anew has nothing to keep", "Name train.init.", f"train.{key}")
    filled = FILLED if train.packing else 1.0
    batch = train.batch_tokens or min(16_384, max(256, round(TEXTS * mean / filled)))
    rate = train.learning_rate or (1.0 if train.schedule == "noam" else RATES.get(name, 2e-3))
    changes: dict[str, Any] = {"batch_tokens": batch, "best": train.best or best}
    changes["learning_rate"] = train.learning_rate or (rate / 3 if train.init else rate)
    updates = train.max_updates
    changes |= usual(train) if pretrained else {}
    if not (updates or train.max_minutes):
        epochs = 3 if pretrained else next((count for most, count in EPOCHS if num_pairs < most), 4)
        tokens = epochs * num_pairs * mean
        updates = changes["max_updates"] = max(FEWEST, round(tokens / (filled * int(batch) * train.accumulate)))
        tell(f"length: {updates:,} updates, about {epochs} times over {num_pairs:,} texts")
    most = 1_000_000 if pretrained else 200
    changes["warmup"] = train.warmup or max(1, min(most, updates // 10 if updates else 100))
    return recipe.model_copy(update={"train": train.model_copy(update=changes)})


def inherit(recipe: Any, parent: Parent) -> Any:
    """Return the recipe with the parent's model, vocabulary and limits.

    Raises:
        ConfigError: Lists every key that contradicts the parent, with the parent's value.
    """
    theirs: Any = parent.task.settings
    windows = recipe.text.long == "window"
    head = family_head(recipe.head, theirs, windows=windows) if is_pretrained(parent) else theirs.head
    fixed = {
        "model": {"architecture": theirs.architecture, **theirs.model},
        "head": head.model_dump(),
        "text": {"max_length": theirs.text.max_length, "sentences": theirs.text.sentences},
    }
    fewer = recipe.text.max_length
    if fewer and is_pretrained(parent) and fewer < theirs.text.max_length:
        fixed["text"]["max_length"] = fewer  # an encoder that has learnt no task yet may read less than it can
    asked: dict[str, dict[str, Any]] = {
        "model": recipe.model,
        "head": {key: getattr(recipe.head, key) for key in recipe.head.model_fields_set},
        "text": {key: getattr(recipe.text, key) for key in ("max_length", "sentences")},
    }
    free = ("dropout", "attention_dropout", "word_dropout")
    faults = [
        f"{table}.{key} = {value!r}, but the model that train.init names has {fixed[table].get(key)!r}"
        for table, keys in asked.items()
        for key, value in keys.items()
        if key not in free and value is not None and value != fixed[table].get(key)
    ]
    if faults:
        raise ConfigError("; ".join(faults), "Leave them out, or begin anew without train.init.", "train.init")
    own = {key: value for key, value in recipe.model.items() if key in free}
    usual_long = "window" if theirs.text.windows == "pooled" else "cut"
    long = recipe.text.long or ("error" if fixed["text"]["max_length"] < theirs.text.max_length else usual_long)
    text = recipe.text.model_copy(update={"long": long, **fixed["text"]})
    language = recipe.data.language or getattr(theirs, "language", "")
    return recipe.model_copy(
        update={
            "model": {**fixed["model"], **own},
            "head": head.model_copy(update={k: v for k, v in asked["head"].items() if k in free}),
            "text": text,
            "data": recipe.data.model_copy(update={"language": language}),
        }
    )


def counted(batch: Batch) -> Batch:
    """Return a batch that counts its texts, not their labels and end marks."""
    return replace(batch, num_targets=len(batch.pairs))
