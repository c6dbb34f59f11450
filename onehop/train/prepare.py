"""From a recipe to everything a run trains: text read and split, vocabularies, sizes chosen, the model built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from onehop.data import (
    Batch,
    Columns,
    Pair,
    PairStore,
    Sampling,
    Split,
    TrainingBatches,
    evaluation_batches,
    hold_out,
    sample,
    table_columns,
)
from onehop.data.check import check_store, paragraph
from onehop.tasks.settings import TextLimits, TranslationSettings
from onehop.tasks.translation import Translator
from onehop.tasks.weights import put, weights
from onehop.text import Ledger, Tokenizer, limit_pair
from onehop.train.autobatch import find_batch_tokens
from onehop.train.card import model_card
from onehop.train.choose import (
    Tell,
    duration,
    fill,
    guess_tokens,
    judge,
    lengths,
    precision,
    tell_left_out,
    thread_seconds,
    vocabularies,
)
from onehop.train.jobs import Job
from onehop.train.objective import Objective, objective
from onehop.train.parent import Parent, inherit, kept_vocabularies, notices
from onehop.train.progress import Progress
from onehop.train.recipe import Recipe, model_faults
from onehop.train.size import plan
from onehop.train.validation import Translated, Validation

SAMPLE = 300_000  # pairs that vocabularies and lengths are chosen on; more changes neither


@dataclass(frozen=True)
class Prepared:
    """What `fit` needs.

    Args:
        recipe: With everything that was chosen filled in.
        translator: With fresh weights, or those of the parent.
        batches: For training.
        validation: Held-out pairs; may be empty for a handful of pairs.
        num_pairs: Training pairs.
        store: The text that the numbers of a batch's pairs refer to.
        limited: What the length limit did to the validation pairs.
        parent: The model that the run continues, if it does.
    """

    recipe: Recipe
    translator: Translator
    batches: TrainingBatches
    validation: list[Pair]
    num_pairs: int
    store: PairStore
    limited: Ledger
    parent: Parent | None = None

    unit = "tokens"

    @property
    def task(self) -> Translator:
        """The translator."""
        return self.translator

    def objective(self, device: str) -> Objective:
        """Return the loss of a batch; see `onehop.train.objective`."""
        return objective(self.recipe.train, device)

    def validator(self) -> Validation:
        """Return the held-out pairs, tokenised."""
        return Validation(self.translator, self.validation, self.recipe)

    def sample_batch(self, rows: int, words: int) -> Batch:
        """Return a batch of pairs of so many tokens on either side."""
        lines = [[5] * words] * rows
        return next(evaluation_batches(lines, lines, rows * (words + 1)))

    def tokenizers(self) -> dict[str, Tokenizer]:
        """Return those of both sides."""
        return {"source": self.translator.source_tokenizer, "target": self.translator.target_tokenizer}

    def card(self, progress: Progress, loss: float, found: Translated) -> str:
        """Return the model card."""
        return model_card(self, progress, loss, found)


def prepare(recipe: Recipe, folder: Path, tell: Tell, device: str = "cpu", parent: Parent | None = None) -> Prepared:
    """Read the data, choose what the recipe leaves open, and build the model.

    Args:
        recipe: As the user wrote it.
        folder: Where a large corpus is spooled.
        tell: Hears what was chosen and why.
        device: Where it will train: minutes on a processor limit the size of the model.
        parent: The model to continue; the recipe has inherited from it.
    """
    asked = recipe.text.vocab_size
    store, split = read_data(recipe, folder, tell)
    if recipe.data.check:
        tell(paragraph(check_store(store, [] if len(split.held) else split.validation), len(store)))
    num_pairs = len(store) - len(split.held)
    unseen = {pair.source for pair in split.validation} if len(split.held) else set[str]()
    lines = [pair for pair in sample(store, SAMPLE) if pair.source not in unseen]
    chosen = plan(num_pairs, num_pairs * guess_tokens(lines), thread_seconds(recipe.train, device))
    recipe = judge(fill(recipe, chosen, num_pairs, tell), split.validation, tell)
    recipe = recipe.model_copy(update={"train": precision(recipe.train, device, tell)})
    tags = [*dict.fromkeys(tag for tag in recipe.data.tags if tag)]
    source, target = (
        kept_vocabularies(parent, lines, tell) if parent else vocabularies(recipe, lines, asked, tell, tags)
    )
    planned, reached = recipe.text.vocab_size or 0, {source.vocab_size, target.vocab_size}
    if reached != {planned} and (parent or min(reached) < planned):  # not a size to ask for again
        recipe = recipe.model_copy(update={"text": recipe.text.model_copy(update={"vocab_size": None})})
    recipe, limits, policy, tokens = lengths(recipe, lines, (source, target), tell)
    translator = new_model(recipe, limits, (source, target), parent)
    translator.longest_target(recipe.decode, 1)  # refuses what validation could not write
    batch_tokens = recipe.train.batch_tokens
    if batch_tokens == "auto":
        batch_tokens = find_batch_tokens(translator, lines, objective(recipe.train, device), device, tell)
    train = recipe.train.model_copy(update={"batch_tokens": batch_tokens})
    seen = chosen.epochs * pairs_of_epoch(store, split, recipe.data.weights)
    train = duration(train, seen * tokens, tell)
    recipe = recipe.model_copy(update={"train": train})
    batches = TrainingBatches(
        store, source, target,
        batch_tokens=train.tokens,
        max_length=limits.max_length,
        long_policy=policy,
        seed=train.seed,
        held=split.held,
        sampling=Sampling(
            tuple(recipe.data.weights),
            tuple(source.tag(tag) if tag else None for tag in recipe.data.tags),
            recipe.text.bpe_dropout,
        ),
        packing=bool(recipe.train.packing),
    )  # fmt: skip
    if policy == "error":
        batches.check_lengths()
    ledger = Ledger.of_pairs("valid", limits.max_length, "error" if policy == "error" else "drop")
    validation = within(split, (source, target), ledger, tell)
    return Prepared(recipe, translator, batches, validation, num_pairs, store, ledger, parent)


def new_model(
    recipe: Recipe, limits: TextLimits, tokenizers: tuple[Tokenizer, Tokenizer], parent: Parent | None
) -> Translator:
    """Build what is trained; random weights, or the parent's, whose limits and notices hold on."""
    theirs = parent and parent.translator.settings
    settings = TranslationSettings(
        architecture=recipe.model["architecture"],
        model={key: value for key, value in recipe.model.items() if key != "architecture"},
        text=theirs.text if theirs else limits,
        decode=recipe.decode,
        source_language=recipe.data.source_language,
        target_language=recipe.data.target_language,
        license=notices(recipe.data.license, theirs.license if theirs else ""),
        attribution=notices(recipe.data.attribution, theirs.attribution if theirs else ""),
    )
    torch.manual_seed(recipe.train.seed)
    translator = Translator.build(settings, *tokenizers)
    if parent:
        put(translator.model, weights(parent.translator.model))
    return translator


