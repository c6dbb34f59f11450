"""From a recipe with `task = "mlm"` to everything a run trains: text in full rows, and words hidden anew each epoch.

Devlin et al. 2018, section 3.1, task 1, with the rows and the dynamic masking of Liu et al. 2019 (RoBERTa): lines of a
document fill rows of equal length, so nothing is cut and nothing is padding, and what is hidden depends on the seed,
the epoch and the row. Its package is the encoder with its head, a model that embeds, which other tasks begin with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import exp, nan
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onehop.data import Batch, Pair, PairStore, TrainingBatches, evaluation_batches, hold_out
from onehop.errors import ConfigError, DataError
from onehop.files import read_lines
from onehop.models.body import initialise
from onehop.nn.loss import linear_cross_entropy
from onehop.tasks.embedding import Embedder
from onehop.tasks.weights import put, weights
from onehop.text import Ledger, Masking, Tokenizer
from onehop.train.answer import Numbers
from onehop.train.choose import Tell, precision
from onehop.train.jobs import Job
from onehop.train.objective import Forgetful, Objective
from onehop.train.parent import Parent, notices
from onehop.train.pretrain_recipe import PretrainRecipe, pretrain_faults
from onehop.train.progress import Progress
from onehop.train.validation import spread

FREE = ("dropout", "attention_dropout")  # of the model: no weight depends on them
ROW = 126  # tokens, where the recipe says nothing: 128 with their marks
TOGETHER = 1_000  # lines tokenised at once
EPOCHS, ROWS = 3, 32  # passes over the text, and rows of a batch, where the recipe says nothing


@dataclass(frozen=True)
class Guessed:
    """How well hidden tokens of the held-out rows were found.

    Args:
        accuracy: Share that were found.
        perplexity: Of a hidden token.
        rows: How many rows they are in.
    """

    accuracy: float
    perplexity: float
    rows: int = 0

    @property
    def figures(self) -> dict[str, float | int]:
        """Each by its name."""
        return asdict(self)

    @property
    def told(self) -> str:
        """What people are told."""
        return f"perplexity {self.perplexity:.2f}, {100 * self.accuracy:.1f} % of the hidden tokens found"


class HiddenWords:
    """Held-out rows, of which the same tokens are hidden each time.

    Args:
        task: The encoder that trains.
        batches: Padded, with what is hidden.
        sources: The text of each row.
    """

    unknown = Guessed(nan, nan)

    def __init__(self, task: Embedder, batches: Sequence[Batch], sources: Sequence[str]) -> None:
        self.task, self.batches, self.sources = task, batches, sources

    def __len__(self) -> int:
        return len(self.sources)

    def texts(self, count: int) -> list[str]:
        """Return the text of that many rows, evenly spread."""
        return [self.sources[i] for i in spread(len(self), count)]

    @torch.inference_mode()
    def loss(self) -> float:
        """Return the loss in nats for each hidden token."""
        self.task.model.eval()
        total, right, count = 0.0, 0, 0
        for batch in self.batches:
            here = batch.to(self.task.device)
            hidden, targets = hidden_states(self.task, self.task.model, here)
            logits = self.task.model.heads["mlm"](hidden).float()
            total += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
            right += int((logits.argmax(1) == targets).sum())
            count += len(targets)
        self._found = right / max(1, count), total / max(1, count)
        return self._found[1]

    def measure(self) -> Guessed:
        """Return what the last `loss` found."""
        return Guessed(self._found[0], exp(min(50.0, self._found[1])), len(self)) if len(self) else Guessed(0.0, 0.0)


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
        parent: The model that the run continues.
    """

    recipe: PretrainRecipe
    task: Embedder
    batches: TrainingBatches
    validation: HiddenWords
    num_pairs: int
    store: PairStore
    limited: Ledger
    parent: Parent | None = None

    unit = "tokens"

    def objective(self, device: str) -> Objective:
        """Return the loss of a batch."""
        train, task, kind = self.recipe.train, self.task, torch.device(device).type
        narrow = train.precision == "bfloat16"

        def loss(model: Any, batch: Batch) -> Tensor:
            with torch.autocast(kind, torch.bfloat16, enabled=narrow):
                return loss_sum(task, model, batch, train.label_smoothing)

        return Forgetful(loss)

    def validator(self) -> HiddenWords:
        """Return the held-out rows."""
        return self.validation

    def sample_batch(self, rows: int, words: int) -> Batch:
        """Return a batch of rows of so many tokens."""
        empty: list[list[int]] = [[]] * rows
        return hidden(next(evaluation_batches([[5] * words] * rows, empty, rows * (words + 1))), masking(self), 0, 0)

    def tokenizers(self) -> dict[str, Tokenizer]:
        """Return the one there is."""
        return {"text": self.task.tokenizer}  # type: ignore[dict-item]

    def card(self, progress: Progress, loss: float, found: Guessed) -> str:
        """Return the model card."""
        settings = self.task.settings
        lines = [
            "# An encoder that finds hidden words",
            "",
            f"A {settings.architecture} encoder, trained on with Onehop on {self.num_pairs:,} rows of text; "
            f"{100 * self.recipe.mask.share:.0f} % of their tokens were hidden, anew in each epoch.",
            "",
            f"- updates: {progress.update:,} of the run, {progress.targets:,} hidden tokens",
            f"- validation, {found.rows:,} rows: loss {loss:.3f} nats, {found.told}",
            f"- continues the model with the SHA-256 {self.parent.sha256}" if self.parent else "",
            "",
            f"Licence of the text: {self.recipe.data.license or 'not stated'}.",
            "",
            "    onehop train --task classify --data F --init MODEL --out RUN",
            "",
        ]
        return "\n".join(lines)


