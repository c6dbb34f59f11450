"""Multiple choice: each option is read with the context, and a softmax goes over their scores (Devlin 2018, 4.4).

A choice is stored as one row of tokens: the context, and behind it each option, after a mark that counts from the size
of the vocabulary. Whatever stores, sorts or batches rows knows nothing of options; `ChoiceDocuments.expand` makes of a
row what the encoder reads, one row for each option.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from onehop.data.choices import Choice
from onehop.data.labelled import SEPARATOR
from onehop.errors import ConfigError, DataError, LengthError, ModelError
from onehop.nn import Source
from onehop.tasks.classify_settings import TextSettings
from onehop.tasks.framed import FramedDocuments
from onehop.tasks.running import Runs
from onehop.tasks.settings import Long
from onehop.tasks.whole import build_pooled, outputs_of
from onehop.text import Ledger, limit
from onehop.text.places import Where, named, places_of
from onehop.text.pretrained import PretrainedTokenizer

BATCH_TOKENS = 4096


class ChooseSettings(TextSettings):
    """Everything about a model that chooses but weights and tokenizer."""

    option_columns: list[str] = Field(default=[], description="Names of the options' columns, or of the one of lists.")
    first_number: int = Field(default=0, ge=0, le=1, description="Number of the first option in the training data.")


class ChoiceDocuments:
    """Encodes choices for a pretrained encoder.

    Args:
        tokenizer: Of the encoder.
        contexts: Texts of a context.
    """

    def __init__(self, tokenizer: PretrainedTokenizer, contexts: int) -> None:
        self.frame, self.contexts, self.mark = FramedDocuments(tokenizer), contexts, tokenizer.vocab_size

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the row of each choice, as `Choice.text` has it: context, and each option behind a mark."""
        parts = [text.split(SEPARATOR) for text in texts]
        contexts = self.frame.encode_batch([SEPARATOR.join(each[: self.contexts]) for each in parts])
        options = iter(self.frame.encode_batch([option for each in parts for option in each[self.contexts :]]))
        rows: list[list[int]] = []
        for each, context in zip(parts, contexts, strict=True):
            row = list(context)
            for _ in each[self.contexts :]:
                row += [self.mark, *next(options)]
            rows.append(row)
        return rows

    def expand(self, row: Sequence[int]) -> list[list[int]]:
        """Return what the encoder reads of a row: context and option, for each option; of a text without, the text."""
        marks = [place for place, token in enumerate(row) if token == self.mark]
        if not marks:
            return [list(row)]
        context = [*row[: marks[0]], *self.frame.between]
        return [[*context, *row[one + 1 : end]] for one, end in zip(marks, [*marks[1:], len(row)], strict=True)]

    def limited(self, row: list[int], ledger: Ledger, where: str) -> list[int] | None:
        """Return a row whose context is short enough for every option, or None where it is dropped.

        Raises:
            LengthError: It is too long and the policy is `error`; or an option alone is.
        """
        longest = max(map(len, self.expand(row)))
        kept = limit([0] * longest, ledger, where)
        if kept is None or len(kept) == longest:
            return None if kept is None else row
        first = row.index(self.mark) if self.mark in row else len(row)
        left = first - (longest - len(kept))
        if left < 0:
            raise LengthError(
                f"an option and the marks around it are longer than the model's limit of {ledger.max_length}",
                "Shorten it, use `--long drop`, or train with a larger text.max_length.",
                where,
            )
        return row[:left] + row[first:]


@dataclass(frozen=True)
class Chosen:
    """Which option was chosen.

    Args:
        contexts: As they were given.
        options: Likewise.
        choice: The place of the likeliest, from 0; None where the choice was dropped.
        scores: The probability of each; none where it was dropped.
        dropped: Whether context and an option were too long and the choice was left out, as asked.
        cut: Tokens that were cut off the context's end, as asked.
        lost: Tokens that were not read: those cut off, or all of context and longest option where it was dropped.
    """

    contexts: tuple[str, ...]
    options: tuple[str, ...]
    choice: int | None
    scores: tuple[float, ...] = ()
    dropped: bool = False
    cut: int = 0
    lost: int = 0
    windows = 0

    @property
    def option(self) -> str | None:
        """The text of the option that was chosen."""
        return None if self.choice is None else self.options[self.choice]


