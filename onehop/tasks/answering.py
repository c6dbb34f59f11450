"""Answering: the part of a text that answers a question (Rajpurkar et al. 2016; Devlin et al. 2018, section 4.2).

Each token of the context has a score as the first and as the last of the answer; a span has their sum. The begin mark
stands for no answer. A context that is too long is read in windows that overlap, each with the question, and the best
span of all windows counts, against the lowest score of no answer among them (Devlin et al. 2018, section 4.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from onehop.data import fixed_batches
from onehop.data.labelled import SEPARATOR
from onehop.models.encoders import build_encoder
from onehop.models.tokenwise import Tokenwise
from onehop.nn import Source
from onehop.nn.modes import for_inference
from onehop.tasks.answer_settings import AnswerSettings
from onehop.tasks.framed import FramedDocuments
from onehop.tasks.running import Runs
from onehop.tasks.settings import Long
from onehop.text import Ledger, limit_context
from onehop.text.places import Where, named, places_of
from onehop.text.pretrained import PretrainedTokenizer

BATCH_TOKENS = 4096
Pair = tuple[str, str]


@dataclass(frozen=True)
class Found:
    """What a question was answered.

    Args:
        question: As it was given.
        context: As it was given.
        answer: The part of the context; empty where there is none.
        start: Its first character in the context; None where there is none.
        end: One more than its last.
        score: The probability of its first token times that of its last, in the window that it is from; of no answer,
            that of the begin mark, twice.
        margin: By how much the best span's score is above that of no answer.
        best: The best span, be it given or not.
        dropped: Whether question and context were too long and left out, as asked.
        cut: Tokens of the context that were not read, as asked.
        windows: Windows that the context was divided into, as asked; 0 where it was not too long.
        lost: Tokens that were not read: those cut off, or all of what was dropped.
    """

    question: str
    context: str
    answer: str
    start: int | None
    end: int | None
    score: float
    margin: float
    best: str
    dropped: bool = False
    cut: int = 0
    windows: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Window:
    """A question with a part of its context.

    Args:
        row: Their tokens, with the marks between them and without those around.
        begin: The place in the row where the context begins.
        first: The token of the whole context that stands there.
    """

    row: list[int]
    begin: int
    first: int


class QuestionDocuments:
    """Encodes questions with their contexts.

    Args:
        tokenizer: Of a pretrained encoder.
    """

    def __init__(self, tokenizer: PretrainedTokenizer) -> None:
        self.tokenizer, self.frame = tokenizer, FramedDocuments(tokenizer)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the row of each text: a question and its context with a mark between, or a text that asks itself."""
        return self.frame.encode_batch([SEPARATOR.join(pair_of(text)) for text in texts])

    def windows(
        self, question: list[int], context: list[int], ledger: Ledger, where: str, overlap: int
    ) -> list[Window]:
        """Return the windows of a context; see `limit_context`."""
        between = self.frame.between
        parts = limit_context(len(question), len(context), len(between), ledger, where, overlap)
        begin = len(question) + len(between)
        return [Window([*question, *between, *context[start:end]], begin, start) for start, end in parts]

    def places(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows and places of the states that may begin or end an answer: the begin mark and the context.

        Args:
            tokens: `(B, S)`, rows with an end mark.
            lengths: `(B,)`, end marks included.
        """
        inside = torch.arange(tokens.size(1), device=tokens.device) < lengths.unsqueeze(1) - 1
        marks = (tokens == self.frame.between[-1]) & inside
        alike = self.frame.between.count(self.frame.between[-1])  # of the marks between the two
        of_context = inside & ~marks & (marks.cumsum(1) >= alike)
        may = torch.cat([torch.ones_like(of_context[:, :1]), of_context], 1)  # the begin mark stands before all
        row, place = may.nonzero(as_tuple=True)
        return row, place


def pair_of(text: str) -> Pair:
    """Return question and context of one string; a text without a mark is both."""
    question, mark, context = text.partition(SEPARATOR)
    return (question, context) if mark else (text, text)


class Answerer(Runs):
    """A model that answers questions, with all it needs to run.

    Args:
        model: Encoder and two scores of each state; see `onehop.models.tokenwise.Tokenwise`.
        tokenizer: Of a pretrained encoder.
        settings: What its package remembers.
    """

    task = "answer"
    labels: tuple[str, ...] | None = None

    def __init__(self, model: Any, tokenizer: PretrainedTokenizer, settings: AnswerSettings) -> None:
        super().__init__(model, tokenizer, settings)
        self.documents = QuestionDocuments(tokenizer)

    @classmethod
    def build(cls, settings: AnswerSettings, tokenizer: PretrainedTokenizer) -> Answerer:
        """Return a model with fresh weights."""
        encoder: Any = build_encoder(settings.architecture, settings.model, settings.rows)
        output = nn.Linear(encoder.dim, 2)
        nn.init.zeros_(output.bias)
        return cls(Tokenwise(encoder, output, settings.head.dropout), tokenizer, settings)

    # -------------------------------------------------------------------------------------------- use

    def predict(
        self,
        pairs: Sequence[str | Pair],
        *,
        long: Long = "error",
        where: Where = "input",
        first_line: int = 1,
        batch_tokens: int = BATCH_TOKENS,
    ) -> list[Found]:
        """Answer questions; the result does not depend on which stand together.

        Args:
            pairs: Each a question and its context, or both in one string with U+001E between.
            long: What to do where question and context have more than `settings.text.max_length` tokens: "error",
                "drop", "cut" the context, or read it in windows.
            where: Name of the input, or the place of each in it, for messages.
            first_line: Number of the first question, where they are lines of the input.
            batch_tokens: Rows times longest row of a batch at most.

        Raises:
            LengthError: One is too long and `long` is "error"; or a question leaves too little room for its context.
        """
        given = [pair_of(pair) if isinstance(pair, str) else pair for pair in pairs]
        questions = self.tokenizer.encode_batch([question for question, _ in given])
        contexts = self.tokenizer.encode_places([context for _, context in given])
        ledger = Ledger(named(where), self.settings.text.max_length, long)
        each: list[tuple[list[Window], int]] = []
        whole = zip(questions, contexts, places_of(where, len(given), first_line), strict=True)
        for question, (tokens, _), place in whole:
            before, overlap = ledger.tokens, self.settings.text.overlap
            windows = self.documents.windows(question, tokens, ledger, place, overlap)
            each.append((windows, ledger.tokens - before))
        scores = iter(self.scores([window.row for windows, _ in each for window in windows], batch_tokens))
        return [
            self._found(pair, places, windows, [next(scores) for _ in windows], lost)
            for pair, (_, places), (windows, lost) in zip(given, contexts, each, strict=True)
        ]

    def _found(
        self, pair: Pair, places: Sequence[tuple[int, int]], windows: Sequence[Window], scores: Sequence[Tensor],
        lost: int,
    ) -> Found:  # fmt: skip
        question, context = pair
        if not windows:
            return Found(question, context, "", None, None, 0.0, 0.0, "", dropped=True, lost=lost)
        spans = [self.best(one) for one in scores]
        number = max(range(len(windows)), key=lambda i: spans[i][2])
        first, last, score = spans[number]
        none = min(float(one[0].sum()) for one in scores)
        margin, nothing = score - none, first == 0
        fate: dict[str, Any] = {"cut": lost, "windows": len(windows) if len(windows) > 1 else 0, "lost": lost}
        chances = scores[number].softmax(0)
        if nothing:  # no token that could be an answer
            return Found(question, context, "", None, None, 1.0, float("-inf"), "", **fate)
        shift = windows[number].first - 1  # the begin mark stands before the context
        start, end = places[first + shift][0], places[last + shift][1]
        text = context[start:end]
        if self.settings.unanswerable and margin < self.settings.threshold:
            chance = float(chances[0, 0] * chances[0, 1])
            return Found(question, context, "", None, None, chance, margin, text, **fate)
        chance = float(chances[first, 0] * chances[last, 1])
        return Found(question, context, text, start, end, chance, margin, text, **fate)

    def best(self, scores: Tensor) -> tuple[int, int, float]:
        """Return first and last token of the best span of a window, from 1, with its score; 0 where there is none."""
        size = len(scores) - 1
        if not size:
            return 0, 0, float("-inf")
        sums = scores[1:, :1] + scores[1:, 1:].T
        may = torch.ones_like(sums, dtype=torch.bool).triu().tril(self.settings.text.longest_answer - 1)
        best = int(sums.masked_fill(~may, float("-inf")).argmax())
        return best // size + 1, best % size + 1, float(sums.flatten()[best])

    # -------------------------------------------------------------------------------------------- tokens

    def encode(self, texts: Sequence[str | Pair], where: Where = "input", first_line: int = 1) -> list[list[int]]:
        """Return the row of each question and its context, as long as it is."""
        return self.documents.encode_batch([text if isinstance(text, str) else SEPARATOR.join(text) for text in texts])

    def source(self, tokens: Tensor, lengths: Tensor) -> Source:
        """Return what the encoder reads of padded rows."""
        return self.documents.frame.source(tokens, lengths)

    @torch.inference_mode()
    def scores(self, rows: Sequence[list[int]], batch_tokens: int = BATCH_TOKENS) -> list[Tensor]:
        """Return of each row the scores of the begin mark and of each token of its context, `(N, 2)`, not normalised.

        The first column is of the first token of an answer, the second of its last.
        """
        for_inference(self.model)
        found: list[Tensor] = [torch.zeros(0, 2)] * len(rows)
        for places, tokens, lengths in fixed_batches(rows, batch_tokens):
            given = tokens.to(self.device), lengths.to(self.device)
            row, place = self.documents.places(*given)
            values = self.model(self.source(*given), row, place).float().cpu()
            counts = torch.bincount(row.cpu(), minlength=len(places)).tolist()
            for number, own in zip(places, values.split(counts), strict=True):
                found[number] = own
        return found
