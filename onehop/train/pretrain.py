"""From a recipe with `task = "mlm"` to everything a run trains: text in full rows, and words hidden anew each epoch.

Devlin et al. 2018, section 3.1, with the rows and the dynamic masking of Liu et al. 2019 (RoBERTa): what is hidden
depends on the seed, the epoch and the row. Its package is the encoder with its heads, a model that embeds, which other
tasks begin with. See `mlm_begin` for vocabulary and weights, `mlm_rows` for rows, `mlm_loss` for the loss, `mlm_normal`
for what a loss is compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onehop.data import Batch, Pair, PairStore, TrainingBatches, evaluation_batches, hold_out
from onehop.data.store import sample
from onehop.errors import ConfigError, DataError
from onehop.tasks.embedding import Embedder
from onehop.text import Ledger, Masking, Spans, Tokenizer, WholeWords
from onehop.text.masking import Share, by_rarity
from onehop.text.pretrained import PretrainedTokenizer
from onehop.train.answer import Numbers
from onehop.train.choose import Tell, precision
from onehop.train.jobs import Job
from onehop.train.mlm_begin import ROW, continued_model, fresh_model, inherit, shaped, vocabulary
from onehop.train.mlm_loss import Counted, Guessed, HiddenWords, Hiding, loss_sum
from onehop.train.mlm_normal import ROWS, Landmarks, Normal, curves, like
from onehop.train.mlm_rows import Rows
from onehop.train.parent import Parent
from onehop.train.pretrain_recipe import MaskConfig, PretrainRecipe, pretrain_faults
from onehop.train.progress import Progress

BATCH = 32  # rows, where the recipe says nothing
EPOCHS, FRESH_EPOCHS = 3, 10  # passes over the text where the recipe says nothing, with a checkpoint and without


@dataclass(frozen=True)
class PreparedMlm:
    """What `fit` needs; see `onehop.train.jobs.Ready`.

    Args:
        recipe: With everything that was chosen filled in.
        task: The encoder with a head that finds tokens.
        batches: For training.
        validation: Held-out rows.
        num_pairs: Rows to train on.
        store: The rows that the numbers of a batch's examples refer to.
        limited: Of the rows for validation, none of which is too long.
        hiding: What is done to a batch.
        row: Tokens of a row, on average.
        parent: The model that the run continues.
    """

    recipe: PretrainRecipe
    task: Embedder
    batches: TrainingBatches
    validation: HiddenWords
    num_pairs: int
    store: PairStore
    limited: Ledger
    hiding: Hiding
    row: float
    parent: Parent | None = None

    unit = "tokens"

    def objective(self, device: str) -> Counted:
        """Return the loss of a batch."""
        train, task, kind = self.recipe.train, self.task, torch.device(device).type
        narrow = train.precision == "bfloat16"
        weight = self.recipe.mask.share * self.row if self.recipe.mask.next_sentence else 0.0

        def loss(model: Any, batch: Batch) -> Tensor:
            with torch.autocast(kind, torch.bfloat16, enabled=narrow):
                return loss_sum(task, model, batch, train.label_smoothing, weight)

        self.validation.learnt.loss = loss
        return self.validation.learnt

    def validator(self) -> HiddenWords:
        """Return the held-out rows."""
        return self.validation

    def sample_batch(self, rows: int, words: int) -> Batch:
        """Return a batch of rows of so many tokens."""
        empty: list[list[int]] = [[]] * rows
        token = next(iter(self.hiding.masking.words.tolist()), 0)
        return self.hiding(next(evaluation_batches([[token] * words] * rows, empty, rows * (words + 1))), 0)

    def tokenizers(self) -> dict[str, Tokenizer]:
        """Return the one there is."""
        return {"text": self.task.tokenizer}  # type: ignore[dict-item]

    def card(self, progress: Progress, loss: float, found: Guessed) -> str:
        """Return the model card."""
        settings, how = self.task.settings, "trained on" if self.parent else "trained from random weights"
        rare = ", rare ones oftener" if self.recipe.mask.rarity else ""
        unit = {"token": rare, "word": ", in whole words", "span": ", in spans of words"}[self.recipe.mask.unit]
        lines = [
            "# An encoder that finds hidden words",
            "",
            f"A {settings.architecture} encoder, {how} with Onehop on {self.num_pairs:,} rows of text; "
            f"{100 * self.recipe.mask.share:.0f} % of their tokens were hidden{unit}, anew in each epoch.",
            "",
            f"- updates: {progress.update:,} of the run, {progress.targets:,} hidden tokens",
            f"- validation, {found.rows:,} rows: loss {loss:.3f} nats, {found.told}",
            *([f"- continues the model with the SHA-256 {self.parent.sha256}"] if self.parent else []),
            "",
            f"Licence of the text: {self.recipe.data.license or 'not stated'}.",
            "",
            "    onehop train --task classify --data F --init MODEL --out RUN",
            "",
        ]
        return "\n".join(lines)


class Nothing:
    """Encodes every target as no token: what is to be found is hidden in the source later."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return no token for each."""
        return [[] for _ in texts]


