"""From a recipe with `task = "tag"` to everything a run trains: labels, vocabulary, windows of words, the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from onehop.data import Batch, PairStore, TrainingBatches, evaluation_batches
from onehop.data.tagged import Sentence
from onehop.errors import ConfigError
from onehop.models.encoders import configure_encoder, encoder_family
from onehop.models.reach import within_reach
from onehop.nn.loss import linear_cross_entropy
from onehop.nn.masks import places
from onehop.tasks.tag_settings import TagHead, TagSettings, WordLimits
from onehop.tasks.tagging import Tagger
from onehop.tasks.wordwise import WordDocuments, as_words, joined_words
from onehop.text import Ledger, Tokenizer, default_max_length
from onehop.text.words import find_splitting
from onehop.train.choose import Tell, precision
from onehop.train.classify_recipe import ARCHITECTURE
from onehop.train.jobs import Job
from onehop.train.look import look_at_store
from onehop.train.objective import Forgetful, Objective
from onehop.train.parent import Parent, notices
from onehop.train.pretrained import begin, begin_headed, is_pretrained
from onehop.train.progress import Progress
from onehop.train.tag_card import TaggedFigures, TaggedSentences, tagger_card
from onehop.train.tag_data import TagIds, divided, find_labels, limit_labelled, parts, read_data
from onehop.train.tag_recipe import TagRecipe, tag_faults
from onehop.train.texts import SAMPLE, choose, packed, vocabulary

FREE = ("dropout", "attention_dropout", "word_dropout")  # of the model: no weight depends on them


@dataclass(frozen=True)
class PreparedTagger:
    """What `fit` needs; see `onehop.train.jobs.Ready`.

    Args:
        recipe: With everything that was chosen filled in.
        task: With fresh weights, or those of the parent.
        batches: For training.
        validation: Held-out sentences with their labels.
        num_pairs: Training sentences.
        store: Rows within the limit that the numbers of a batch's examples refer to.
        divided: What the length limit did to the training sentences.
        limited: What it did to those for validation.
        parent: The model that the run continues, if it does.
    """

    recipe: TagRecipe
    task: Tagger
    batches: TrainingBatches
    validation: TaggedSentences
    num_pairs: int
    store: PairStore
    divided: Ledger
    limited: Ledger
    parent: Parent | None = None

    unit = "words"

    def objective(self, device: str) -> Objective:
        """Return the loss of a batch."""
        train, task, kind = self.recipe.train, self.task, torch.device(device).type
        narrow = train.precision == "bfloat16"

        def loss(model: Any, batch: Batch) -> Tensor:
            with torch.autocast(kind, torch.bfloat16, enabled=narrow):
                return loss_sum(task, model, batch, train.label_smoothing)

        return Forgetful(loss)

    def validator(self) -> TaggedSentences:
        """Return the held-out sentences."""
        return self.validation

    def sample_batch(self, rows: int, words: int) -> Batch:
        """Return a batch of sentences of so many words of one token."""
        row = [5 + self.task.documents.offset] * words
        return counted(next(evaluation_batches([row] * rows, [[0] * words] * rows, rows * (words + 1))))

    def tokenizers(self) -> dict[str, Tokenizer]:
        """Return the one there is."""
        return {"text": self.task.tokenizer}

    def card(self, progress: Progress, loss: float, found: TaggedFigures) -> str:
        """Return the model card."""
        return tagger_card(self, progress, loss, found)


def loss_sum(task: Tagger, model: Any, batch: Batch, smoothing: float = 0.0) -> Tensor:
    """Return the summed negative log-likelihood of the words' labels, in nats.

    Args:
        task: Says how rows are read.
        model: Its model.
        batch: Rows of words, packed or a row each, with the ids of their labels as targets.
        smoothing: See `onehop.nn.cross_entropy`; not of a CRF.
    """
    source, row, place = task.documents.source(batch.source, batch.source_lengths, batch.source_segments)
    real = _labels(batch)
    states, labels = model.dropout(model.states(source, row, place)), batch.target[real]
    if model.crf is None:
        return linear_cross_entropy(states, model.output.weight, model.output.bias, labels, smoothing)
    number = real.nonzero()[:, 0]
    if batch.target_segments is not None:
        number = number * batch.target.size(1) + batch.target_segments[real]
    sizes = number.unique_consecutive(return_counts=True)[1]
    counts = sizes.tolist()
    scores = model.output(states)
    wide = torch.promote_types(scores.dtype, torch.float32)  # sums are never of bfloat16
    emissions = pad_sequence(list(scores.to(wide).split(counts)), batch_first=True)
    wanted = pad_sequence(list(labels.split(counts)), batch_first=True)
    return -model.crf.log_likelihood(emissions, wanted, sizes).sum()


def _labels(batch: Batch) -> Tensor:
    """Return where labels stand among the targets, `(B, T)`: everywhere but at end marks and padding."""
    segments = batch.target_segments
    if segments is None:
        return torch.arange(batch.target.size(1), device=batch.target.device) < batch.target_lengths.unsqueeze(1) - 1
    follows = torch.zeros_like(segments, dtype=torch.bool)
    follows[:, :-1] = places(segments)[:, 1:] > 0
    return follows & (segments >= 0)


def counted(batch: Batch) -> Batch:
    """Return a batch that counts its words, not end marks."""
    return replace(batch, num_targets=batch.num_targets - len(batch.pairs))


# ------------------------------------------------------------------------------------------------ preparing


def prepare(
    recipe: TagRecipe, folder: Path, tell: Tell, device: str = "cpu", parent: Parent | None = None
) -> PreparedTagger:
    """Read the data, choose what the recipe leaves open, and build the model.

    Args:
        recipe: As the user wrote it, or as it was inherited.
        folder: Where a large corpus is spooled.
        tell: Hears what was chosen and why.
        device: Where it will train.
        parent: The model to continue.
    """
    whole, validation, split = read_data(recipe, folder, tell)
    kept = set(split.held.tolist())
    pairs = [pair for number, pair in enumerate(whole) if number not in kept]
    recipe, labels = find_labels(recipe, pairs, validation, parent, tell)
    if recipe.data.check:
        look_at_store("words", whole, split, tell)
    recipe = recipe.model_copy(
        update={"train": precision(recipe.train, device, tell, pretrained=is_pretrained(parent))}
    )
    recipe = resolve(recipe)
    some = [pair.source for pair in pairs[:: max(1, len(pairs) // SAMPLE)]]
    tokenizer = parent.task.tokenizer if parent else vocabulary(recipe, some, tell)  # type: ignore[arg-type]
    splitting = recipe.text.words or find_splitting([word for text in some[:2_000] for word in parts(text)])
    documents = WordDocuments(tokenizer, splitting)
    recipe = packed(recipe, documents.frame is not None)
    recipe, mean = lengths(recipe, documents, some, tell)
    chosen = recipe.train.best or ("accuracy" if recipe.data.scheme == "none" else "f1")
    recipe = recipe.model_copy(update={
        "train": recipe.train.model_copy(update={"best": chosen}),
        "text": recipe.text.model_copy(update={"words": splitting}),
    })  # fmt: skip
    recipe = choose(recipe, len(pairs), mean, tell, pretrained=is_pretrained(parent))  # type: ignore[assignment, arg-type]
    task = new_model(recipe, labels, tokenizer, parent)
    ledger = Ledger("train", recipe.text.max_length or 1, recipe.text.long or "error")
    store = divided(whole, kept, task, ledger, folder, tell, recipe.data.scheme or "none")
    batches = TrainingBatches(
        store, task.documents, TagIds(labels),
        batch_tokens=recipe.train.tokens, max_length=ledger.max_length, long_policy="cut", seed=recipe.train.seed,
        packing=bool(recipe.train.packing), finish=counted,
    )  # fmt: skip
    limited = Ledger("valid", ledger.max_length, "window")
    held_out = _validation(task, validation, limited, recipe.train.tokens)
    if summary := limited.summary():
        tell(summary)
    return PreparedTagger(recipe, task, batches, held_out, len(pairs), store, ledger, limited, parent)


# ------------------------------------------------------------------------------------------------ choosing


def resolve(recipe: TagRecipe) -> TagRecipe:
    """Resolve the settings of the encoder, which must have a state for each token."""
    model = dict(recipe.model)
    name = model.pop("architecture", ARCHITECTURE)
    if encoder_family(name).unit != "words":
        problem = f"the architecture {name!r} has a state for each sentence, not for each word"
        raise ConfigError(problem, "Use another, such as recurrent.", "model.architecture")
    if recipe.train.activation_checkpointing and name != "transformer":
        raise ConfigError("this family has no blocks", "Leave it out.", "train.activation_checkpointing")
    settings = configure_encoder(name, model).model_dump()
    return recipe.model_copy(update={"model": {"architecture": name, **settings}})


def lengths(recipe: TagRecipe, documents: WordDocuments, texts: Sequence[str], tell: Tell) -> tuple[TagRecipe, float]:
    """Choose the longest row and what becomes of longer sentences, unless the user did; also return the mean length."""
    some = texts[:: max(1, len(texts) // 10_000)]
    found = np.array([len(row) for row in documents.encode_batch(some)])
    given = recipe.text.max_length
    max_length = within_reach(given or default_max_length(found), bool(given), recipe.model, writes=False)
    policy = recipe.text.long or ("error" if given else "window")
    fates = {"drop": "are dropped", "cut": "are cut", "error": "are an error", "window": "are divided between words"}
    share = 100 * float(np.mean(found <= max_length))
    tell(f"text: up to {max_length} tokens, which holds {share:.1f} % of the sentences; longer ones {fates[policy]}")
    text = recipe.text.model_copy(update={"max_length": max_length, "long": policy})
    return recipe.model_copy(update={"text": text}), float(np.minimum(found, max_length).mean()) + 1


def new_model(recipe: TagRecipe, labels: list[str], tokenizer: Any, parent: Parent | None) -> Tagger:
    """Build what is trained; random weights, or the parent's."""
    theirs: Any = parent.task.settings if parent else None
    settings = TagSettings(
        architecture=recipe.model["architecture"],
        model={key: value for key, value in recipe.model.items() if key != "architecture"},
        rows=getattr(theirs, "rows", None),
        head=recipe.head,
        labels=labels,
        scheme=recipe.data.scheme or "none",
        text=WordLimits(max_length=recipe.text.max_length or 1, words=recipe.text.words or "punctuation"),
        language=recipe.data.language,
        license=notices(recipe.data.license, theirs.license if theirs else ""),
        attribution=notices(recipe.data.attribution, getattr(theirs, "attribution", "")),
    )
    torch.manual_seed(recipe.train.seed)
    task = Tagger.build(settings, tokenizer)
    begin(task, parent, recipe.train, begin_headed)
    return task


