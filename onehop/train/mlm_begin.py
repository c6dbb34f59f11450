"""What a masked language model begins with: random weights and a vocabulary learnt from its text, or a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any

import torch

from onehop.errors import ConfigError, DataError
from onehop.files import read_lines
from onehop.models.body import initialise
from onehop.models.encoders import configure_encoder
from onehop.tasks.adapters import merged
from onehop.tasks.classify_settings import DocumentLimits
from onehop.tasks.embedding import Embedder, EmbedSettings
from onehop.tasks.framed import FRAME
from onehop.tasks.weights import put, weights
from onehop.text.learn_bert import learn_bert
from onehop.text.pretrained import PretrainedTokenizer
from onehop.train.choose import Tell
from onehop.train.encoded import encoder_of
from onehop.train.parent import Parent, notices
from onehop.train.pretrain_recipe import PretrainRecipe

ROW = 126  # tokens, where the recipe says nothing: 128 with their marks
LINES = 1_000_000  # of the text, evenly spread, that a vocabulary is learnt from
ONLY_FRESH = ("vocab_size", "lowercase", "coverage")  # of the text: a checkpoint has its vocabulary
VOCAB_SIZES = ((2e6, 4_000), (50e6, 8_000), (1e9, 16_000), (float("inf"), 30_000))  # up to so many characters
PRESETS = (
    (1e6, "bert-tiny"), (30e6, "bert-mini"), (300e6, "bert-small"), (float("inf"), "bert-base"),
)  # up to so many tokens  # fmt: skip
HEADS = {False: ["mlm"], True: ["pooler", "mlm", "nsp"]}  # by whether the next sentence is asked for


def vocabulary(recipe: PretrainRecipe, tell: Tell) -> tuple[PretrainRecipe, PretrainedTokenizer]:
    """Learn the vocabulary of a model that begins from random weights, from its training text; the recipe has its size.

    Raises:
        ConfigError: The text gives fewer pieces than were asked for.
        DataError: There is no text.
    """
    text = recipe.text
    lines, characters = _some_lines(recipe.data.train)
    if not characters:
        raise DataError("no text", "Check that this is the file you meant.", ", ".join(recipe.data.train))
    planned = next(size for most, size in VOCAB_SIZES if characters <= most)
    wanted = text.vocab_size or planned
    tokenizer = learn_bert(lines, wanted, lowercase=text.lowercase, coverage=text.coverage)
    if text.vocab_size and tokenizer.vocab_size < text.vocab_size:
        raise ConfigError(
            f"the text gives no more than {tokenizer.vocab_size} pieces, not {text.vocab_size}",
            "Leave it out to have it chosen; or give more text.",
            "text.vocab_size",
        )
    kind = "lower-cased" if text.lowercase else "with capitals"
    fewer = f"; the text gives no more, {wanted:,} were planned" if tokenizer.vocab_size < wanted else ""
    tell(f"text: a vocabulary of {tokenizer.vocab_size:,} pieces, {kind}, learnt from {len(lines):,} lines{fewer}")
    size = None if fewer else wanted  # what cannot be reached is no size to ask for again
    return recipe.model_copy(update={"text": text.model_copy(update={"vocab_size": size})}), tokenizer


def _some_lines(files: Sequence[str]) -> tuple[list[str], int]:
    """Return lines to learn a vocabulary from, and the characters of all."""
    count, characters = 0, 0
    for line in _lines(files):
        count += 1
        characters += len(line.strip())
    step = ceil(count / LINES) or 1
    return [line for number, line in enumerate(_lines(files)) if number % step == 0], characters


def _lines(files: Sequence[str]) -> Iterator[str]:
    for file in files:
        yield from read_lines(file)


def shaped(recipe: PretrainRecipe, tokens: float, tell: Tell) -> PretrainRecipe:
    """Resolve the settings of a model that begins from random weights, and the length of its rows.

    Args:
        recipe: As the user wrote it.
        tokens: Of the training text, about.
        tell: Hears what was chosen.

    Raises:
        ConfigError: An architecture that has no masked words here, or settings that do not fit together.
    """
    model = dict(recipe.model)
    name = model.pop("architecture", "bert")
    if name != "bert":
        remedy = "Leave it out, or begin with a checkpoint of that architecture: --init CHECKPOINT"
        raise ConfigError(f"from random weights only 'bert' is pretrained, not {name!r}", remedy, "model.architecture")
    length = recipe.text.max_length or ROW
    if model.get("preset", "auto") == "auto":
        model.pop("preset", None)
        if not {"dim", "num_layers"} & model.keys():
            model["preset"] = next(name for most, name in PRESETS if tokens <= most)
            tell(f"size: {tokens:,.0f} tokens of text: {model['preset']}")
    if model.setdefault("max_positions", length + FRAME) < length + FRAME:
        problem = f"max_positions={model['max_positions']} for rows of {length} tokens and {FRAME} marks"
        raise ConfigError(problem, "Give more, or leave it out.", "model.max_positions")
    resolved = configure_encoder(name, model).model_dump()
    return recipe.model_copy(update={
        "model": {"architecture": name, **resolved}, "text": recipe.text.model_copy(update={"max_length": length}),
    })  # fmt: skip


def fresh_model(recipe: PretrainRecipe, tokenizer: PretrainedTokenizer) -> Embedder:
    """Build a model of random weights; the recipe is `shaped`."""
    settings = EmbedSettings(
        architecture=recipe.model["architecture"],
        model={key: value for key, value in recipe.model.items() if key != "architecture"},
        rows=tokenizer.vocab_size,
        heads=HEADS[recipe.mask.next_sentence],
        text=DocumentLimits(max_length=recipe.model["max_positions"] - FRAME, sentences=False),
        license=recipe.data.license,
    )
    torch.manual_seed(recipe.train.seed)
    task = Embedder.build(settings, tokenizer)
    for head in task.model.heads.values():
        head.apply(initialise)
    return task


def continued_model(recipe: PretrainRecipe, parent: Parent) -> Embedder:
    """Build what goes on: the parent's encoder and heads, with those that it lacks drawn anew.

    Raises:
        ConfigError: Its family has no head for the next sentence.
    """
    theirs: Any = parent.task.settings
    model = {key: value for key, value in recipe.model.items() if key != "architecture"}
    wanted = HEADS[recipe.mask.next_sentence]
    if "nsp" in wanted and theirs.architecture != "bert":
        problem = f"{theirs.architecture} was not made for the prediction of the next sentence"
        raise ConfigError(problem, "Leave it out, or begin with a BERT.", "mask.next_sentence")
    new = [head for head in wanted if head not in theirs.heads]
    settings = theirs.model_copy(update={
        "model": model, "heads": [*theirs.heads, *new], "license": notices(recipe.data.license, theirs.license),
    })  # fmt: skip
    torch.manual_seed(recipe.train.seed)
    task = Embedder.build(settings, parent.task.tokenizer)
    for head in new:
        fresh = task.model.heads[head]
        (fresh.transform if head == "mlm" else fresh).apply(initialise)
    put(task.model, weights(task.model) | weights(merged(parent.task).model))
    return task


def inherit(recipe: PretrainRecipe, parent: Parent) -> PretrainRecipe:
    """Return the recipe with the parent's model.

    Raises:
        ConfigError: Lists every key that contradicts the parent, with the parent's value.
    """
    theirs: Any = parent.task.settings
    given = {key: getattr(recipe.text, key) for key in ONLY_FRESH if key in recipe.text.model_fields_set}
    usual = type(recipe.text)()
    faults = [
        f"text.{key} = {value!r}, but the model that train.init names has its vocabulary"
        for key, value in given.items()
        if value != getattr(usual, key)
    ]
    model = encoder_of(recipe, parent, faults)
    most, asked = theirs.text.max_length, recipe.text.max_length
    text = recipe.text.model_copy(update={"max_length": asked or min(ROW, most)})
    return recipe.model_copy(update={"model": model, "text": text})