# ------------------------------------------------------------------------------------------------ preparing


def prepare(
    recipe: PretrainRecipe, folder: Path, tell: Tell, device: str = "cpu", parent: Parent | None = None
) -> PreparedMlm:
    """Read the text, choose what the recipe leaves open, and build the model.

    Args:
        recipe: As it was inherited.
        folder: Where a large corpus is spooled.
        tell: Hears what was chosen and why.
        device: Where it will train.
        parent: The model to continue; None to begin from random weights.

    Raises:
        ConfigError: The model to continue has no token that hides another, or settings that do not fit together.
        DataError: There is no text.
    """
    recipe = recipe.model_copy(update={"train": precision(recipe.train, device, tell)})
    recipe, tokenizer = (recipe, parent.task.tokenizer) if parent else vocabulary(recipe, tell)
    if tokenizer.mask is None:
        raise ConfigError("its vocabulary has no token that hides another", "Name another.", "train.init")
    text = _Text.read(recipe, tokenizer, folder, tell)
    if not parent:
        recipe = shaped(recipe, text.row * text.num_rows, tell)
    task = continued_model(recipe, parent) if parent else fresh_model(recipe, tokenizer)
    recipe = choose(recipe, text.num_rows, text.length, tell)
    share = recipe.mask.share
    oftener = by_rarity(text.counts(tokenizer.vocab_size), share, recipe.mask.rarity) if recipe.mask.rarity else share
    hiding = _hiding(tokenizer, recipe, oftener, recipe.train.seed)
    learnt = Counted(lambda model, batch: torch.zeros(()))
    batches = TrainingBatches(
        text.store, Numbers(), Nothing(),
        batch_tokens=recipe.train.tokens, max_length=text.length, long_policy="error", seed=recipe.train.seed,
        held=text.held, finish=lambda batch: hiding(batch, batches.position.epoch),
    )  # fmt: skip
    same, empty = _hiding(tokenizer, recipe, share, seed=0), [[] for _ in text.rows]  # the same in all runs
    valid = [same(one, 0) for one in evaluation_batches(text.rows, empty, recipe.train.tokens)]
    normal = Normal(Landmarks.of(text.training_rows, valid, tokenizer.vocab_size), None if parent else like(
        sum(one.numel() for one in task.model.parameters()), curves()
    ))  # fmt: skip
    if valid:
        tell(normal.landmarks.told)
    validation = HiddenWords(task, valid, [tokenizer.decode(row) for row in text.rows], normal, learnt)
    limited = Ledger("valid", text.length, "error", lines=len(text.rows))
    return PreparedMlm(
        recipe, task, batches, validation, text.num_rows, text.store, limited, hiding, text.row, parent
    )  # fmt: skip


