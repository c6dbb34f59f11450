"""From a recipe with `task = "embed"` to everything a run trains: rows of texts, what is wanted of them, the model.

What is learnt is an encoder whose vectors are near each other where texts mean alike (Reimers 2019, "Sentence-BERT").
See `embed_loss` for how rows are read and for the losses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onehop.data import Batch, Pair, PairStore, TrainingBatches, evaluation_batches, hold_out
from onehop.data.alike import Alike, open_alike
from onehop.data.labelled import joined
from onehop.errors import ConfigError, DataError
from onehop.files import Run, write_text
from onehop.tasks.classify_settings import DocumentLimits
from onehop.tasks.embedding import Embedder
from onehop.tasks.weights import put, weights
from onehop.text import Ledger, Tokenizer
from onehop.train import embed_loss
from onehop.train.answer import Numbers as Tokens
from onehop.train.choose import Tell, precision
from onehop.train.classify import labels_of
from onehop.train.embed_card import HeldOutAlike, Loss, embedder_card
from onehop.train.embed_loss import AlikeRows
from onehop.train.embed_recipe import SCORED, UNSCORED, EmbedRecipe
from onehop.train.encoded import encoder_of, limited_rows, stored
from onehop.train.jobs import Job
from onehop.train.look import Rows, look
from onehop.train.objective import Forgetful, Objective
from onehop.train.parent import Parent, notices
from onehop.train.pretrained import begin
from onehop.train.progress import Progress
from onehop.train.regress import Numbers, numbers_of
from onehop.train.texts import FILLED, choose, counted, packed

CONTRASTED, MOST = 64, 16_384  # rows of a batch where each is told from the others, and tokens of one at most
FEWEST = 20  # rows that validation needs where none are given for it: with fewer, luck decides
USUAL_RANGES = ((0.0, 1.0), (-1.0, 1.0))  # scores that are cosines as they are


@dataclass(frozen=True)
class PreparedEmbedder:
    """What `fit` needs; see `onehop.train.jobs.Ready`.

    Args:
        recipe: With everything that was chosen filled in.
        task: With the weights of the parent.
        batches: For training.
        validation: Held-out rows.
        num_pairs: Rows to train on.
        store: Tokens of the rows within the limit, which the numbers of a batch's examples refer to.
        divided: What the length limit did to the training rows.
        limited: What it did to those for validation.
        parent: The model that the run continues.
        folder: Of the run.
    """

    recipe: EmbedRecipe
    task: Embedder
    batches: TrainingBatches
    validation: HeldOutAlike
    num_pairs: int
    store: PairStore
    divided: Ledger
    limited: Ledger
    parent: Parent | None = None
    folder: Path = Path()

    unit = "rows"

    def objective(self, device: str) -> Objective:
        """Return the loss of a batch."""
        task, kind = self.task, torch.device(device).type
        narrow, cost = self.recipe.train.precision == "bfloat16", loss_of(self.recipe)

        def loss(model: Any, batch: Batch) -> Tensor:
            with torch.autocast(kind, torch.bfloat16, enabled=narrow):
                found = embed_loss.vectors(task, model, batch)
            return cost(found, numbers_of(labels_of(batch)))

        return Forgetful(loss)

    def validator(self) -> HeldOutAlike:
        """Return the held-out rows."""
        return self.validation

    def sample_batch(self, rows: int, words: int) -> Batch:
        """Return a batch of pairs of so many tokens."""
        row = [*[5] * (words // 2), self.task.tokenizer.vocab_size, *[5] * max(1, words // 2)]
        targets = Numbers().encode_batch(["1"]) * rows
        return counted(next(evaluation_batches([row] * rows, targets, 1 << 40)))

    def tokenizers(self) -> dict[str, Tokenizer]:
        """Return the one there is."""
        return {"text": self.task.tokenizer}  # type: ignore[dict-item]

    def card(self, progress: Progress, loss: float, found: Any) -> str:
        """Return the model card, and write the report that stands beside the package."""
        if len(self.validation):
            write_text(Run(self.folder).page, self.validation.page(found))
        return embedder_card(self, progress, loss, found)


def loss_of(recipe: EmbedRecipe) -> Loss:
    """Return what a recipe minimises, of vectors and what is wanted of their cosines."""
    vector = recipe.vector
    if vector.objective == "cosine":
        return embed_loss.cosine
    if vector.objective == "ranking":
        return partial(embed_loss.ranking, temperature=vector.temperature)
    return lambda found, wanted: embed_loss.contrastive(found, vector.temperature)


# ------------------------------------------------------------------------------------------------ preparing


def prepare(
    recipe: EmbedRecipe, folder: Path, tell: Tell, device: str = "cpu", parent: Parent | None = None
) -> PreparedEmbedder:
    """Read the rows, choose what the recipe leaves open, and build the model.

    Args:
        recipe: As it was inherited.
        folder: Where a large corpus is spooled.
        tell: Hears what was chosen and why.
        device: Where it will train.
        parent: The model to continue.

    Raises:
        ConfigError: There is none, or what is asked for needs other data.
        DataError: A row cannot be used.
    """
    if parent is None:
        problem = "vectors are learnt by a pretrained encoder only"
        raise ConfigError(problem, "Name one: --init CHECKPOINT (in a recipe: train.init).", "train.init")
    recipe = recipe.model_copy(update={"train": precision(recipe.train, device, tell, pretrained=True)})
    recipe, training, held_out = read_data(recipe, folder, tell)
    recipe = judged(recipe, [row for _, row in training], held_out, tell)
    task = new_model(recipe, parent)
    ledger = Ledger.of_pairs("train", task.settings.text.max_length, recipe.text.long or "cut")
    limited = Ledger.of_pairs("valid", ledger.max_length, ledger.policy)
    rows = AlikeRows(task.tokenizer)

    def encoded(some: Sequence[Alike], counts: Ledger) -> Iterator[tuple[Alike, list[int]]]:
        found = limited_rows(some, rows.encode_batch, rows.limited, counts)
        return ((one, row) for one, row in found if row is not None)

    def of_file(number: int) -> Iterator[tuple[str, list[int], str]]:
        own = [one for file, one in training if file == number]
        return ((one.where, row, f"{wanted(recipe, one):.9g}") for one, row in encoded(own, ledger))

    store, mean = stored(recipe.data.train, of_file, folder)
    held = [(one, rows.texts(row)) for one, row in encoded(held_out, limited)]
    for each in (ledger, limited):
        if summary := each.summary():
            tell(summary)
    if not len(store):
        raise DataError(f"no row is left to train on; {ledger.summary()}", "Give a larger text.max_length.")
    recipe = packed(recipe, framed=True)
    if recipe.vector.objective == "contrastive" and not recipe.train.batch_tokens:
        tokens = min(MOST, max(256, round(CONTRASTED * mean / (FILLED if recipe.train.packing else 1.0))))
        recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"batch_tokens": tokens})})
    scored = training[0][1].score is not None
    recipe = choose(recipe, len(store), mean, tell, (SCORED if scored else UNSCORED)[0], pretrained=True)
    batches = TrainingBatches(
        store, Tokens(), Numbers(), batch_tokens=recipe.train.tokens, max_length=1 << 20, long_policy="error",
        seed=recipe.train.seed, packing=bool(recipe.train.packing), finish=counted,
    )  # fmt: skip
    validation = HeldOutAlike(
        task, [one for one, _ in held], [texts for _, texts in held],
        torch.tensor([wanted(recipe, one) for one, _ in held]), scored=scored, loss=loss_of(recipe),
        together=max(2, round(recipe.train.tokens / mean)), batch_tokens=recipe.train.tokens,
    )  # fmt: skip
    return PreparedEmbedder(recipe, task, batches, validation, len(store), store, ledger, limited, parent, folder)


def read_data(
    recipe: EmbedRecipe, folder: Path, tell: Tell
) -> tuple[EmbedRecipe, list[tuple[int, Alike]], list[Alike]]:
    """Return the recipe with its columns, the training rows with the numbers of their files, and held-out ones."""
    data, found, valid, left = recipe.data, list[tuple[int, Alike]](), list[Alike](), 0
    scores = set[str]()
    for number, file in [*enumerate(data.train), *((-1, file) for file in data.valid)]:
        opened = open_alike(file, data.columns)
        scores.add("with" if opened.score else "without")
        if len(scores) > 1:
            remedy = "Give the column of scores to all files, or to none."
            raise DataError(f"{scores.pop()} scores and {scores.pop()}: files of both kinds", remedy, file)
        tell(f"data: {file}: {opened.named}")
        rows = list(opened.rows)
        left += sum(not row.whole for row in rows)
        if number < 0:
            valid += (row for row in rows if row.whole)
        else:
            found += ((number, row) for row in rows if row.whole)
            data = data.model_copy(update={"text_columns": list(opened.texts), "label_column": opened.score})
    if left:
        tell(f"data: {left:,} rows with an empty text or no score were left out")
    if not found:
        raise DataError("no row of texts", "Check that this is the file you meant.", ", ".join(data.train))
    store = PairStore(folder)
    store.add((Pair(one.texts[0], one.texts[1]) for _, one in found), "rows")
    if data.valid and not valid:
        raise DataError("no row of texts for validation", "Give others, or leave it out.", ", ".join(data.valid))
    held = set() if data.valid else set(hold_out(store).held.tolist())
    if len(held) < FEWEST:
        held.clear()
    training = [one for number, one in enumerate(found) if number not in held]
    valid = valid or [one for number, (_, one) in enumerate(found) if number in held]
    how = "from your files" if data.valid else "held out by hash of the first text"
    tell(f"data: {len(training):,} training rows, {len(valid):,} for validation ({how})")
    if not valid:
        tell("data: too few rows to hold any out: no validation, and the last model is the one kept")
    if data.check:
        _look(training, valid if data.valid else [], tell)
    return recipe.model_copy(update={"data": data}), training, valid


def _look(training: Sequence[tuple[int, Alike]], valid: Sequence[Alike], tell: Tell) -> None:
    """Tell what looks wrong with the texts, and how many for validation are trained on."""
    scored = training[0][1].score is not None
    same = sum(row.texts[0] == row.texts[1] for _, row in training)
    if same and not scored:
        tell(f"data: warning: {same:,} rows have the same text twice, from which nothing is learnt")
    kind = "numbers" if scored else "answers"

    def pairs(rows: Iterable[Alike]) -> Iterator[Pair]:
        return (Pair(joined(row.texts[:2]), str(row.score) if scored else "") for row in rows)

    asked = Rows(pairs(row for _, row in training), len(training), lambda number: training[number][1].where)
    look(kind, asked, Rows(pairs(valid), len(valid), lambda number: valid[number].where), tell)


def judged(recipe: EmbedRecipe, training: Sequence[Alike], held: Sequence[Alike], tell: Tell) -> EmbedRecipe:
    """Return the recipe with its objective and the range of its scores.

    Raises:
        ConfigError: The objective, or the figure that chooses the model, needs scores that are not there, or none.
        DataError: All scores are the same, or one lies outside of the range that was given.
    """
    scores = [row.score for row in training if row.score is not None]
    objective = recipe.vector.objective or ("ranking" if scores else "contrastive")
    if objective == "contrastive" and scores:
        problem = "pairs with scores, of which those of low score must not be near each other"
        remedy = "Keep the pairs that mean the same, without the column of scores; or use 'cosine' or 'ranking'."
        raise ConfigError(problem, remedy, "vector.objective")
    if not scores and min(len({row.texts[side] for row in training}) for side in (0, 1)) < 2:
        problem = "all rows have one text in common: there is nothing to tell it from"
        raise DataError(problem, "Give different texts.", ", ".join(recipe.data.train))
    if objective != "contrastive" and not scores:
        raise ConfigError("there are no scores", "Use 'contrastive', or name data.label_column.", "vector.objective")
    figures = ("loss", *(SCORED if scores else UNSCORED))
    if recipe.train.best and recipe.train.best not in figures:
        problem = f"{recipe.train.best!r} is a figure of data {'without' if scores else 'with'} scores"
        raise ConfigError(problem, f"Use one of {', '.join(figures)}.", "train.best")
    data = recipe.data
    if scores:
        low, high = min(scores), max(scores)
        if low == high:
            problem = f"one score only, {low:g}: there is nothing to learn"
            raise DataError(problem, "Give pairs of different scores.", ", ".join(data.train))
        every = [*scores, *(row.score for row in held if row.score is not None)]
        low, high = min(every), max(every)
        usual = next((one for one in USUAL_RANGES if one[0] <= low and high <= one[1]), (low, high))
        chosen = (data.score_range[0], data.score_range[1]) if data.score_range else usual
        if not chosen[0] <= low <= high <= chosen[1]:
            problem = f"scores from {low:g} to {high:g} lie outside of {list(chosen)}"
            raise DataError(problem, "Widen the range, or mend the scores.", "data.score_range")
        data = data.model_copy(update={"score_range": list(chosen)})
        tell(f"data: scores from {low:g} to {high:g}, mean {sum(scores) / len(scores):.4g}")
    tell(f"objective: {objective}")
    vector = recipe.vector.model_copy(update={"objective": objective})
    return recipe.model_copy(update={"data": data, "vector": vector})


def wanted(recipe: EmbedRecipe, row: Alike) -> float:
    """Return what the cosine of a row's pair shall be: 1, or as its score lies in the range of scores.

    Example:
        >>> recipe = EmbedRecipe.model_validate({"data": {"train": ["pairs.csv"], "score_range": [0, 5]}})
        >>> wanted(recipe, Alike(("a", "b"), 4.0)), wanted(recipe, Alike(("a", "b")))
        (0.8, 1.0)
    """
    if row.score is None or not recipe.data.score_range:
        return 1.0
    low, high = recipe.data.score_range
    if low == -1 and high == 1:
        return row.score
    return (row.score - low) / (high - low)


def new_model(recipe: EmbedRecipe, parent: Parent) -> Embedder:
    """Build what is trained: the parent's encoder and heads, with the pooling that is asked for."""
    theirs: Any = parent.task.settings
    settings = theirs.model_copy(update={
        "model": {key: value for key, value in recipe.model.items() if key != "architecture"},
        "pooling": recipe.vector.pooling,
        "text": DocumentLimits(max_length=recipe.text.max_length or 1, sentences=False),
        "license": notices(recipe.data.license, theirs.license),
        "attribution": notices(recipe.data.attribution, theirs.attribution),
    })  # fmt: skip
    torch.manual_seed(recipe.train.seed)
    task = Embedder.build(settings, parent.task.tokenizer)
    begin(task, parent, recipe.train, lambda own, encoder: put(own.model, weights(encoder.model)))
    for head in task.model.heads.values():  # kept for what comes later; no vector depends on them
        head.requires_grad_(requires_grad=False)
    return task


def inherit(recipe: EmbedRecipe, parent: Parent) -> EmbedRecipe:
    """Return the recipe with the parent's model, and its length and pooling where the recipe has none.

    Raises:
        ConfigError: Lists every key that contradicts the parent, with the parent's value.
    """
    theirs: Any = parent.task.settings
    model = encoder_of(recipe, parent)
    most, asked = theirs.text.max_length, recipe.text.max_length
    long = recipe.text.long or ("error" if asked and asked < most else "cut")
    text = recipe.text.model_copy(update={"max_length": asked or most, "long": long})
    vector = recipe.vector.model_copy(update={"pooling": recipe.vector.pooling or theirs.pooling})
    return recipe.model_copy(update={"model": model, "text": text, "vector": vector})


JOB = Job(EmbedRecipe, lambda tables: [], prepare, inherit)
