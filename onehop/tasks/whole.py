"""What every task that reads a whole text as one vector does alike: the model, the tokens, the batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from onehop.data import fixed_batches
from onehop.data.labelled import SEPARATOR, joined
from onehop.errors import DataError
from onehop.models.body import Transformed, sentence_transform
from onehop.models.encoders import build_encoder
from onehop.models.pooled import Pooled
from onehop.nn import Source
from onehop.nn.modes import for_inference
from onehop.nn.pooling import build_pooling
from onehop.tasks.documents import Documents, sentence_segments
from onehop.tasks.framed import FramedDocuments, documents_of
from onehop.tasks.running import Runs
from onehop.tasks.settings import Long
from onehop.tasks.windows import Windows, average, divide, outputs
from onehop.text import Ledger
from onehop.text.places import Where, named, places_of

BATCH_TOKENS = 4096
Given = str | Sequence[str]  # a text, or the texts of its columns
Found = TypeVar("Found")


class WholeText(Runs, Generic[Found]):
    """A model of texts, each read as one vector, with all it needs to run.

    Args:
        model: Encoder, pooling and head; see `onehop.models.pooled.Pooled`.
        tokenizer: Of what it reads.
        settings: What its package remembers.
    """

    def __init__(self, model: Any, tokenizer: Any, settings: Any) -> None:
        super().__init__(model, tokenizer, settings)
        self.documents = documents_of(tokenizer, sentences=settings.text.sentences, language=settings.language)

    def predict(
        self,
        texts: Sequence[Given],
        *,
        long: Long = "error",
        where: Where = "input",
        first_line: int = 1,
        batch_tokens: int = BATCH_TOKENS,
    ) -> list[Found]:
        """Return what is found of each text; it does not depend on which texts stand together.

        Args:
            texts: Each a text, or the texts of its columns where the model was trained on several.
            long: What to do with a text of more than `settings.text.max_length` tokens: "error", "drop", "cut", or
                divide it into windows, whose states are pooled together where the model has learnt that, and whose
                probabilities, or numbers, are else averaged, by their tokens.
            where: Name of the input, or the place of each in it, for messages.
            first_line: Number of the first text, where they are lines of the input.
            batch_tokens: Rows times longest row of a batch at most.

        Raises:
            LengthError: A text is too long and `long` is "error".
            DataError: A text has not as many columns as the model was trained on.

        Example:
            >>> found = onehop.load_classifier("runs/reviews").predict(["The room was lovely.", ""])
            >>> found[0].label, round(sum(found[0].scores.values()), 4), found[1].label
            ('good', 1.0, None)
        """
        ledger = Ledger(named(where), self.settings.text.max_length, long)
        encoded = self.encode(texts, where, first_line)
        each = divide(encoded, self.tokenizer.spaced, ledger, places_of(where, len(texts), first_line), empty=False)
        values = self._values(each, batch_tokens)
        given = (text if isinstance(text, str) else tuple(text) for text in texts)
        return [
            self.found(text, windows, average(windows, row) if windows.rows else None)
            for text, windows, row in zip(given, each, values, strict=True)
        ]

    def _values(self, each: Sequence[Windows], batch_tokens: int) -> Sequence[Tensor]:
        """Return of each text what was found for its windows, `(windows, ...)`, or for all at once, `(1, ...)`."""
        if self.settings.text.windows == "averaged":
            return list(outputs(each, self.averages([row for windows in each for row in windows.rows], batch_tokens)))
        documents = cast("FramedDocuments", self.documents)
        values = self.averages([documents.joined(windows.rows) for windows in each if windows.rows], batch_tokens)
        return values.split([min(1, len(windows.rows)) for windows in each])

    @abstractmethod
    def averages(self, rows: Sequence[list[int]], batch_tokens: int) -> Tensor:
        """Return of each row of tokens what may be averaged over the windows of a text, `(N, ...)`."""

    @abstractmethod
    def found(self, text: str | tuple[str, ...], windows: Windows, mean: Tensor | None) -> Found:
        """Return what is found of a text.

        Args:
            text: As it was given.
            windows: Rows that it was divided into, and what was lost on the way.
            mean: Of what `averages` gave for its rows; None where it has none, since it is empty or was dropped.
        """

    def encode(self, texts: Sequence[Given], where: Where = "input", first_line: int = 1) -> list[list[int]]:
        """Return the tokens of each text, as long as it is; none where it is empty."""
        return encode_texts(self.documents, self.settings.columns, texts, places_of(where, len(texts), first_line))

    def source(self, tokens: Tensor, lengths: Tensor, segments: Tensor | None = None) -> Source:
        """Return what the encoder reads of padded rows, or of packed ones, whose texts are segments."""
        return source_of(self, tokens, lengths, segments)


def build_pooled(settings: Any, outputs: int, vocab_size: int) -> Pooled:
    """Build encoder, pooling and head with fresh weights.

    Args:
        settings: A `TextSettings`.
        outputs: Numbers that the model gives for a text.
        vocab_size: Of the tokenizer; the settings may have more rows.
    """
    encoder: Any = build_encoder(settings.architecture, settings.model, settings.rows or vocab_size)
    head, dim = settings.head, encoder.dim
    pooling = build_pooling(
        head.pooling, dim, head.attention_dim, two_ways=encoder.two_ways, record=f"encoder.{encoder.unit}"
    )
    if head.transform != "none":
        pooling = Transformed(pooling, sentence_transform(head.transform, dim))
    output = nn.Linear(dim, outputs)
    nn.init.zeros_(output.bias)
    return Pooled(encoder, pooling, output, head.dropout)


def encode_texts(
    documents: Documents | FramedDocuments,
    columns: Sequence[str],
    texts: Sequence[str | Sequence[str]],
    where: Sequence[str],
) -> list[list[int]]:
    """Return the tokens of each text, as long as it is; none where it is empty. `where` is the place of each.

    Raises:
        DataError: A text has not as many columns as the model reads.
    """
    wanted = max(1, len(columns))
    whole: list[str] = []
    for text, place in zip(texts, where, strict=True):
        given = [text] if isinstance(text, str) else list(text)
        if len(given) != wanted:
            raise DataError(
                f"{len(given)} texts where the model reads {wanted}",
                f"Give {', '.join(columns) or 'one text'} for each.", place,
            )  # fmt: skip
        whole.append(joined(given))
    encoded = documents.encode_batch(whole)
    empty = [not text.replace(SEPARATOR, "").strip() for text in whole]
    return [[] if nothing else tokens for nothing, tokens in zip(empty, encoded, strict=True)]


def source_of(task: Any, tokens: Tensor, lengths: Tensor, segments: Tensor | None = None) -> Source:
    """Return what the encoder of a task reads of padded rows, or of packed ones, whose texts are segments."""
    if isinstance(task.documents, FramedDocuments):
        return task.documents.source(tokens, lengths, segments)
    if segments is not None:
        return Source(tokens, lengths, segments)
    sentences = task.model.encoder.unit == "sentences"
    return Source(tokens, lengths, sentence_segments(tokens, lengths) if sentences else None)


@torch.inference_mode()
def outputs_of(task: Any, rows: Sequence[list[int]], batch_tokens: int) -> Iterator[tuple[list[int], Tensor]]:
    """Yield the places of rows of tokens, batch by batch, and what the model gives for each, `(N, C)` in float32."""
    for_inference(task.model)
    for places, tokens, lengths in fixed_batches(rows, batch_tokens):
        yield places, task.model(task.source(tokens.to(task.device), lengths.to(task.device))).float()
