"""From a recipe to everything a run trains: text read and split, vocabularies, sizes chosen, the model built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onehop.data import Columns, Pair, PairStore, Sampling, Split, TrainingBatches, hold_out, sample, table_columns
from onehop.errors import ConfigError
from onehop.metrics import tokenizer_for
from onehop.models.registry import configure
from onehop.tasks.settings import TextLimits, TranslationSettings
from onehop.tasks.translation import Translator
from onehop.tasks.weights import put, weights
from onehop.text import (
    LEAST_VOCAB_SIZE,
    Ledger,
    Tokenizer,
    default_max_length,
    limit_pair,
    split_sentences,
    train_tokenizer,
)
from onehop.train.autobatch import find_batch_tokens
from onehop.train.parent import Parent, kept_vocabularies, notices
from onehop.train.recipe import Recipe, TextConfig, TrainConfig
from onehop.train.size import PLANS, Plan, learning_rate, plan

FEWEST = 1_000  # updates, where none are asked for: fewer would end while the learning rate still rises
SAMPLE = 300_000  # pairs that vocabularies and lengths are chosen on; more changes neither
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """What `fit` needs.

    Args:
        recipe: With everything that was chosen filled in.
        translator: With fresh weights, or those of the parent.
        batches: For training.
        validation: Held-out pairs; may be empty for a handful of pairs.
        num_pairs: Training pairs.
        parent: The model that the run continues, if it does.
    """

    recipe: Recipe
    translator: Translator
    batches: TrainingBatches
    validation: list[Pair]
    num_pairs: int
    parent: Parent | None = None


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
    num_pairs = len(store) - len(split.held)
    unseen = {pair.source for pair in split.validation} if len(split.held) else set[str]()
    lines = [pair for pair in sample(store, SAMPLE) if pair.source not in unseen]
    chosen = plan(num_pairs, num_pairs * _tokens(lines), _seconds(recipe.train, device))
    recipe = judge(fill(recipe, chosen, num_pairs, tell), split.validation, tell)
    tags = [*dict.fromkeys(tag for tag in recipe.data.tags if tag)]
    source, target = (
        kept_vocabularies(parent, lines, tell) if parent else vocabularies(recipe, lines, asked, tell, tags)
    )
    planned, reached = recipe.text.vocab_size or 0, {source.vocab_size, target.vocab_size}
    if reached != {planned} and (parent or min(reached) < planned):  # not a size to ask for again
        recipe = recipe.model_copy(update={"text": recipe.text.model_copy(update={"vocab_size": None})})
    recipe, limits, policy, tokens = lengths(recipe, lines, (source, target), tell)
    translator = new_model(recipe, limits, (source, target), parent)
    batch_tokens = recipe.train.batch_tokens
    if batch_tokens == "auto":
        batch_tokens = find_batch_tokens(translator, lines, recipe.train.label_smoothing, device, tell)
    train = recipe.train.model_copy(update={"batch_tokens": batch_tokens})
    seen = chosen.epochs * pairs_of_epoch(store, split, recipe.data.weights)
    train = _duration(train, seen * tokens, tell)
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
        packing=recipe.train.packing,
    )  # fmt: skip
    if policy == "error":
        batches.check_lengths()
    ledger = Ledger("valid", limits.max_length, "error" if policy == "error" else "drop")
    validation = within(split.validation, (source, target), ledger, tell)
    return Prepared(recipe, translator, batches, validation, num_pairs, parent)


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


def within(pairs: list[Pair], tokenizers: tuple[Tokenizer, Tokenizer], ledger: Ledger, tell: Tell) -> list[Pair]:
    """Return the validation pairs that the length limit allows: a figure over cut lines would be another figure."""
    sources = tokenizers[0].encode_batch([pair.source for pair in pairs])
    targets = tokenizers[1].encode_batch([pair.target for pair in pairs])
    sides = enumerate(zip(pairs, sources, targets, strict=True), 1)
    kept = [pair for n, (pair, a, b) in sides if limit_pair(a, b, ledger, f"valid:{n}", f"valid:{n}")]
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
    if data.valid_source or data.valid_pairs:
        valid = _read(data.valid_source, data.valid_target, data.valid_pairs, folder, data.columns)
        split = Split(list(valid), np.empty(0, np.int64))
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
    if store.num_skipped:
        tell(f"data: {store.num_skipped:,} pairs with an empty side were left out")
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


# ------------------------------------------------------------------------------------------------ choosing


def fill(recipe: Recipe, chosen: Plan, num_pairs: int, tell: Tell) -> Recipe:
    """Fill in what the recipe leaves open from the plan, and resolve the model's settings."""
    model = {"architecture": "transformer", **recipe.model}
    name = model.pop("architecture")
    preset = model.pop("preset", None if recipe.train.init or name != "transformer" else "auto")
    if preset == "auto":
        if name != "transformer":
            raise ConfigError(f"preset 'auto' is for the transformer, not {name!r}", "Name a preset.", "model.preset")
        why = chosen.why if chosen.model.keys() - model.keys() else "given a model by the recipe"
        model = {**chosen.model, **model}
        tell(f"size: {num_pairs:,} pairs are {why}; {_shape(model)}")
    elif preset is not None:
        model["preset"] = preset
    resolved = configure(name, model).model_dump()
    train, text = recipe.train, recipe.text
    updates = {
        "batch_tokens": train.batch_tokens or chosen.batch_tokens,
        "learning_rate": train.learning_rate or peak(train, resolved["dim"]),
        "warmup": train.warmup or chosen.warmup,
    }
    return recipe.model_copy(
        update={
            "model": {"architecture": name, **resolved},
            "train": train.model_copy(update=updates),
            "text": text.model_copy(update={"vocab_size": text.vocab_size or chosen.vocab_size}),
        }
    )


