"""Embeddings: a vector for each text, by which texts of like meaning are near each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.config import Table
from onehop.data import fixed_batches
from onehop.data.labelled import joined
from onehop.errors import DataError
from onehop.models.checkpoint import build_pretrained, layout
from onehop.nn import Source
from onehop.nn.modes import for_inference
from onehop.nn.pooling import build_pooling
from onehop.tasks.classify_settings import DocumentLimits
from onehop.tasks.framed import FramedDocuments
from onehop.tasks.running import Runs
from onehop.tasks.settings import Long
from onehop.tasks.windows import Windows, average, divide, outputs
from onehop.text import Ledger
from onehop.text.places import Where, named, places_of
from onehop.text.pretrained import PretrainedTokenizer

BATCH_TOKENS = 4096


class EmbedSettings(Table):
    """Everything about an embedder but weights and tokenizer."""

    architecture: str
    model: dict[str, Any] = Field(description="The encoder's settings, resolved.")
    rows: int = Field(ge=1, description="Rows of the embeddings.")
    heads: list[str] = Field(default=[], description="Parts of the checkpoint that no embedding needs, kept with it.")
    pooling: Literal["mean", "cls", "max"] = Field(default="mean", description="One vector of many states.")
    unit: bool = Field(default=True, description="Whether a vector is brought to length 1.")
    text: DocumentLimits
    license: str = Field(default="", description="Licence of the model.")
    attribution: str = Field(default="", description="Notice that the data's licence asks for.")


@dataclass(frozen=True)
class Embedding:
    """The vector of a text.

    Args:
        text: As it was given.
        vector: `(D,)`; None where the text was dropped.
        cut: Tokens that were cut off its end, as asked.
        windows: Windows that it was divided into, as asked; 0 where it was not too long.
        lost: Tokens that were not read: those cut off, or all of what was dropped.
    """

    text: str
    vector: Tensor | None
    cut: int = 0
    windows: int = 0
    lost: int = 0

    @property
    def dropped(self) -> bool:
        """Whether the text was too long and was left out, as asked."""
        return self.vector is None


def one_text(text: str | Sequence[str], where: str) -> str:
    """Return a text as it is.

    Raises:
        DataError: It is several.
    """
    if not isinstance(text, str):
        problem = f"{len(text)} texts, and a vector is of one"
        raise DataError(problem, "Name the column of the text: --text-column", where)
    return text


class Embedder(Runs):
    """A pretrained encoder with all it needs to make vectors of texts.

    Args:
        model: Encoder and heads; see `onehop.models.checkpoint.Pretrained`.
        tokenizer: Of what it reads.
        settings: What its package remembers.
    """

    task = "embed"
    labels: tuple[str, ...] | None = None

    def __init__(self, model: Any, tokenizer: PretrainedTokenizer, settings: EmbedSettings) -> None:
        super().__init__(model, tokenizer, settings)
        self.documents = FramedDocuments(tokenizer)
        self.pooling: nn.Module = build_pooling(settings.pooling, model.encoder.dim, 0)

    @classmethod
    def build(cls, settings: EmbedSettings, tokenizer: PretrainedTokenizer) -> Embedder:
        """Return an embedder with fresh weights."""
        of = layout(settings.architecture)
        return cls(build_pretrained(of, settings.model, settings.heads, settings.rows, 0), tokenizer, settings)

    def source(self, tokens: Tensor, lengths: Tensor) -> Source:
        """Return what the encoder reads of padded rows."""
        return self.documents.source(tokens, lengths)

    def encode(
        self, texts: Sequence[str | Sequence[str]], where: Where = "input", first_line: int = 1
    ) -> list[list[int]]:
        """Return the tokens of each text, as long as it is, without the marks around it.

        Raises:
            DataError: What is given for one is several texts.
        """
        whole: list[str] = []
        for text, place in zip(texts, places_of(where, len(texts), first_line), strict=True):
            whole.append(joined([one_text(text, place)]))
        return self.documents.encode_batch(whole)

    def predict(
        self,
        texts: Sequence[str],
        *,
        long: Long = "error",
        where: Where = "input",
        first_line: int = 1,
        batch_tokens: int = BATCH_TOKENS,
    ) -> list[Embedding]:
        """Embed texts; the result does not depend on which stand together.

        Args:
            texts: Any; of an empty one, the vector is that of its marks.
            long: What to do with a text of more than `settings.text.max_length` tokens: "error", "drop", "cut", or
                divide it into windows whose vectors are averaged, by their tokens.
            where: Name of the input, or the place of each in it, for messages.
            first_line: Number of the first text, where they are lines of the input.
            batch_tokens: Rows times longest row of a batch at most.

        Raises:
            LengthError: A text is too long and `long` is "error".
        """
        ledger = Ledger(named(where), self.settings.text.max_length, long)
        encoded, places = self.encode(texts, where, first_line), places_of(where, len(texts), first_line)
        each = divide(encoded, self.tokenizer.spaced, ledger, places, empty=True)
        vectors = outputs(each, self.vectors([row for windows in each for row in windows.rows], batch_tokens))
        return [self._embedding(*found) for found in zip(texts, each, vectors, strict=True)]

    def _embedding(self, text: str, windows: Windows, vectors: Tensor) -> Embedding:
        if not windows.rows:
            return Embedding(text, None, lost=windows.lost)
        mean = average(windows, vectors)
        if windows.count and self.settings.unit:
            mean = F.normalize(mean, dim=-1)
        return Embedding(text, mean, windows.lost, windows.count, windows.lost)

    @torch.inference_mode()
    def vectors(self, rows: Sequence[list[int]], batch_tokens: int = BATCH_TOKENS) -> Tensor:
        """Return the vector of each row of tokens, `(N, D)`, on the processor."""
        for_inference(self.model)
        found = torch.zeros(len(rows), self.model.encoder.dim)
        for places, tokens, lengths in fixed_batches(rows, batch_tokens):
            source = self.source(tokens.to(self.device), lengths.to(self.device))
            found[places] = self.vector(self.pooling(self.model.encoder.encode(source).states, source.lengths))
        return found

    def vector(self, pooled: Tensor) -> Tensor:
        """Return what was pooled `(N, D)` as it is told: float32, of length 1 where that is set, on the processor."""
        return (F.normalize(pooled.float(), dim=-1) if self.settings.unit else pooled.float()).cpu()