@dataclass(frozen=True)
class _Text:
    """Rows of tokens: those to train on, in a store, and those held out."""

    store: PairStore
    rows: list[list[int]]
    held: Any
    length: int

    @classmethod
    def read(cls, recipe: PretrainRecipe, tokenizer: PretrainedTokenizer, folder: Path, tell: Tell) -> _Text:
        length = recipe.text.max_length or ROW
        how = Rows(tokenizer, length, recipe.text.documents == "joined", recipe.mask.next_sentence)
        store = _store(how, recipe.data.train, folder)
        if recipe.data.valid:
            pairs, held, whence = list(_store(how, recipe.data.valid, folder)), None, "from your files"
        else:
            split = hold_out(store)
            pairs, held, whence = split.validation, split.held, "held out by hash"
        found = cls(store, Numbers().encode_batch([pair.source for pair in pairs]), held, length)
        tell(
            f"data: {found.num_rows:,} training rows of up to {length} tokens, {len(pairs):,} for validation ({whence})"
        )
        if not pairs:
            tell("data: too little text to hold any out: no validation, and the last model is the one kept")
        found.check(tokenizer, tell)
        return found

    @property
    def num_rows(self) -> int:
        return len(self.store) - (0 if self.held is None else len(self.held))

    @cached_property
    def training_rows(self) -> list[list[int]]:
        """Some of them."""
        unseen = {" ".join(map(str, row)) for row in self.rows} if self.held is not None else set[str]()
        return Numbers().encode_batch([one.source for one in sample(self.store, ROWS) if one.source not in unseen])

    def counts(self, vocab_size: int) -> Any:
        """Return how often each token stands in them."""
        return np.bincount([token for row in self.training_rows for token in row], minlength=vocab_size)

    @cached_property
    def row(self) -> float:
        """Tokens of one, on average."""
        return sum(map(len, self.training_rows)) / max(1, len(self.training_rows))

    def check(self, tokenizer: PretrainedTokenizer, tell: Tell) -> None:
        """Tell where the vocabulary hardly knows the text."""
        tokens = [token for row in self.training_rows[:2_000] for token in row]
        share = tokens.count(tokenizer.unknown) / max(1, len(tokens))
        if share > 0.01:
            tell(f"data: warning: {100 * share:.1f} % of the tokens are unknown to the vocabulary")


def _store(how: Rows, files: Sequence[str], folder: Path) -> PairStore:
    store = PairStore(folder)
    for file in files:
        store.add_numbered(((line, Pair(" ".join(map(str, row)), "-")) for line, row in how.of(file)), file)
    if not len(store):
        raise DataError("no text", "Check that this is the file you meant.", ", ".join(files))
    return store


def _hiding(tokenizer: PretrainedTokenizer, recipe: PretrainRecipe, share: Share, seed: int) -> Hiding:
    """Return what hides such a share of all tokens, or of each token of the vocabulary."""
    mask, controls = tokenizer.mask, set(tokenizer.controls.values())
    assert mask is not None
    words = [token for token in range(tokenizer.vocab_size) if token not in controls]
    masking = Masking(mask, words, controls, share, chooser(tokenizer, recipe.mask))
    between = tokenizer.marks[1][0] if recipe.mask.next_sentence else None
    return Hiding(masking, between, seed)


def chooser(tokenizer: PretrainedTokenizer, mask: MaskConfig) -> Any:
    """Return what chooses the tokens to hide; None for each by itself."""
    if mask.unit == "word":
        return WholeWords(tokenizer.begins)
    return Spans(tokenizer.begins, mask.span_end, mask.span_words) if mask.unit == "span" else None


def choose(recipe: PretrainRecipe, num_rows: int, length: int, tell: Tell) -> PretrainRecipe:
    """Fill in what the recipe leaves open of training: RoBERTa's, or with a checkpoint those of fine-tuning."""
    train, fresh = recipe.train, not recipe.train.init
    batch = train.batch_tokens or BATCH * (length + 1)
    usual = {"schedule": "linear", "betas": [0.9, 0.98] if fresh else [0.9, 0.999], "epsilon": 1e-6 if fresh else 1e-8}
    changes: dict[str, Any] = {key: value for key, value in usual.items() if key not in train.model_fields_set}
    rate = 0.256 / recipe.model["dim"] if fresh else 1e-4  # 1e-3 at a width of 256, 3.3e-4 at 768
    changes |= {"batch_tokens": batch, "best": train.best or "loss", "learning_rate": train.learning_rate or rate}
    updates = train.max_updates
    if not (updates or train.max_minutes):
        epochs = FRESH_EPOCHS if fresh else EPOCHS
        each = max(1, int(batch) * train.accumulate // (length + 1))
        updates = changes["max_updates"] = max(1, -(-epochs * num_rows // each))
        tell(f"length: {updates:,} updates, about {epochs} times over the text")
    changes["warmup"] = train.warmup or max(1, updates // 10 if updates else 100)
    return recipe.model_copy(update={"train": train.model_copy(update=changes)})


JOB = Job(PretrainRecipe, pretrain_faults, prepare, inherit)