def peak(train: TrainConfig, dim: int) -> float:
    """Return the peak rate for a model of that width, or the factor for noam; a third of it where a model is continued.

    At the full peak the first updates undo what the weights know before the rate falls; at a tenth, in the updates that
    a small text allows, they hardly learn the new text.
    """
    rate = 1.0 if train.schedule == "noam" else learning_rate(dim)
    return rate / 3 if train.init else rate


def judge(recipe: Recipe, validation: Sequence[Pair], tell: Tell) -> Recipe:
    """Choose the figure that decides which model is kept: BLEU counts runs of four words, which short lines lack."""
    if recipe.train.best:
        return recipe
    words = [len(pair.target.split()) for pair in validation]
    unspaced = tokenizer_for(recipe.data.target_language) != "13a"
    long = unspaced or not words or sum(words) >= 4 * len(words)
    if not long:
        tell(
            "validation: lines of fewer than 4 words, too short for BLEU, so the loss decides which model is kept; "
            "if the target is written without spaces, set data.target_language"
        )
    train = recipe.train.model_copy(update={"best": "bleu" if long else "loss"})
    return recipe.model_copy(update={"train": train})


def _shape(model: dict[str, Any]) -> str:
    return (
        f"{model['dim']} wide, {model['num_encoder_layers']}+{model['num_decoder_layers']} layers, "
        f"dropout {model['dropout']}"
    )


