"""From a recipe with `task = "answer"` to everything a run trains: questions, windows of their contexts, the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from onehop.data import Batch, Pair, PairStore, TrainingBatches, evaluation_batches, hold_out
from onehop.data.labelled import SEPARATOR
from onehop.data.questions import Question, read_questions
from onehop.errors import ConfigError, DataError
from onehop.tasks.answer_settings import AnswerHead, AnswerSettings, ContextLimits
from onehop.tasks.answering import Answerer
from onehop.text import Ledger, Tokenizer
from onehop.train.answer_card import Answered, HeldOutQuestions, answerer_card
from onehop.train.answer_recipe import AnswerRecipe, answer_faults
from onehop.train.choose import Tell, precision
from onehop.train.encoded import encoder_of
from onehop.train.jobs import Job
from onehop.train.look import Rows, look
from onehop.train.objective import Forgetful, Objective
from onehop.train.parent import Parent, notices
from onehop.train.pretrained import begin, begin_headed, is_pretrained
from onehop.train.progress import Progress
from onehop.train.texts import choose

TOGETHER = 1_000  # questions tokenised at once
Row = tuple[list[int], tuple[int, int]]  # tokens, and first and last token of the answer, from 1; 0 where it has none


@dataclass(frozen=True)
class PreparedAnswerer:
    """What `fit` needs; see `onehop.train.jobs.Ready`.

    Args:
        recipe: With everything that was chosen filled in.
        task: With a new head, or the weights of the parent.
        batches: For training.
        validation: Held-out questions.
        num_pairs: Rows to train on: questions with their contexts, or windows of them.
        num_questions: Of training.
        store: The rows that the numbers of a batch's examples refer to.
        divided: What the length limit did to the training questions.
        limited: What it did to those for validation.
        parent: The model that the run continues.
    """

    recipe: AnswerRecipe
    task: Answerer
    batches: TrainingBatches
    validation: HeldOutQuestions
    num_pairs: int
    num_questions: int
    store: PairStore
    divided: Ledger
    limited: Ledger
    parent: Parent | None = None

    unit = "rows"

    def objective(self, device: str) -> Objective:
        """Return the loss of a batch."""
        train, task, kind = self.recipe.train, self.task, torch.device(device).type
        narrow = train.precision == "bfloat16"

        def loss(model: Any, batch: Batch) -> Tensor:
            with torch.autocast(kind, torch.bfloat16, enabled=narrow):
                return loss_sum(task, model, batch, train.label_smoothing)

        return Forgetful(loss)

    def validator(self) -> HeldOutQuestions:
        """Return the held-out questions."""
        return self.validation

    def sample_batch(self, rows: int, words: int) -> Batch:
        """Return a batch of rows of so many tokens, half of them a context."""
        between = self.task.documents.frame.between
        half = max(0, words - len(between)) // 2
        row = [*[5] * half, *between, *[5] * max(0, words - half - len(between))]
        return counted(next(evaluation_batches([row] * rows, [[0, 0]] * rows, rows * (words + 1))))

    def tokenizers(self) -> dict[str, Tokenizer]:
        """Return the one there is."""
        return {"text": self.task.tokenizer}  # type: ignore[dict-item]

    def card(self, progress: Progress, loss: float, found: Answered) -> str:
        """Return the model card."""
        return answerer_card(self, progress, loss, found)


def loss_sum(task: Answerer, model: Any, batch: Batch, smoothing: float = 0.0) -> Tensor:
    """Return the summed cross-entropy of the ends of answers, the mean of both for each row, in nats.

    Args:
        task: Says how rows are read.
        model: Its model.
        batch: Rows, with first and last token of the answer as targets; see `Answerer.scores`.
        smoothing: See `onehop.nn.cross_entropy`.
    """
    row, place = task.documents.places(batch.source, batch.source_lengths)
    scores = model(task.source(batch.source, batch.source_lengths), row, place)
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    counts = torch.bincount(row, minlength=len(batch.source)).tolist()
    if not smoothing:
        padded = pad_sequence(list(scores.split(counts)), batch_first=True, padding_value=float("-inf"))
        return F.cross_entropy(padded, batch.target[:, :2], reduction="sum") / 2
    each = zip(scores.split(counts), batch.target[:, :2], strict=True)
    return torch.stack([F.cross_entropy(own.T, ends, label_smoothing=smoothing) for own, ends in each]).sum()


def counted(batch: Batch) -> Batch:
    """Return a batch that counts its rows, not their ends of answers and end marks."""
    return replace(batch, num_targets=len(batch.pairs))


class Numbers:
    """Encodes rows of tokens that are stored as numbers, with spaces between."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each row."""
        return [[int(number) for number in text.split()] for text in texts]


