"""Tagging: a label for each word of a sentence, and the spans that the labels mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from onehop.data import fixed_batches
from onehop.errors import DataError
from onehop.metrics.schemes import Span, legal, spans
from onehop.models.encoders import build_encoder
from onehop.models.tokenwise import Tokenwise
from onehop.nn import Source
from onehop.nn.crf import Allowed, Crf, viterbi
from onehop.nn.modes import for_inference
from onehop.tasks.running import Runs
from onehop.tasks.settings import Long
from onehop.tasks.tag_settings import TagSettings
from onehop.tasks.wordwise import WordDocuments, Words, as_words
from onehop.text import Ledger, Tokenizer, limit_words, unread
from onehop.text.places import Where, named, places_of
from onehop.text.pretrained import PretrainedTokenizer

BATCH_TOKENS = 4096
TOGETHER = 64  # sentences whose labels are searched at once
SHARED = 4  # a window reads a quarter of what it may hold again, so that no word stands at an edge without a need


@dataclass(frozen=True)
class Tags:
    """What the words of a sentence were found to be.

    Args:
        words: With their places in the text.
        labels: Of each word; None where it was not read. Together they fit the scheme.
        scores: The probability of that label at that word; 0 where there is none.
        spans: That the labels mean; their `start` and `end` count words.
        dropped: Whether the sentence was too long and was left out, as asked.
        cut: Tokens that were not read, as asked, or as part of a word that is longer than the limit.
        windows: Windows that it was divided into, as asked; 0 where it was not too long.
        unread: Tokens of each word that were not read.
    """

    words: Words
    labels: tuple[str | None, ...]
    scores: tuple[float, ...]
    spans: tuple[Span, ...]
    dropped: bool = False
    cut: int = 0
    windows: int = 0
    unread: tuple[int, ...] = ()

    @property
    def lost(self) -> int:
        """Tokens that were not read: those cut off, or all of what was dropped."""
        return sum(self.unread)

    @property
    def label(self) -> str | None:
        """The first label, or None where there is no word."""
        return self.labels[0] if self.labels else None


class Tagger(Runs):
    """A tagger with all it needs to run.

    Args:
        model: Encoder and head; see `onehop.models.tokenwise.Tokenwise`.
        tokenizer: Of what it reads.
        settings: What its package remembers.
    """

    task = "tag"

    def __init__(self, model: Any, tokenizer: Any, settings: TagSettings) -> None:
        super().__init__(model, tokenizer, settings)
        self.documents = WordDocuments(tokenizer, settings.text.words)
        self.allowed = Allowed.of(settings.labels, partial(legal, scheme=settings.scheme))

    @classmethod
    def build(cls, settings: TagSettings, tokenizer: Tokenizer | PretrainedTokenizer) -> Tagger:
        """Return a tagger with fresh weights."""
        encoder: Any = build_encoder(settings.architecture, settings.model, settings.rows or tokenizer.vocab_size)
        count = len(settings.labels)
        output = nn.Linear(encoder.dim, count)
        nn.init.zeros_(output.bias)
        model = Tokenwise(encoder, output, settings.head.dropout, Crf(count) if settings.head.crf else None)
        return cls(model, tokenizer, settings)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels, in the order of their ids."""
        return tuple(self.settings.labels)

    def check_label(self, label: str, where: str) -> str:
        """Return a label as data have it.

        Raises:
            DataError: The model has no such label.
        """
        if label not in self.settings.labels:
            known = ", ".join(self.settings.labels)
            raise DataError(
                f"the label {label!r}, which the model does not know",
                f"It knows {known}. Mend the label, or train a model that knows it.",
                where,
            )
        return label

    # -------------------------------------------------------------------------------------------- use

    def predict(
        self,
        sentences: Sequence[str | Sequence[str]],
        *,
        long: Long = "error",
        where: Where = "input",
        first_line: int = 1,
        batch_tokens: int = BATCH_TOKENS,
    ) -> list[Tags]:
        """Label the words of sentences; the result does not depend on which stand together.

        Args:
            sentences: Each a text, which is divided into words, or its words.
            long: What to do with a sentence of more than `settings.text.max_length` tokens: "error", "drop", "cut", or
                read it in windows of whole words that overlap; the labels of all its words are chosen together.
            where: Name of the input, or the place of each in it, for messages.
            first_line: Number of the first sentence, where they are lines of the input.
            batch_tokens: Rows times longest row of a batch at most.

        Raises:
            LengthError: A sentence is too long and `long` is "error".
        """
        given = [as_words(sentence, self.settings.text.words) for sentence in sentences]
        ledger = Ledger(named(where), self.settings.text.max_length, long)
        parts: list[list[tuple[int, int]]] = []
        missed: list[list[int]] = []
        rows: list[list[int]] = []
        each = zip(self.documents.pieces(given), places_of(where, len(given), first_line), strict=True)
        for pieces, place in each:
            counts = [len(word) for word in pieces]
            shared = self.settings.text.max_length // SHARED
            parts.append(limit_words(counts, ledger, place, shared) if pieces else [])
            missed.append(unread(counts, parts[-1], ledger.max_length))
            for start, end in parts[-1]:
                tokens = [token for word in pieces[start:end] for token in word]
                rows.append(tokens[: self.settings.text.max_length])
        emissions = iter(self.emissions(rows, batch_tokens))
        joined = [_joined(windows, [next(emissions) for _ in windows]) for windows in parts]
        ids = self.decode([one for one in joined if len(one)])
        scores = self.scores([one for one in joined if len(one)], ids)
        both = iter(zip(ids, scores, strict=True))
        return [
            self._tags(words, next(both) if len(one) else ([], []), windows, own)
            for words, one, windows, own in zip(given, joined, parts, missed, strict=True)
        ]

    def _tags(self, words: Words, found: Any, windows: list[tuple[int, int]], missed: list[int]) -> Tags:
        ids, scores = found
        rest = len(words.words) - len(ids)
        labels = (*(self.labels[label] for label in ids), *[None] * rest)
        dropped = bool(words.words) and not windows
        return Tags(
            words, labels, (*scores, *[0.0] * rest), tuple(spans(labels, self.settings.scheme)), dropped,
            0 if dropped else sum(missed), len(windows) if len(windows) > 1 else 0, tuple(missed),
        )  # fmt: skip

    # -------------------------------------------------------------------------------------------- tokens

    def encode(
        self, texts: Sequence[str | Sequence[str]], where: Where = "input", first_line: int = 1
    ) -> list[list[int]]:
        """Return the row of each sentence, as long as it is; none where there is no word."""
        given = [as_words(text, self.settings.text.words) for text in texts]
        return [[token for word in pieces for token in word] for pieces in self.documents.pieces(given)]

    def source(self, tokens: Tensor, lengths: Tensor) -> Source:
        """Return what the encoder reads of padded rows."""
        return self.documents.source(tokens, lengths)[0]

    @torch.inference_mode()
    def emissions(self, rows: Sequence[list[int]], batch_tokens: int = BATCH_TOKENS) -> list[Tensor]:
        """Return for each row what each of its words says of every label, `(W, C)`, on the processor.

        Log-probabilities; of a model with a CRF, what that goes on from.
        """
        for_inference(self.model)
        found: list[Tensor] = [torch.zeros(0, len(self.labels))] * len(rows)
        for places, tokens, lengths in fixed_batches(rows, batch_tokens):
            source, row, place = self.documents.source(tokens.to(self.device), lengths.to(self.device))
            logits = self.model(source, row, place).float()
            values = (logits if self.model.crf else logits.log_softmax(-1)).cpu()
            counts = torch.bincount(row.cpu(), minlength=len(places)).tolist()
            for number, own in zip(places, values.split(counts), strict=True):
                found[number] = own
        return found

    @torch.inference_mode()
    def decode(self, emissions: Sequence[Tensor]) -> list[list[int]]:
        """Return the likeliest labels that fit the scheme, as ids, of sentences of at least a word."""
        if self.settings.scheme == "none" and not self.model.crf:
            return [one.argmax(1).tolist() for one in emissions]
        found: list[list[int]] = [[]] * len(emissions)
        for some in _alike(emissions):
            sizes = torch.tensor([len(emissions[i]) for i in some])
            padded = pad_sequence([emissions[i] for i in some], batch_first=True)
            crf = self.model.crf
            paths = viterbi(padded.to(self.device), sizes, self.allowed, crf)
            for i, path in zip(some, paths, strict=True):
                found[i] = path
        return found

    def log_probs(self, emissions: Sequence[Tensor]) -> list[Tensor]:
        """Return the log-probability of every label at each word, `(W, C)`, of sentences of at least a word."""
        crf = self.model.crf
        if not crf:
            return list(emissions)
        found: list[Tensor] = [torch.zeros(0)] * len(emissions)
        for some in _alike(emissions):
            sizes = torch.tensor([len(emissions[i]) for i in some])
            padded = pad_sequence([emissions[i] for i in some], batch_first=True)
            values = crf.marginals(padded.to(self.device), sizes.to(self.device)).clamp(min=1e-30).log().cpu()
            for place, i in enumerate(some):
                found[i] = values[place, : len(emissions[i])]
        return found

    def scores(self, emissions: Sequence[Tensor], ids: Sequence[list[int]]) -> list[list[float]]:
        """Return the probability of each label of each sentence."""
        values = self.log_probs(emissions)
        return [one[range(len(own)), own].exp().tolist() for one, own in zip(values, ids, strict=True)]


def _alike(emissions: Sequence[Tensor]) -> list[list[int]]:
    """Return the places of sentences of like length, a few at a time."""
    order = sorted(range(len(emissions)), key=lambda i: len(emissions[i]))
    return [order[start : start + TOGETHER] for start in range(0, len(order), TOGETHER)]


def _joined(windows: Sequence[tuple[int, int]], values: Sequence[Tensor]) -> Tensor:
    """Return one row for each word; of a word that two windows read, that of the window whose edge is farther off."""
    if not windows:
        return torch.zeros(0, 0)
    bounds = [windows[0][0], *((start + end) // 2 for (_, end), (start, _) in pairwise(windows))]
    bounds.append(windows[-1][1])
    return torch.cat([
        own[low - start : high - start]
        for (start, _), own, low, high in zip(windows, values, bounds, bounds[1:], strict=False)
    ])  # fmt: skip