def vocabularies(
    recipe: Recipe, lines: Sequence[Pair], asked: int | None, tell: Tell, tags: Sequence[str] = ()
) -> tuple[Tokenizer, Tokenizer]:
    """Train the vocabulary of both sides, or one for each.

    Args:
        recipe: Filled in.
        lines: To learn from.
        asked: The size that the user wrote, which must be reached; one that was chosen here may shrink.
        tell: Hears the sizes.
        tags: Control tokens that both shall have besides.

    Raises:
        ConfigError: The user asked for more pieces than the text can give.
    """
    text, wanted = recipe.text, recipe.text.vocab_size or PLANS[0].vocab_size
    sides = [[pair.source for pair in lines], [pair.target for pair in lines]]
    corpora = [sides[0] + sides[1]] if text.joint else sides
    found, size = _at_most(corpora, wanted, text, tags)
    if asked and size < asked:
        least = LEAST_VOCAB_SIZE + len(tags)
        while size >= least and (fewer := _at_most(corpora, size, text, tags)[1]) < size:
            size = fewer  # a smaller vocabulary has less room for characters, so it may give fewer still
        smaller = f"Use text.vocab_size = {size}, or leave" if size >= least else "Leave"
        raise ConfigError(
            f"the text gives no more than {size} pieces, not {asked}",
            f"{smaller} it out to have it chosen; or give more text.",
            "text.vocab_size",
        )
    for tokenizer, side in zip(found, ["joint"] if text.joint else ["source", "target"], strict=True):
        fewer = f"; the text gives no more, {wanted:,} were planned" if tokenizer.vocab_size < wanted else ""
        tell(f"text: {side} vocabulary of {tokenizer.vocab_size:,} pieces{fewer}")
    return found[0], found[-1]


def _at_most(
    corpora: Sequence[Sequence[str]], size: int, text: TextConfig, tags: Sequence[str]
) -> tuple[list[Tokenizer], int]:
    """Return a tokenizer for each corpus, and the size of the smallest."""
    found = [
        train_tokenizer(corpus, size, text.algorithm, text.normalization, text.coverage, tags) for corpus in corpora
    ]
    return found, min(tokenizer.vocab_size for tokenizer in found)


def lengths(
    recipe: Recipe, lines: Sequence[Pair], tokenizers: tuple[Tokenizer, Tokenizer], tell: Tell
) -> tuple[Recipe, TextLimits, str, float]:
    """Choose the longest line and what becomes of longer ones, unless the user did; also tell a pair's mean length."""
    some = lines[:: max(1, len(lines) // 30_000)]
    sides = (
        tokenizers[0].encode_batch([p.source for p in some]),
        tokenizers[1].encode_batch([p.target for p in some]),
    )
    longest = [max(len(a), len(b)) for a, b in zip(*sides, strict=True)]
    given = recipe.text.max_length
    max_length = given or default_max_length(longest)
    policy = recipe.text.long or ("error" if given else "drop")
    if not given:
        fate = {"drop": "are dropped", "cut": "are cut", "error": "are an error"}[policy]
        share = 100 * sum(length <= max_length for length in longest) / len(longest)
        tell(f"text: lines of up to {max_length} tokens, which holds {share:.1f} % of them; longer ones {fate}")
    few = some[:: max(1, len(some) // 1_000)]
    language = recipe.data.source_language or "en"
    single = sum(len(split_sentences(pair.source, language)) <= 1 for pair in few)
    limits = TextLimits(max_length=max_length, sentences=single >= 0.9 * len(few))
    text = recipe.text.model_copy(update={"max_length": max_length, "long": policy})
    return recipe.model_copy(update={"text": text}), limits, policy, sum(longest) / len(longest) + 1


def _duration(train: TrainConfig, tokens: float, tell: Tell) -> TrainConfig:
    """Fill in how long to train, where the recipe sets no limit: until so many tokens of the longer side are seen."""
    if train.max_updates or train.max_minutes:
        return train
    updates = max(FEWEST, round(tokens / (train.tokens * train.accumulate)))
    tell(f"length: {updates:,} updates, {tokens / 1e6:,.1f} million tokens")
    return train.model_copy(update={"max_updates": updates})


def _tokens(lines: Sequence[Pair]) -> float:
    """Guess the tokens of a pair's longer side, before there is a vocabulary: four bytes make one."""
    some = lines[:: max(1, len(lines) // 10_000)]
    sizes = [max(len(side.encode("utf-8", "surrogatepass")) for side in pair) for pair in some]
    return sum(sizes) / max(1, len(sizes)) / 4


def _seconds(train: TrainConfig, device: str) -> float | None:
    """Return the seconds of one thread that there are, on a processor, if minutes are limited."""
    if train.max_minutes is None or device != "cpu":
        return None
    return 60 * train.max_minutes * torch.get_num_threads()
