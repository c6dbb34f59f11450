"""Validation of a model that answers while it trains, and its model card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import nan
from typing import TYPE_CHECKING

import torch

from onehop.data.labelled import SEPARATOR
from onehop.data.questions import Question
from onehop.evaluate.answers import shown_answers
from onehop.evaluate.report_page import SHOWN, report_page, shortened
from onehop.evaluate.scored import Grid
from onehop.metrics.answers import answering, best_threshold, scores
from onehop.tasks.answering import Answerer
from onehop.train.card import ending, longer, validated
from onehop.train.progress import Progress
from onehop.train.validation import spread

if TYPE_CHECKING:
    from onehop.train.answer import PreparedAnswerer


@dataclass(frozen=True)
class Answered:
    """How well the held-out questions were answered.

    Args:
        exact: Share whose answer is right, word for word.
        f1: Mean over the questions.
        questions: How many they are.
        varied: Share whose answer is another than the most frequent one, 0 where all get the same or none.
    """

    exact: float
    f1: float
    questions: int = 0
    varied: float = 0.0

    @property
    def figures(self) -> dict[str, float | int]:
        """Each by its name."""
        return asdict(self)

    @property
    def told(self) -> str:
        """What people are told."""
        return f"exact match {100 * self.exact:.1f} %, F1 {100 * self.f1:.1f} %"


class HeldOutQuestions:
    """Held-out questions, tokenised once; long contexts are read in windows, as in use.

    Where there may be no answer, each measurement sets the task's threshold to what has the best F1 here.

    Args:
        task: The model that trains.
        questions: With the answers that are right.
        rows: Their tokens, in rows within the limit.
        wanted: First and last token of the answer in each row, from 1; 0 where it has none.
        batch_tokens: Rows times longest row of a batch at most.
    """

    unknown = Answered(nan, nan)

    def __init__(
        self, task: Answerer, questions: Sequence[Question], rows: Sequence[list[int]],
        wanted: Sequence[tuple[int, int]], batch_tokens: int,
    ) -> None:  # fmt: skip
        self.task, self.questions, self.rows, self.wanted = task, questions, rows, wanted
        self.batch_tokens = batch_tokens

    def __len__(self) -> int:
        return len(self.questions)

    def texts(self, count: int) -> list[str]:
        """Return that many questions with their contexts, evenly spread."""
        some = [self.questions[i] for i in spread(len(self), count)]
        return [SEPARATOR.join((one.question, one.context)) for one in some]

    def loss(self) -> float:
        """Return the loss in nats for each row, without smoothing."""
        total = 0.0
        found = self.task.scores(self.rows, self.batch_tokens)
        for values, ends in zip(found, self.wanted, strict=True):
            total -= float(values.log_softmax(0)[torch.tensor(ends), torch.arange(2)].mean())
        return total / max(1, len(self.rows))

    def measure(self) -> Answered:
        """Return exact match and F1 of the answers that the model finds."""
        if not len(self):
            return Answered(0.0, 0.0)
        pairs = [(one.question, one.context) for one in self.questions]
        found = self.task.predict(pairs, long="window", batch_tokens=self.batch_tokens)
        wanted = [[answer.text for answer in one.answers or ()] for one in self.questions]
        answers = [one.best for one in found]
        if self.task.settings.unanswerable:
            margins = [one.margin for one in found]
            threshold, _ = best_threshold(margins, answers, wanted)
            self.task.settings = self.task.settings.model_copy(update={"threshold": round(threshold, 5)})
            chosen = self.task.settings.threshold
            answers = [one.best if one.margin >= chosen else "" for one in found]
        self.found, self.margins = answers, [one.margin for one in found]
        exact, f1 = scores(answers, wanted).mean(0)
        varied = 1 - Counter(answers).most_common(1)[0][1] / len(answers)
        return Answered(float(exact), float(f1), len(self), varied)

    def page(self, found: Answered) -> str:
        """Return the report of what the last `measure` found, as HTML."""
        wanted = [[answer.text for answer in one.answers or ()] for one in self.questions]
        shown = shown_answers(answering(self.found, wanted), len(self))
        each = scores(self.found, wanted)[:, 1].tolist()
        wrong = sorted((n for n, f1 in enumerate(each) if not f1), key=lambda n: -self.margins[n])[:SHOWN]
        rows = [
            [shortened(self.questions[n].question), shortened(" / ".join(wanted[n]) or "no answer"),
             shortened(self.found[n] or "no answer"), f"{self.margins[n]:.2f}"]
            for n in wrong
        ]  # fmt: skip
        head = ("question", "its answers", "it got", "score above that of none")
        return report_page("Report of a model that answers", shown, Grid("Surest mistakes", head, rows))


def answerer_card(prepared: PreparedAnswerer, progress: Progress, loss: float, found: Answered) -> str:
    """Return the card as Markdown."""
    settings, parent = prepared.task.settings, prepared.parent
    parameters = sum(p.numel() for p in prepared.task.model.parameters())
    none = (
        f"- no answer where its score is less than {settings.threshold:.3f} above that of none, chosen on validation"
        if settings.unanswerable
        else "- always gives an answer: no question of the training data was without one"
    )
    lines = [
        "# Answers to questions, as parts of a text",
        "",
        f"A {settings.architecture} encoder, {parameters:,} parameters, trained with Onehop on "
        f"{prepared.num_questions:,} questions.",
        "",
        f"- updates: {progress.update:,} of the run, {progress.targets:,} rows",
        validated(found.questions, "questions", f"loss {loss:.3f} nats, {found.told}"),
        none,
        f"- longest question with context: {settings.text.max_length} tokens",
        f"- longer ones: {'; '.join(longer(prepared))}",
        f"- continues the model whose onehop.json has the SHA-256 {parent.sha256}" if parent else "",
        *ending(settings, "predict MODEL questions.jsonl -o answers.jsonl"),
    ]
    return "\n".join(lines)