def _validation(task: Tagger, sentences: list[Sentence], ledger: Ledger, batch_tokens: int) -> TaggedSentences:
    rows: list[list[int]] = []
    wanted: list[list[int]] = []
    ids = TagIds(task.labels).ids
    given = [as_words(joined_words(one.words), "space") for one in sentences]
    for one, pieces in zip(sentences, task.documents.pieces(given), strict=True):
        for start, end in limit_labelled([len(word) for word in pieces], one.labels, ledger, one.where):
            rows.append([token for word in pieces[start:end] for token in word][: ledger.max_length])
            wanted.append([ids[label] for label in one.labels[start:end]])
    return TaggedSentences(task, sentences, rows, wanted, batch_tokens)


# ------------------------------------------------------------------------------------------------ continuing


def inherit(recipe: TagRecipe, parent: Parent) -> TagRecipe:
    """Return the recipe with the parent's model, vocabulary and limits.

    Raises:
        ConfigError: Lists every key that contradicts the parent, with the parent's value.
    """
    theirs: Any = parent.task.settings
    own = {key: getattr(recipe.head, key) for key in recipe.head.model_fields_set}
    head = TagHead.model_validate({"dropout": 0.1, **own}) if is_pretrained(parent) else theirs.head
    fixed: dict[str, dict[str, Any]] = {
        "model": {"architecture": theirs.architecture, **theirs.model},
        "head": head.model_dump(),
        "text": {"max_length": theirs.text.max_length},
    }
    if not is_pretrained(parent):
        fixed["text"]["words"] = theirs.text.words
    asked = {"model": recipe.model, "head": own, "text": {key: getattr(recipe.text, key) for key in fixed["text"]}}
    faults = [
        f"{table}.{key} = {value!r}, but the model that train.init names has {fixed[table].get(key)!r}"
        for table, keys in asked.items()
        for key, value in keys.items()
        if key not in FREE and value is not None and value != fixed[table].get(key)
    ]
    if faults:
        raise ConfigError("; ".join(faults), "Leave them out, or begin anew without train.init.", "train.init")
    free = {key: value for key, value in recipe.model.items() if key in FREE}
    text = recipe.text.model_copy(update={"long": recipe.text.long or "window", **fixed["text"]})
    language = recipe.data.language or getattr(theirs, "language", "")
    return recipe.model_copy(update={
        "model": {**fixed["model"], **free},
        "head": head.model_copy(update={key: value for key, value in own.items() if key in FREE}),
        "text": text,
        "data": recipe.data.model_copy(update={"language": language}),
    })  # fmt: skip


JOB = Job(TagRecipe, tag_faults, prepare, inherit)