def masking(prepared: PreparedMlm) -> Masking:
    """Return what hides tokens of a run."""
    return _masking(prepared.task, prepared.recipe.mask.share)


def _masking(task: Embedder, share: float) -> Masking:
    tokenizer, mask = task.tokenizer, task.tokenizer.mask
    assert mask is not None
    controls = set(tokenizer.controls.values())
    words = [token for token in range(tokenizer.vocab_size) if token not in controls]
    return Masking(mask, words, controls, share)


def hidden(batch: Batch, masking: Masking, seed: int, epoch: int) -> Batch:
    """Return a batch with tokens hidden; its targets are what stood there and one more, 0 elsewhere."""
    source, target = batch.source.clone(), torch.zeros_like(batch.source)
    rows = [row[: length - 1].tolist() for row, length in zip(source, batch.source_lengths.tolist(), strict=True)]
    count = 0
    for number, row in enumerate(masking.hide(rows, batch.pairs, seed, epoch)):
        source[number, : len(row.tokens)] = torch.tensor(row.tokens, dtype=torch.int64)
        target[number, row.places] = torch.tensor(row.targets, dtype=torch.int64) + 1
        count += len(row.places)
    return replace(batch, source=source, target=target, target_lengths=batch.source_lengths, num_targets=max(1, count))


