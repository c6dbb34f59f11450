"""From a recipe with `task = "classify"` to everything a run trains: labels, vocabulary, sizes, the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onehop.data import Batch, Pair, PairStore, Split, TrainingBatches, evaluation_batches, hold_out, sample
from onehop.data.check.labels import judge_labelled
from onehop.data.labelled import SEPARATOR, open_labelled
from onehop.errors import ConfigError, DataError
from onehop.models.encoders import configure_encoder, encoder_family
from onehop.nn.loss import linear_cross_entropy
from onehop.nn.masks import places
from onehop.tasks.classification import Classifier
from onehop.tasks.classify_settings import ClassifySettings, DocumentLimits
from onehop.tasks.documents import Documents
from onehop.tasks.framed import FramedDocuments, documents_of
from onehop.tasks.weights import put, weights
from onehop.text import Ledger, Tokenizer, default_max_length, limit, train_tokenizer
from onehop.train.choose import Tell, precision
from onehop.train.classify_card import Classified, LabelledTexts, classifier_card
from onehop.train.classify_recipe import ARCHITECTURE, ClassifyRecipe, encoder_faults
from onehop.train.jobs import Job
from onehop.train.objective import Forgetful, Objective
from onehop.train.parent import Parent, notices
from onehop.train.pretrained import begin_with, family_head, is_pretrained, usual
from onehop.train.progress import Progress

SAMPLE = 100_000  # texts that vocabulary and lengths are chosen on
CHECKED = 20_000  # texts whose labels are looked at first
TEXTS = 32  # of a batch
RATES = {"transformer": 5e-4}  # peak; of the others 2e-3
EPOCHS = ((2_000, 20), (20_000, 10))  # passes over so many texts, where the recipe sets no limit; else 4
FEWEST = 200  # updates, likewise


@dataclass(frozen=True)
class PreparedClassifier:
    """What `fit` needs; see `onehop.train.jobs.Ready`.

    Args:
        recipe: With everything that was chosen filled in.
        task: With fresh weights, or those of the parent.
        batches: For training.
        validation: Held-out texts with their labels.
        num_pairs: Training texts.
        store: The text that the numbers of a batch's examples refer to.
        limited: What the length limit did to the validation texts.
        parent: The model that the run continues, if it does.
    """

    recipe: ClassifyRecipe
    task: Classifier
    batches: TrainingBatches
    validation: LabelledTexts
    num_pairs: int
    store: PairStore
    limited: Ledger
    parent: Parent | None = None

    unit = "texts"

    def objective(self, device: str) -> Objective:
        """Return the loss of a batch."""
        train, task, kind = self.recipe.train, self.task, torch.device(device).type
        narrow = train.precision == "bfloat16"

        def loss(model: Any, batch: Batch) -> Tensor:
            with torch.autocast(kind, torch.bfloat16, enabled=narrow):
                return loss_sum(task, model, batch, train.label_smoothing)

        return Forgetful(loss)

    def validator(self) -> LabelledTexts:
        """Return the held-out texts."""
        return self.validation

    def sample_batch(self, rows: int, words: int) -> Batch:
        """Return a batch of texts of so many tokens."""
        return counted(next(evaluation_batches([[5] * words] * rows, [[0]] * rows, rows * (words + 1))))

    def tokenizers(self) -> dict[str, Tokenizer]:
        """Return the one there is."""
        return {"text": self.task.tokenizer}

    def card(self, progress: Progress, loss: float, found: Classified) -> str:
        """Return the model card."""
        return classifier_card(self, progress, loss, found)


def loss_sum(task: Classifier, model: Any, batch: Batch, smoothing: float = 0.0) -> Tensor:
    """Return the summed cross-entropy of the texts' labels, in nats.

    Args:
        task: Says how rows are read.
        model: Its model.
        batch: Texts, packed or a row each, with the ids of their labels as targets.
        smoothing: See `onehop.nn.cross_entropy`.
    """
    source = task.source(batch.source, batch.source_lengths)
    if batch.source_segments is not None:
        source = replace(source, segments=batch.source_segments)
    pooled = model.dropout(model.pool(source))
    return linear_cross_entropy(pooled, model.output.weight, model.output.bias, labels_of(batch), smoothing)


def labels_of(batch: Batch) -> Tensor:
    """Return the id of each text's label, text by text: the token that stands before its end mark."""
    if batch.target_segments is None:
        return batch.target[:, 0]
    first = (places(batch.target_segments) == 0) & (batch.target_segments >= 0)
    return batch.target[first]