class Chooser(Runs):
    """A model that chooses one of several options, with all it needs to run.

    Args:
        model: Encoder, pooling and head; see `onehop.models.pooled.Pooled`.
        tokenizer: Of a pretrained model.
        settings: What its package remembers.

    Raises:
        ModelError: Sentences are to be told apart, for which a pretrained tokenizer has no mark.
    """

    task = "choose"
    labels: tuple[str, ...] | None = None

    def __init__(self, model: Any, tokenizer: PretrainedTokenizer, settings: ChooseSettings) -> None:
        if settings.text.sentences:
            raise ModelError("a pretrained model reads no marks between sentences", "Leave text.sentences out.")
        super().__init__(model, tokenizer, settings)
        self.documents = ChoiceDocuments(tokenizer, max(1, len(settings.columns)))

    @classmethod
    def build(cls, settings: ChooseSettings, tokenizer: PretrainedTokenizer) -> Chooser:
        """Return one with fresh weights."""
        return cls(build_pooled(settings, 1, tokenizer.vocab_size), tokenizer, settings)

    def predict(
        self,
        choices: Sequence[Choice],
        *,
        long: Long = "error",
        where: Where = "input",
        first_line: int = 1,
        batch_tokens: int = BATCH_TOKENS,
    ) -> list[Chosen]:
        """Choose an option of each; the result does not depend on which choices stand together.

        Args:
            choices: With as many contexts as the model was trained on, and two or more options.
            long: What to do where context and an option have more than `settings.text.max_length` tokens: "error",
                "drop", or "cut" the context.
            where: Name of the input, or the place of each in it, for messages.
            first_line: Number of the first choice, where they are lines of the input.
            batch_tokens: Rows times longest row of a batch at most.

        Raises:
            LengthError: A choice is too long and `long` is "error".
            DataError: A choice has not as many contexts as the model was trained on, or fewer than two options.
            ConfigError: `long` is "window".
        """
        if long == "window":
            remedy = "Use error, drop or cut."
            raise ConfigError("a choice has no windows: options are compared over one context", remedy, "--long window")
        ledger = Ledger(named(where), self.settings.text.max_length, long)
        rows = self.rows(choices, where, first_line)
        each = zip(rows, places_of(where, len(rows), first_line), strict=True)
        kept = [self.documents.limited(row, ledger, place) for row, place in each]
        found = iter(self.scores([row for row in kept if row is not None], batch_tokens))
        chosen: list[Chosen] = []
        for one, row, left in zip(choices, rows, kept, strict=True):
            if left is None:
                lost = max(map(len, self.documents.expand(row)))
                chosen.append(Chosen(one.contexts, one.options, None, dropped=True, lost=lost))
                continue
            values, cut = next(found).softmax(0), len(row) - len(left)
            place, scores = int(values.argmax()), tuple(values.tolist())
            chosen.append(Chosen(one.contexts, one.options, place, scores, cut=cut, lost=cut))
        return chosen

    def rows(self, choices: Sequence[Choice], where: Where = "input", first_line: int = 1) -> list[list[int]]:
        """Return the row of tokens of each choice, as long as it is; see `ChoiceDocuments`."""
        for one, place in zip(choices, places_of(where, len(choices), first_line), strict=True):
            if len(one.contexts) != self.documents.contexts:
                problem = f"{len(one.contexts)} contexts where the model reads {self.documents.contexts}"
                remedy = f"Give {', '.join(self.settings.columns) or 'one text'} for each."
                raise DataError(problem, remedy, place)
            if len(one.options) < 2:
                raise DataError(f"{len(one.options)} options", "Give two or more.", place)
        return self.documents.encode_batch([one.text for one in choices])

    def encode(self, choices: Sequence[Choice], where: Where = "input", first_line: int = 1) -> list[list[int]]:
        """Return the longest of the rows that the encoder reads of each choice."""
        return [max(self.documents.expand(row), key=len) for row in self.rows(choices, where, first_line)]

    def source(self, tokens: Tensor, lengths: Tensor) -> Source:
        """Return what the encoder reads of padded rows, one for each option."""
        return self.documents.frame.source(tokens, lengths)

    @torch.inference_mode()
    def scores(self, rows: Sequence[list[int]], batch_tokens: int = BATCH_TOKENS) -> list[Tensor]:
        """Return the score of each option of each row, not normalised, `(options,)`, on the processor."""
        each = [self.documents.expand(row) for row in rows]
        flat = [option for options in each for option in options]
        values = torch.zeros(len(flat))
        for places, found in outputs_of(self, flat, batch_tokens):
            values[places] = found.squeeze(-1).cpu()
        return list(values.split([len(options) for options in each]))