# ------------------------------------------------------------------------------------------------ preparing


def prepare(
    recipe: AnswerRecipe, folder: Path, tell: Tell, device: str = "cpu", parent: Parent | None = None
) -> PreparedAnswerer:
    """Read the questions, choose what the recipe leaves open, and build the model.

    Args:
        recipe: As it was inherited.
        folder: Where a large corpus is spooled.
        tell: Hears what was chosen and why.
        device: Where it will train.
        parent: The model to continue.

    Raises:
        ConfigError: There is none.
    """
    if parent is None:
        problem = "answers are learnt by a pretrained encoder only"
        raise ConfigError(problem, "Name one: --init CHECKPOINT (in a recipe: train.init).", "train.init")
    training, held_out = read_data(recipe, folder, tell)
    recipe = recipe.model_copy(
        update={"train": precision(recipe.train, device, tell, pretrained=is_pretrained(parent))}
    )
    unanswerable = any(not one.answers for _, one in training)
    task = new_model(recipe, unanswerable, parent)
    ledger = Ledger("train", task.settings.text.max_length, recipe.text.long or "window")
    store, length = _store(task, recipe.data.train, training, ledger, folder)
    limited = Ledger("valid", ledger.max_length, "window")
    rows = [row for rows in _rows(task, held_out, limited) for row in rows]
    for each in (ledger, limited):
        if summary := each.summary():
            tell(summary)
    if not len(store):
        raise DataError(f"no question is left to train on; {ledger.summary()}", "Give a larger text.max_length.")
    best = recipe.train.model_copy(update={"best": recipe.train.best or "f1"})
    recipe = recipe.model_copy(update={"train": best})
    recipe = choose(recipe, len(store), length, tell, pretrained=is_pretrained(parent))  # type: ignore[assignment, arg-type]
    batches = TrainingBatches(
        store, Numbers(), Numbers(),
        batch_tokens=recipe.train.tokens, max_length=ledger.max_length, long_policy="error", seed=recipe.train.seed,
        finish=counted,
    )  # fmt: skip
    validation = HeldOutQuestions(
        task, held_out, [tokens for tokens, _ in rows], [ends for _, ends in rows], recipe.train.tokens
    )
    return PreparedAnswerer(
        recipe, task, batches, validation, len(store), len(training), store, ledger, limited, parent
    )  # fmt: skip


def read_data(recipe: AnswerRecipe, folder: Path, tell: Tell) -> tuple[list[tuple[int, Question]], list[Question]]:
    """Return the training questions with the numbers of their files, and those for validation."""
    found = [(number, one) for number, file in enumerate(recipe.data.train) for one in read_questions(file)]
    if not found:
        raise DataError("no question", "Check that this is the file you meant.", ", ".join(recipe.data.train))
    if recipe.data.valid:
        validation, how = [one for file in recipe.data.valid for one in read_questions(file)], "from your files"
        training = found
    else:
        store = PairStore(folder)
        store.add((Pair(one.context or " ", one.id or "-") for _, one in found), "contexts")
        held, how = set(hold_out(store).held.tolist()), "held out by hash of the context"
        validation = [one for number, (_, one) in enumerate(found) if number in held]
        training = [one for number, one in enumerate(found) if number not in held]
    none = sum(not one.answers for _, one in training)
    tell(f"data: {len(training):,} training questions, {len(validation):,} for validation ({how})")
    tell(f"data: {none:,} of the training questions have no answer" if none else "data: all have an answer")
    if recipe.data.check:
        given = [_row(one) for one in validation] if recipe.data.valid else []
        rows = (_row(one) for _, one in training)
        asked = Rows(rows, len(training), lambda number: training[number][1].where)
        look("answers", asked, Rows(given, len(given), lambda number: validation[number].where), tell)
    if not validation:
        tell("data: too few questions to hold any out: no validation, and the last model is the one kept")
    return training, validation


def _row(question: Question) -> Pair:
    """Return a question with its context, and its first answer."""
    answer = question.answers[0].text if question.answers else ""
    return Pair(f"{question.question}{SEPARATOR}{question.context}", answer)


