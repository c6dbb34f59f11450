"""Texts for a pretrained encoder: between the control tokens that it was trained with, `[CLS] a [SEP] b [SEP]`.

Rows of tokens are kept as those of other models are: bare, with the marks between two texts in them, and whoever makes
a batch puts an end mark behind. `source` turns that into what the encoder knows: the begin mark before, its own mark
in place of the end mark, and of which of two texts each token is. A text that is longer than the encoder reads may be a
row of windows, with a mark between that counts from the size of the vocabulary; each is then read by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from onehop.data.labelled import SEPARATOR
from onehop.errors import ModelError
from onehop.nn import Source
from onehop.nn.masks import places
from onehop.nn.rows import Rows, sentences
from onehop.tasks.documents import Documents
from onehop.text import Ledger, Tokenizer, limit_windows
from onehop.text.pretrained import PretrainedTokenizer

FRAME = 2  # control tokens around a text: one before and one behind


class FramedDocuments:
    r"""Encodes texts of one or two columns for a pretrained encoder.

    Args:
        tokenizer: Of the encoder.

    Raises:
        ModelError: It puts another number of control tokens around a text.

    Example:
        >>> from onehop.text.vocabularies import wordpiece
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "it", "rains", "pours"]
        >>> documents = FramedDocuments(wordpiece(words, lowercase=True))
        >>> rows = documents.encode_batch(["It rains\x1eit pours"])
        >>> rows
        [[5, 6, 3, 5, 7]]
        >>> source = documents.source(torch.tensor([[*rows[0], 0]]), torch.tensor([6]))
        >>> source.tokens.tolist(), source.types.tolist()
        ([[2, 5, 6, 3, 5, 7, 3]], [[0, 0, 0, 0, 1, 1, 1]])
    """

    def __init__(self, tokenizer: PretrainedTokenizer) -> None:
        self.tokenizer = tokenizer
        before, self.between, behind, self.typed = tokenizer.marks
        if len(before) != 1 or len(behind) != 1 or not self.between:
            raise ModelError(
                f"a tokenizer that puts {len(before)} marks before a text and {len(behind)} behind",
                "Use a checkpoint whose texts stand between two marks.",
            )
        self.begin, self.end, self.mark = before[0], behind[0], tokenizer.vocab_size

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, with the marks between its columns, without those around it."""
        parts = [text.split(SEPARATOR) for text in texts]
        encoded = self.tokenizer.encode_batch([part for of_text in parts for part in of_text])
        rows: list[list[int]] = []
        for start, end in pairwise(accumulate(map(len, parts), initial=0)):
            row = list(encoded[start])
            for tokens in encoded[start + 1 : end]:
                row += [*self.between, *tokens]
            rows.append(row)
        return rows

    def source(self, tokens: Tensor, lengths: Tensor, segments: Tensor | None = None) -> Source:
        """Return what the encoder reads of rows `(B, S)` that have an end mark at `lengths - 1`.

        Args:
            tokens: `(B, S)`, padded.
            lengths: `(B,)`, end marks included.
            segments: `(B, S)`, of packed rows the number of each token's text, -1 for padding. Every text has an end
                mark of its own and gets a begin mark, so that a token of text `n` moves `n + 1` to the right.
        """
        if bool((tokens == self.mark).any()):
            return self._divided(tokens, lengths, segments)
        if segments is not None:
            return self._packed(tokens, lengths, segments)
        rows = torch.arange(len(tokens), device=tokens.device)
        tokens = tokens.index_put((rows, lengths - 1), torch.full_like(lengths, self.end))
        tokens = torch.cat([torch.full_like(tokens[:, :1], self.begin), tokens], 1)
        if not self.typed:
            return Source(tokens, lengths + 1)
        marks = (tokens == self.between[-1]).long()
        types = (marks.cumsum(1) - marks).clamp(max=1)
        real = torch.arange(tokens.size(1), device=tokens.device) <= lengths.unsqueeze(1)
        return Source(tokens, lengths + 1, types=types * real)

    def in_windows(self, tokens: list[int], ledger: Ledger, where: str) -> list[int]:
        """Return a text that is too long as windows with marks between, and any other as it is.

        Args:
            tokens: The text.
            ledger: With the limit, and the policy `window`.
            where: Its place, for messages.
        """
        return self.joined(limit_windows(tokens, self.tokenizer.spaced, ledger, where))

    def joined(self, windows: Sequence[Sequence[int]]) -> list[int]:
        """Return windows as one row, with marks between."""
        row = list(windows[0])
        for window in windows[1:]:
            row += [self.mark, *window]
        return row

    def apart(self, tokens: Tensor, lengths: Tensor, segments: Tensor | None = None) -> Tensor:
        """Return the number of each token's window in its row, `(B, S)`; a mark ends what stands before it.

        Args:
            tokens: `(B, S)`, padded.
            lengths: `(B,)`, end marks included.
            segments: `(B, S)`, of packed rows the number of each token's text, -1 for padding.
        """
        real = torch.arange(tokens.size(1), device=tokens.device) < lengths.unsqueeze(1)
        texts = torch.zeros_like(tokens) if segments is None else segments
        texts = texts.masked_fill(~real, -1)
        ends = real & ((texts != F.pad(texts[:, 1:], (0, 1), value=-1)) | (tokens == self.mark))
        return (ends.long().cumsum(1) - ends.long()).masked_fill(~real, -1)

    def _divided(self, tokens: Tensor, lengths: Tensor, segments: Tensor | None) -> Source:
        """Return a row for each window: together in one, as texts are packed, they would be read in squared time."""
        windows = self.apart(tokens, lengths, segments)
        rows = Rows(windows)
        texts = torch.zeros_like(tokens) if segments is None else segments
        first = rows.firsts(texts)  # the number of each window's text in its row
        row = rows.firsts(torch.arange(len(tokens), device=tokens.device).unsqueeze(1).expand_as(tokens))
        new = torch.ones_like(first)
        new[1:] = ((first[1:] != first[:-1]) | (row[1:] != row[:-1])).long()
        return replace(self.source(self._unmarked(rows.split(tokens)), rows.lengths), groups=new.cumsum(0) - 1)

    def _unmarked(self, tokens: Tensor) -> Tensor:
        return tokens.masked_fill(tokens == self.mark, self.end)  # where a window ends, the end mark goes anyway

    def _packed(self, tokens: Tensor, lengths: Tensor, segments: Tensor) -> Source:
        real, counts = segments >= 0, sentences(segments)
        last = real & (segments != torch.cat([segments[:, 1:], torch.full_like(segments[:, :1], -1)], 1))
        tokens = tokens.masked_fill(last, self.end)
        row, place = real.nonzero(as_tuple=True)
        number = segments[row, place]
        shape = len(tokens), tokens.size(1) + (int(counts.max()) if len(counts) else 0)
        wide, apart = tokens.new_zeros(shape), segments.new_full(shape, -1)
        wide[row, place + number + 1], apart[row, place + number + 1] = tokens[row, place], number
        first = place - places(segments)[row, place] + number  # where the begin mark of each token's text stands
        wide[row, first], apart[row, first] = self.begin, number
        if not self.typed:
            return Source(wide, lengths + counts, apart)
        marks = (wide == self.between[-1]).long()
        before = marks.cumsum(1) - marks
        starts = (torch.arange(shape[1], device=wide.device) - places(apart)).clamp(min=0)
        types = (before - before.gather(1, starts)).clamp(max=1) * (apart >= 0)
        return Source(wide, lengths + counts, apart, types=types)


def documents_of(
    tokenizer: Tokenizer | PretrainedTokenizer, *, sentences: bool, language: str = ""
) -> Documents | FramedDocuments:
    """Return what encodes texts with a tokenizer; see `Documents` for the arguments.

    Raises:
        ModelError: Sentences are to be told apart by a pretrained tokenizer, which has no mark for that.
    """
    if isinstance(tokenizer, Tokenizer):
        return Documents(tokenizer, sentences=sentences, language=language)
    if sentences:
        raise ModelError("a pretrained model reads no marks between sentences", "Leave text.sentences out.")
    return FramedDocuments(tokenizer)