def hidden_states(task: Embedder, model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the states of the hidden tokens, `(M, D)`, and what stood there, `(M,)`."""
    states = model.encoder.encode(task.source(batch.source, batch.source_lengths)).states
    row, place = batch.target.nonzero(as_tuple=True)
    return states[row, place + 1], batch.target[row, place] - 1  # behind the begin mark


def loss_sum(task: Embedder, model: Any, batch: Batch, smoothing: float = 0.0) -> Tensor:
    """Return the summed cross-entropy of the hidden tokens, in nats.

    Args:
        task: Says how rows are read.
        model: Its model, with a head `mlm`.
        batch: See `hidden`.
        smoothing: See `onehop.nn.cross_entropy`.
    """
    states, targets = hidden_states(task, model, batch)
    head = model.heads["mlm"]
    return linear_cross_entropy(head.transform(states), head.weight, head.bias, targets, smoothing)


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
        parent: The model to continue.

    Raises:
        ConfigError: There is none, or it has no token that hides another.
    """
    if parent is None:
        remedy = "Name one: --init CHECKPOINT (in a recipe: train.init)."
        raise ConfigError("a masked language model goes on with a pretrained encoder", remedy, "train.init")
    if parent.task.tokenizer.mask is None:
        raise ConfigError("its vocabulary has no token that hides another", "Name another.", "train.init")
    recipe = recipe.model_copy(update={"train": precision(recipe.train, device, tell)})
    task = new_model(recipe, parent)
    length = recipe.text.max_length or ROW
    store = _store(task, recipe.data.train, length, folder)
    if recipe.data.valid:
        rows, held, how = list(_store(task, recipe.data.valid, length, folder)), None, "from your files"
    else:
        split = hold_out(store)
        rows, held, how = split.validation, split.held, "held out by hash"
    num_rows = len(store) - (0 if held is None else len(held))
    tell(f"data: {num_rows:,} training rows of up to {length} tokens, {len(rows):,} for validation ({how})")
    recipe = choose(recipe, num_rows, length, tell)
    hides, seed = _masking(task, recipe.mask.share), recipe.train.seed
    batches = TrainingBatches(
        store, Numbers(), Nothing(),
        batch_tokens=recipe.train.tokens, max_length=length, long_policy="error", seed=seed, held=held,
        finish=lambda batch: hidden(batch, hides, seed, batches.position.epoch),
    )  # fmt: skip
    tokens = Numbers().encode_batch([pair.source for pair in rows])
    empty: list[list[int]] = [[]] * len(tokens)
    valid = [hidden(one, hides, 0, 0) for one in evaluation_batches(tokens, empty, recipe.train.tokens)]
    validation = HiddenWords(task, valid, [task.tokenizer.decode(row) for row in tokens])
    limited = Ledger("valid", length, "error", lines=len(tokens))
    return PreparedMlm(recipe, task, batches, validation, num_rows, store, limited, parent)


def _store(task: Embedder, files: Sequence[str], length: int, folder: Path) -> PairStore:
    store = PairStore(folder)
    for file in files:
        store.add_numbered(
            ((line, Pair(" ".join(map(str, row)), "-")) for line, row in rows_of(task, file, length)), file
        )
    if not len(store):
        raise DataError("no text", "Check that this is the file you meant.", ", ".join(files))
    return store


def rows_of(task: Embedder, file: str, length: int) -> Iterator[tuple[int, list[int]]]:
    """Yield rows full of a file's text, each with the number of the line that it begins in; an empty line ends one."""
    row: list[int] = []
    begun = 1
    some: list[tuple[int, str]] = []

    def flushed() -> Iterator[tuple[int, list[int]]]:
        nonlocal row, begun
        for (number, text), tokens in zip(some, task.tokenizer.encode_batch([text for _, text in some]), strict=True):
            if not text.strip() and row:
                yield begun, row
                row = []
            begun = begun if row else number
            row += tokens
            while len(row) >= length:
                yield begun, row[:length]
                row, begun = row[length:], number
        some.clear()

    for number, text in enumerate(read_lines(file), 1):
        some.append((number, text))
        if len(some) == TOGETHER:
            yield from flushed()
    yield from flushed()
    if row:
        yield begun, row


def choose(recipe: PretrainRecipe, num_rows: int, length: int, tell: Tell) -> PretrainRecipe:
    """Fill in what the recipe leaves open of training."""
    train = recipe.train
    batch = train.batch_tokens or ROWS * (length + 1)
    usual = {"schedule": "linear", "betas": [0.9, 0.999], "epsilon": 1e-8}
    changes: dict[str, Any] = {key: value for key, value in usual.items() if key not in train.model_fields_set}
    changes |= {"batch_tokens": batch, "best": train.best or "loss", "learning_rate": train.learning_rate or 1e-4}
    updates = train.max_updates
    if not (updates or train.max_minutes):
        each = max(1, int(batch) * train.accumulate // (length + 1))
        updates = changes["max_updates"] = max(1, -(-EPOCHS * num_rows // each))
        tell(f"length: {updates:,} updates, about {EPOCHS} times over the text")
    changes["warmup"] = train.warmup or max(1, updates // 10 if updates else 100)
    return recipe.model_copy(update={"train": train.model_copy(update=changes)})


def new_model(recipe: PretrainRecipe, parent: Parent) -> Embedder:
    """Build what is trained: the parent's encoder and heads, with one that finds tokens, drawn anew if it has none."""
    theirs: Any = parent.task.settings
    model = {key: value for key, value in recipe.model.items() if key != "architecture"}
    heads = [*theirs.heads, *(["mlm"] if "mlm" not in theirs.heads else [])]
    settings = theirs.model_copy(update={
        "model": model, "heads": heads, "license": notices(recipe.data.license, theirs.license),
    })  # fmt: skip
    torch.manual_seed(recipe.train.seed)
    task = Embedder.build(settings, parent.task.tokenizer)
    if heads != theirs.heads:
        task.model.heads["mlm"].transform.apply(initialise)
    put(task.model, weights(task.model) | weights(parent.task.model))
    return task


def inherit(recipe: PretrainRecipe, parent: Parent) -> PretrainRecipe:
    """Return the recipe with the parent's model.

    Raises:
        ConfigError: Lists every key that contradicts the parent, with the parent's value.
    """
    theirs: Any = parent.task.settings
    model = {"architecture": theirs.architecture, **theirs.model}
    faults = [
        f"model.{key} = {value!r}, but the model that train.init names has {model.get(key)!r}"
        for key, value in recipe.model.items()
        if key not in FREE and value != model.get(key)
    ]
    most, asked = theirs.text.max_length, recipe.text.max_length
    if asked and asked > most:
        faults.append(f"text.max_length = {asked}, but the model that train.init names reads {most}")
    if faults:
        raise ConfigError("; ".join(faults), "Leave them out.", "train.init")
    free = {key: value for key, value in recipe.model.items() if key in FREE}
    text = recipe.text.model_copy(update={"max_length": asked or min(ROW, most)})
    return recipe.model_copy(update={"model": {**model, **free}, "text": text})


JOB = Job(PretrainRecipe, pretrain_faults, prepare, inherit)