def _store(
    task: Answerer, files: Sequence[str], questions: Sequence[tuple[int, Question]], ledger: Ledger, folder: Path
) -> tuple[PairStore, float]:
    """Return the rows of the training questions, and their mean length."""
    store, total = PairStore(folder), 0

    def numbered(own: list[Question]) -> Iterator[tuple[int, Pair]]:
        nonlocal total
        for number, rows in enumerate(_rows(task, own, ledger), 1):
            for tokens, ends in rows:
                total += len(tokens) + 1
                yield number, Pair(" ".join(map(str, tokens)), f"{ends[0]} {ends[1]}")

    for number, file in enumerate(files):
        store.add_numbered(numbered([one for of_file, one in questions if of_file == number]), file)
    return store, total / max(1, len(store))


def _rows(task: Answerer, questions: Sequence[Question], ledger: Ledger) -> Iterator[list[Row]]:
    """Yield the rows of each question: one, or one for each window of its context."""
    for start in range(0, len(questions), TOGETHER):
        some = questions[start : start + TOGETHER]
        asked = task.tokenizer.encode_batch([one.question for one in some])
        contexts = task.tokenizer.encode_places([one.context for one in some])
        for one, question, (tokens, places) in zip(some, asked, contexts, strict=True):
            ends = answer_tokens(one, places)
            before = ledger.affected, ledger.tokens
            windows = task.documents.windows(question, tokens, ledger, one.where, task.settings.text.overlap)
            rows: list[Row] = []
            for window in windows:
                size = len(window.row) - window.begin
                first, last = (end - window.first + 1 for end in ends) if ends else (0, 0)
                rows.append((window.row, (first, last) if 0 < first <= last <= size else (0, 0)))
            found = any(own != (0, 0) for _, own in rows)
            label = ("answered" if found else "answer not read") if ends else "unanswerable"
            ledger.enter({label: ledger.tokens - before[1]}, ledger.affected > before[0])
            yield rows


def answer_tokens(question: Question, places: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the first and the last token of the first answer, or None where there is none.

    Args:
        question: With its answers.
        places: Where the characters of each token of the context begin and end.

    Example:
        >>> from onehop.data.questions import Answer
        >>> question = Question("1", "Who?", "It was Ada Byron.", (Answer("Ada Byron", 7),), "")
        >>> answer_tokens(question, [(0, 2), (3, 6), (7, 10), (11, 14), (14, 16), (16, 17)])
        (2, 4)
    """
    if not question.answers:
        return None
    start, end = question.answers[0].start, question.answers[0].start + len(question.answers[0].text)
    inside = [number for number, (one, other) in enumerate(places) if one < end and other > start]
    return (inside[0], inside[-1]) if inside else None


def new_model(recipe: AnswerRecipe, unanswerable: bool, parent: Parent) -> Answerer:
    """Build what is trained: an encoder with a new head, or the parent as it is."""
    theirs: Any = parent.task.settings
    own = {key: value for key, value in recipe.model.items() if key != "architecture"}
    settings = AnswerSettings(
        architecture=recipe.model["architecture"],
        model=own,
        rows=theirs.rows,
        head=recipe.head,
        unanswerable=unanswerable,
        text=ContextLimits(
            max_length=recipe.text.max_length or 1, overlap=recipe.text.overlap or 0,
            longest_answer=recipe.text.longest_answer or 1,
        ),
        language=recipe.data.language,
        license=notices(recipe.data.license, theirs.license),
        attribution=notices(recipe.data.attribution, getattr(theirs, "attribution", "")),
    )  # fmt: skip
    torch.manual_seed(recipe.train.seed)
    task = Answerer.build(settings, parent.task.tokenizer)
    begin(task, parent, recipe.train, begin_headed)
    return task


def inherit(recipe: AnswerRecipe, parent: Parent) -> AnswerRecipe:
    """Return the recipe with the parent's model and vocabulary, and its limits where the recipe has none.

    Raises:
        ConfigError: Lists every key that contradicts the parent, with the parent's value.
    """
    theirs: Any = parent.task.settings
    model = encoder_of(recipe, parent)
    most, asked = theirs.text.max_length, recipe.text.max_length
    limits = ContextLimits(max_length=asked or most)
    if not is_pretrained(parent):
        limits = theirs.text
    text = {
        key: getattr(limits, key) if getattr(recipe.text, key) is None else getattr(recipe.text, key)
        for key in ("max_length", "overlap", "longest_answer")
    }
    head = recipe.head if is_pretrained(parent) else AnswerHead.model_validate(
        {**theirs.head.model_dump(), **recipe.head.model_dump(include=recipe.head.model_fields_set)}
    )  # fmt: skip
    return recipe.model_copy(update={
        "model": model,
        "head": head,
        "text": recipe.text.model_copy(update={"long": recipe.text.long or "window", **text}),
    })  # fmt: skip


JOB = Job(AnswerRecipe, answer_faults, prepare, inherit)
