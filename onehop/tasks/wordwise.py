"""Sentences of words as rows of tokens that tell which of them begin a word.

A row is like that of any text, bare and without an end mark, but a token that begins a word is counted from `offset`,
the size of the vocabulary. So a row alone tells its words, however it is stored, sorted, batched or packed, and there
are as many labels as such tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onehop.data.labelled import SEPARATOR
from onehop.nn import Source
from onehop.tasks.framed import FramedDocuments
from onehop.text import Tokenizer
from onehop.text.pretrained import PretrainedTokenizer
from onehop.text.words import Splitting, split_words, word_pieces


@dataclass(frozen=True)
class Words:
    """A sentence as words.

    Args:
        text: The sentence; of words that were given, they with a space between each two.
        words: In their order.
        offsets: Where each begins and ends in the text.
    """

    text: str
    words: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]


def as_words(sentence: str | Sequence[str], splitting: Splitting) -> Words:
    """Return the words of a text, or those that are given as they are.

    Example:
        >>> as_words("It rains.", "punctuation").offsets, as_words(["It", "rains."], "punctuation").offsets
        (((0, 2), (3, 8), (8, 9)), ((0, 2), (3, 9)))
    """
    if isinstance(sentence, str) and SEPARATOR not in sentence:
        found = split_words(sentence, splitting)
        return Words(sentence, tuple(sentence[start:end] for start, end in found), tuple(found))
    given = sentence.removesuffix(SEPARATOR).split(SEPARATOR) if isinstance(sentence, str) else sentence
    offsets: list[tuple[int, int]] = []
    start = 0
    for word in given:
        offsets.append((start, start + len(word)))
        start += len(word) + 1
    return Words(" ".join(given), tuple(given), tuple(offsets))


def joined_words(words: Sequence[str]) -> str:
    r"""Return words as one string that `as_words` takes apart again; the mark between them is taken out of them.

    Example:
        >>> as_words(joined_words(["It", "rains."]), "punctuation").words
        ('It', 'rains.')
    """
    return "".join(word.replace(SEPARATOR, " ") + SEPARATOR for word in words)


class WordDocuments:
    """Encodes sentences as rows that tell their words.

    Args:
        tokenizer: Of the words.
        splitting: How texts are divided, where their words are not given.

    Attributes:
        offset: What is added to a token that begins a word.
    """

    def __init__(self, tokenizer: Tokenizer | PretrainedTokenizer, splitting: Splitting) -> None:
        self.tokenizer, self.offset = tokenizer, tokenizer.vocab_size
        self.splitting: Splitting = splitting
        self.frame = FramedDocuments(tokenizer) if isinstance(tokenizer, PretrainedTokenizer) else None

    def pieces(self, sentences: Sequence[Words]) -> list[list[list[int]]]:
        """Return the tokens of each word, the first of them counted from `offset`."""
        found = word_pieces(self.tokenizer, [sentence.words for sentence in sentences])
        return [[[tokens[0] + self.offset, *tokens[1:]] for tokens in words] for words in found]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the row of each text."""
        found = self.pieces([as_words(text, self.splitting) for text in texts])
        return [[token for word in words for token in word] for words in found]

    def source(self, rows: Tensor, lengths: Tensor, segments: Tensor | None = None) -> tuple[Source, Tensor, Tensor]:
        """Return what the encoder reads of padded rows `(B, S)`, and the row and place of each word's state, `(M,)`."""
        first = rows >= self.offset
        tokens = torch.where(first, rows - self.offset, rows)
        row, place = first.nonzero(as_tuple=True)
        if self.frame is None:
            return Source(tokens, lengths, segments), row, place
        begins = place + 1 if segments is None else place + 1 + segments[row, place]  # behind as many begin marks
        return self.frame.source(tokens, lengths, segments), row, begins