def counted(batch: Batch) -> Batch:
    """Return a batch that counts its texts, not their labels and end marks."""
    return replace(batch, num_targets=len(batch.pairs))


class LabelIds:
    """Encodes the name of a label as one token, its id.

    Args:
        labels: In the order of their ids.
        names: Of labels that the data call otherwise.
        where: Of the data, for messages.
    """

    def __init__(self, labels: Sequence[str], names: dict[str, str], where: str) -> None:
        self.ids = {label: [place] for place, label in enumerate(labels)}
        self.ids |= {value: self.ids[name] for value, name in names.items() if name in self.ids}
        self.where = where

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the id of each label."""
        for text in texts:
            if text not in self.ids:
                raise DataError(f"the label {text!r}, which the model does not know", "Mend it.", self.where)
        return [self.ids[text] for text in texts]


# ------------------------------------------------------------------------------------------------ preparing


def prepare(
    recipe: ClassifyRecipe, folder: Path, tell: Tell, device: str = "cpu", parent: Parent | None = None
) -> PreparedClassifier:
    """Read the data, choose what the recipe leaves open, and build the model.

    Args:
        recipe: As the user wrote it, or as it was inherited.
        folder: Where a large corpus is spooled.
        tell: Hears what was chosen and why.
        device: Where it will train.
        parent: The model to continue.
    """
    store, split, columns = read_data(recipe, folder, tell)
    num_pairs = len(store) - len(split.held)
    unseen = {pair.source for pair in split.validation} if len(split.held) else set[str]()
    pairs = [pair for pair in sample(store, SAMPLE) if pair.source not in unseen]
    labels = find_labels(recipe, store, split, parent, tell)
    recipe = recipe.model_copy(update={"train": precision(recipe.train, device, tell)})
    recipe = resolve(recipe, parent)
    sentences = bool(recipe.text.sentences)
    texts = [pair.source for pair in pairs]
    tokenizer = parent.task.tokenizer if parent else vocabulary(recipe, texts, tell)
    documents = documents_of(tokenizer, sentences=sentences, language=recipe.data.language)
    if recipe.train.packing and isinstance(documents, FramedDocuments):
        problem = "a pretrained encoder reads one text a row, between its marks"
        raise ConfigError(problem, "Leave train.packing out.", "train.packing")
    recipe, mean = lengths(recipe, documents, texts, tell)
    recipe = choose(recipe, num_pairs, mean, tell, pretrained=is_pretrained(parent))
    task = new_model(recipe, labels, columns, tokenizer, parent)
    max_length, policy = recipe.text.max_length or 1, recipe.text.long or "error"
    ids = LabelIds(labels, recipe.data.names, "training data")
    batches = TrainingBatches(
        store, documents, ids,
        batch_tokens=recipe.train.tokens, max_length=max_length, long_policy=policy, seed=recipe.train.seed,
        held=split.held, packing=recipe.train.packing, finish=counted,
    )  # fmt: skip
    if policy == "error":
        batches.check_lengths()
    ledger = Ledger.of_pairs("valid", max_length, policy)
    validation = held_out(task, split.validation, ids, ledger, recipe.train.tokens)
    if summary := ledger.summary():
        tell(summary)
    return PreparedClassifier(recipe, task, batches, validation, num_pairs, store, ledger, parent)


def read_data(recipe: ClassifyRecipe, folder: Path, tell: Tell) -> tuple[PairStore, Split, tuple[str, ...]]:
    """Read training and validation texts with their labels; return the names of the texts' columns, too."""
    data = recipe.data
    store, columns = _read(recipe, data.train, folder, tell)
    if data.valid:
        valid, others = _read(recipe, data.valid, folder, tell)
        if len(others) != len(columns):
            problem = f"{len(others)} columns of text where the training data have {len(columns)}"
            raise DataError(problem, "Name them: data.text_columns", data.valid[0])
        split, how = Split(list(valid), np.empty(0, np.int64)), "from your validation files"
    else:
        split, how = hold_out(store), "held out by hash of the text"
    tell(f"data: {len(store) - len(split.held):,} training texts, {len(split.validation):,} for validation ({how})")
    if not split.validation:
        tell("data: too few texts to hold any out: no validation, and the last model is the one kept")
    if store.num_skipped:
        tell(f"data: {store.num_skipped:,} rows with an empty text or no label were left out")
    return store, split, columns


