"""Texts for a pretrained encoder: between the control tokens that it was trained with, `[CLS] a [SEP] b [SEP]`.

Rows of tokens are kept as those of other models are: bare, with the marks between two texts in them, and whoever makes
a batch puts an end mark behind. `source` turns that into what the encoder knows: the begin mark before, its own mark
in place of the end mark, and of which of two texts each token is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from onehop.data.labelled import SEPARATOR
from onehop.errors import ModelError
from onehop.nn import Source
from onehop.nn.masks import places
from onehop.nn.rows import sentences
from onehop.tasks.documents import Documents
from onehop.text import Tokenizer
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
        self.begin, self.end = before[0], behind[0]

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