def within(split: Split, tokenizers: tuple[Tokenizer, Tokenizer], ledger: Ledger, tell: Tell) -> list[Pair]:
    """Return the validation pairs that the length limit allows: a figure over cut lines would be another figure."""
    pairs = split.validation
    sources = tokenizers[0].encode_batch([pair.source for pair in pairs])
    targets = tokenizers[1].encode_batch([pair.target for pair in pairs])
    sides = enumerate(zip(pairs, sources, targets, strict=True))
    kept = [pair for place, (pair, a, b) in sides if limit_pair(a, b, ledger, *split.where(place))]
    if summary := ledger.summary():
        tell(summary)
    return kept


def read_data(recipe: Recipe, folder: Path, tell: Tell) -> tuple[PairStore, Split]:
    """Read training and validation pairs."""
    data = recipe.data
    store = _read(data.source, data.target, data.pairs, folder, data.columns)
    for file in (*data.pairs, *data.valid_pairs):
        if names := table_columns(file, data.columns):
            tell(f"data: {file}: sources from column {names[0]!r}, targets from {names[1]!r}")
    valid: PairStore | None = None
    if data.valid_source or data.valid_pairs:
        valid = _read(data.valid_source, data.valid_target, data.valid_pairs, folder, data.columns)
        split = Split.of(valid)
        how = "from your validation files"
    else:
        split = hold_out(store)
        how = "held out by hash of the source"
    tell(f"data: {len(store) - len(split.held):,} training pairs, {len(split.validation):,} for validation ({how})")
    if len(split.held) > len(split.validation):
        more = len(split.held) - len(split.validation)
        tell(f"data: {more:,} further pairs with a held-out source take no part in training")
    if not split.validation:
        tell("data: too few pairs to hold any out: no validation, and the last model is the one kept")
    tell_left_out(store, valid, "pairs with an empty side", tell)
    return store, split


def _read(
    source: Sequence[str], target: Sequence[str], pairs: Sequence[str], folder: Path, columns: Columns
) -> PairStore:
    return PairStore.from_tables(pairs, folder, columns) if pairs else PairStore.from_parallel(source, target, folder)


def pairs_of_epoch(store: PairStore, split: Split, weights: Sequence[float]) -> int:
    """Return how many pairs an epoch sees, on average, where files have weights."""
    if not weights:
        return len(store) - len(split.held)
    sizes = np.zeros(store.num_files)
    for index in range(store.num_blocks):
        numbers = store.numbers(index)
        low, high = np.searchsorted(split.held, (numbers.start, numbers.stop))
        sizes[store.file(index)] += len(numbers) - (high - low)
    return round(float(sizes @ np.array(weights)))


JOB = Job(Recipe, model_faults, prepare, inherit)