def _read(recipe: ClassifyRecipe, files: Sequence[str], folder: Path, tell: Tell) -> tuple[PairStore, tuple[str, ...]]:
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
        store.add(table.pairs(), file, place=table.place)
    if not len(store):
        problem = f"no text with a label ({store.num_skipped} rows without one or the other)"
        raise DataError(problem, "Check that this is the file you meant.", ", ".join(files))
    return store, columns


def find_labels(recipe: ClassifyRecipe, store: PairStore, split: Split, parent: Parent | None, tell: Tell) -> list[str]:
    """Return the labels of the training texts, numbers in their order, others by the alphabet; tell what looks wrong.

    Raises:
        DataError: There is only one, or a validation text has another.
    """
    names, where = recipe.data.names, ", ".join(recipe.data.train)
    held, found = set(split.held.tolist()), dict[str, int]()
    for index in range(store.num_blocks):
        for number, value in zip(store.numbers(index), store.columns(index)[1], strict=True):
            if number not in held:
                label = names.get(value, value)
                found[label] = found.get(label, 0) + 1
    unused = [value for value, name in names.items() if name not in found]
    if unused:
        raise DataError(f"no label {', '.join(unused)}", "Mend data.label_names.", where)
    if len(found) < 2:
        problem = f"one label only, {next(iter(found), '')!r}: there is nothing to learn"
        raise DataError(problem, "Give texts of two labels at least.", where)
    size = sum(found.values())
    if len(found) > max(50, size // 2):
        problem = f"{len(found):,} labels of {size:,} texts: these are values, not classes"
        raise DataError(problem, "Name the column of labels: data.label_column", where)
    labels = list(parent.task.labels) if parent and parent.task.labels else sorted(found, key=_order)
    for number, pair in enumerate(split.validation):
        label = names.get(pair.target, pair.target)
        if label not in labels:
            file = ", ".join(recipe.data.valid) or where
            known = f"The training texts have {', '.join(labels[:20])}."
            raise DataError(f"text {number + 1} for validation has the label {label!r}", known, file)
    if unknown := [label for label in found if label not in labels]:
        problem = f"the labels {', '.join(unknown)}, which the model that train.init names does not know"
        raise DataError(problem, f"It knows {', '.join(labels)}. Begin anew without train.init.", where)
    usual = max(found, key=lambda label: found[label])
    share = 100 * found[usual] / size
    shown = ", ".join(f"{label} {found.get(label, 0):,}" for label in labels[:10]) + (", …" if len(labels) > 10 else "")
    tell(f"data: {len(labels)} labels ({shown}); always {usual!r} would be right in {share:.1f} %")
    if recipe.data.check:
        _check(store, tell)
    return labels


def _check(store: PairStore, tell: Tell) -> None:
    """Tell what looks wrong with some of the labels and texts."""
    numbered = list(sample(store, CHECKED))
    step = len(store) / max(1, len(numbered))
    where = [store.where(int(place * step)).source for place in range(len(numbered))]
    for finding in judge_labelled([p.target for p in numbered], [p.source for p in numbered], where):
        if finding.severity == "note" or finding.name == "label-constant":
            continue
        detail = f": {finding.detail}" if finding.detail else ""
        first = f", first {finding.lines[0]}" if finding.lines else ""
        tell(f"data: {finding.severity}: {finding.count:,} {finding.kind.what} ({finding.name}{first}){detail}")


def _order(label: str) -> tuple[bool, float, str]:
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label


# ------------------------------------------------------------------------------------------------ choosing


def resolve(recipe: ClassifyRecipe, parent: Parent | None) -> ClassifyRecipe:
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


def vocabulary(recipe: ClassifyRecipe, texts: Sequence[str], tell: Tell) -> Tokenizer:
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


def lengths(
    recipe: ClassifyRecipe, documents: Documents | FramedDocuments, texts: Sequence[str], tell: Tell
) -> tuple[ClassifyRecipe, float]:
    """Choose the longest text and what becomes of longer ones, unless the user did; also return the mean length."""
    some = texts[:: max(1, len(texts) // 10_000)]
    found = np.array([len(row) for row in documents.encode_batch(some)])
    given = recipe.text.max_length
    max_length = given or default_max_length(found)
    policy = recipe.text.long or ("error" if given else "cut")
    fate = {"drop": "are dropped", "cut": "are cut", "error": "are an error"}[policy]
    share = 100 * float(np.mean(found <= max_length))
    tell(f"text: up to {max_length} tokens, which holds {share:.1f} % of the texts; longer ones {fate}")
    text = recipe.text.model_copy(update={"max_length": max_length, "long": policy})
    return recipe.model_copy(update={"text": text}), float(np.minimum(found, max_length).mean()) + 1


def choose(
    recipe: ClassifyRecipe, num_pairs: int, mean: float, tell: Tell, *, pretrained: bool = False
) -> ClassifyRecipe:
    """Fill in what the recipe leaves open of training."""
    train, name = recipe.train, recipe.model["architecture"]
    batch = train.batch_tokens or min(16_384, max(256, round(TEXTS * mean)))
    rate = train.learning_rate or (1.0 if train.schedule == "noam" else RATES.get(name, 2e-3))
    changes: dict[str, Any] = {"batch_tokens": batch, "best": train.best or "accuracy"}
    changes["learning_rate"] = train.learning_rate or (rate / 3 if train.init else rate)
    updates = train.max_updates
    changes |= usual(train) if pretrained else {}
    if not (updates or train.max_minutes):
        epochs = 3 if pretrained else next((count for most, count in EPOCHS if num_pairs < most), 4)
        tokens = epochs * num_pairs * mean
        updates = changes["max_updates"] = max(FEWEST, round(tokens / (int(batch) * train.accumulate)))
        tell(f"length: {updates:,} updates, about {epochs} times over {num_pairs:,} texts")
    most = 1_000_000 if pretrained else 200
    changes["warmup"] = train.warmup or max(1, min(most, updates // 10 if updates else 100))
    return recipe.model_copy(update={"train": train.model_copy(update=changes)})


def new_model(
    recipe: ClassifyRecipe,
    labels: list[str],
    columns: tuple[str, ...],
    tokenizer: Tokenizer,
    parent: Parent | None,
) -> Classifier:
    """Build what is trained; random weights, or the parent's."""
    theirs: Any = parent.task.settings if parent else None
    settings = ClassifySettings(
        architecture=recipe.model["architecture"],
        model={key: value for key, value in recipe.model.items() if key != "architecture"},
        rows=getattr(theirs, "rows", None),
        head=recipe.head,
        labels=labels,
        aliases=recipe.data.names or getattr(theirs, "aliases", {}),
        text=DocumentLimits(max_length=recipe.text.max_length or 1, sentences=bool(recipe.text.sentences)),
        columns=list(columns) if len(columns) > 1 else [],
        language=recipe.data.language,
        license=notices(recipe.data.license, theirs.license if theirs else ""),
        attribution=notices(recipe.data.attribution, getattr(theirs, "attribution", "")),
    )
    torch.manual_seed(recipe.train.seed)
    task = Classifier.build(settings, tokenizer)
    if parent and is_pretrained(parent):
        begin_with(task, parent.task)
    elif parent:
        put(task.model, weights(parent.task.model))
    return task


def held_out(
    task: Classifier, pairs: Sequence[Pair], ids: LabelIds, ledger: Ledger, batch_tokens: int
) -> LabelledTexts:
    """Return the validation texts within the length limit."""
    rows: list[list[int]] = []
    kept: list[str] = []
    wanted: list[int] = []
    encoded = task.documents.encode_batch([pair.source for pair in pairs])
    labels = ids.encode_batch([pair.target for pair in pairs])
    for number, (pair, tokens, label) in enumerate(zip(pairs, encoded, labels, strict=True), 1):
        row = limit(tokens, ledger, f"valid:{number}")
        if row is not None:
            rows.append(row)
            kept.append(pair.source)
            wanted.append(label[0])
    return LabelledTexts(task, kept, rows, wanted, batch_tokens)


def inherit(recipe: ClassifyRecipe, parent: Parent) -> ClassifyRecipe:
    """Return the recipe with the parent's model, vocabulary and limits.

    Raises:
        ConfigError: Lists every key that contradicts the parent, with the parent's value.
    """
    theirs: Any = parent.task.settings
    head = family_head(recipe.head, theirs) if is_pretrained(parent) else theirs.head
    fixed = {
        "model": {"architecture": theirs.architecture, **theirs.model},
        "head": head.model_dump(),
        "text": {"max_length": theirs.text.max_length, "sentences": theirs.text.sentences},
    }
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
    text = recipe.text.model_copy(update={"long": recipe.text.long or "cut", **fixed["text"]})
    language = recipe.data.language or getattr(theirs, "language", "")
    return recipe.model_copy(
        update={
            "model": {**fixed["model"], **own},
            "head": head.model_copy(update={k: v for k, v in asked["head"].items() if k in free}),
            "text": text,
            "data": recipe.data.model_copy(update={"language": language}),
        }
    )


JOB = Job(ClassifyRecipe, encoder_faults, prepare, inherit)
