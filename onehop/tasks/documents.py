"""Texts of one or several columns and sentences as one row of tokens, and back to what an encoder is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from onehop.data.labelled import SEPARATOR
from onehop.text import EOS, Tokenizer, split_sentences


class Documents:
    """Encodes texts with an end mark between columns, and between sentences where these are told apart.

    The mark is that which ends every row of a batch, so a row holds one behind each part, and the parts can be told
    from the tokens alone: text is never read as a mark.

    Args:
        tokenizer: Of the parts.
        sentences: Whether sentences are parts.
        language: By whose rules sentences are split.
    """

    def __init__(self, tokenizer: Tokenizer, *, sentences: bool, language: str = "") -> None:
        self.tokenizer, self.sentences, self.language = tokenizer, sentences, language or "en"

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, without the last end mark."""
        parts = [self.parts(text) for text in texts]
        encoded = self.tokenizer.encode_batch([part for of_text in parts for part in of_text])
        ends = list(accumulate(map(len, parts), initial=0))
        rows: list[list[int]] = []
        for start, end in pairwise(ends):
            row: list[int] = []
            for place, tokens in enumerate(encoded[start:end]):
                row += [EOS, *tokens] if place else tokens
            rows.append(row)
        return rows

    def parts(self, text: str) -> list[str]:
        """Return the columns of a text, or their sentences."""
        columns = text.split(SEPARATOR)
        if not self.sentences:
            return columns
        return [part for column in columns for part in split_sentences(column, self.language)]


def sentence_segments(tokens: Tensor, lengths: Tensor) -> Tensor:
    """Return the number of each token's sentence, `(B, S)`; an end mark belongs to what it ends, padding is -1.

    Example:
        >>> sentence_segments(torch.tensor([[5, 6, 2, 7, 2], [8, 2, 0, 0, 0]]), torch.tensor([5, 2]))
        tensor([[ 0,  0,  0,  1,  1],
                [ 0,  0, -1, -1, -1]])
    """
    marks = (tokens == EOS).long()
    real = torch.arange(tokens.size(1), device=tokens.device) < lengths.unsqueeze(1)
    return torch.where(real, marks.cumsum(1) - marks, -1)
