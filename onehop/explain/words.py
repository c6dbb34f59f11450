"""Words out of pieces: what people read, in place of what a model reads.

A word is what stands between white space, as in the text itself, so that its number means the same to whoever splits
the text there. In scripts that are written without spaces (Chinese, Japanese, Thai and their like) each piece stands
for itself; only the bytes of one character are one.

Where a word is several pieces, the weights *to* it are summed, since they are shares of one whole, and those *from* it
are averaged, since each of its pieces spreads a whole of its own (Clark et al. 2019, section 4.1). So each row of words
still sums to what its pieces' rows sum to.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onehop.text import BOS, EOS, PAD, Tokenizer
from onehop.text.vocabulary import BYTES, CONTROLS, RESERVED

END = "</s>"  # how the end mark is written; text never is this mark, since its characters are pieces of their own

# Thai, Lao, Tibetan, Burmese, Khmer; kana, Han and what stands with them; halfwidth and fullwidth forms.
UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u30ff\u31f0-\u9fff\uf900-\ufaff\uff00-\uffdf"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)


@dataclass(frozen=True)
class Words:
    """The words of a sentence, marks among them.

    Args:
        texts: Of each.
        owners: The number of the word that each piece belongs to; pieces come in order.
        marks: Whether each word is a mark, the end mark or a tag, and stands in no text.
        continues: Whether there is no end of a word before the first, so that it may go on with the one of the window
            before.
    """

    texts: tuple[str, ...]
    owners: tuple[int, ...]
    marks: tuple[bool, ...]
    continues: bool = False

    def __len__(self) -> int:
        return len(self.texts)


def split_words(tokenizer: Tokenizer, tokens: Sequence[int], *, end: bool = True) -> Words:
    """Return the words that tokens are pieces of.

    Args:
        tokenizer: Of the tokens.
        tokens: Without end mark.
        end: Whether the end mark follows, a word of its own.

    Example:
        >>> from onehop.text import train_bpe
        >>> tokenizer = train_bpe(["the cat sat", "the cat ate"] * 10, vocab_size=300)
        >>> words = split_words(tokenizer, tokenizer.encode("the cats!"))
        >>> words.texts, words.owners
        (('the', 'cats!', '</s>'), (0, 1, 1, 1, 2))
    """
    building = _Building()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    tags = range(len(RESERVED), len(RESERVED) + len(tokenizer.tags))
    pieces = tokenizer.pieces(tokens)
    for token, piece in zip(tokens, pieces, strict=True):
        if token in (PAD, BOS, EOS) or token in tags:
            building.mark(piece)
        else:
            building.add(decoder.decode(_bytes(token, piece)))
    building.add(decoder.decode(b"", final=True), piece=False)
    return building.words(end)


def _bytes(token: int, piece: str) -> bytes:
    first = len(CONTROLS)
    return bytes([token - first]) if first <= token < first + len(BYTES) else piece.encode("utf-8", "surrogatepass")


class _Building:
    """Words while pieces are added."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.marks: list[bool] = []
        self.owners: list[int] = []
        self.waiting = 0  # pieces that belong to the word to come: white space, bytes of a character that is not whole
        self.fresh = True  # whether the next character begins a word
        self.continues: bool | None = None  # until there is a piece of text

    def mark(self, text: str) -> None:
        self._new(text, mark=True)
        self.fresh = True

    def add(self, text: str, piece: bool = True) -> None:
        """Take a piece, or what a decoder still held, with the text that came to its end."""
        self.waiting += piece
        if not text:
            return
        words = text.split()
        alone = bool(UNSPACED.search(text))
        if self.continues is None:
            self.continues = not (text[0].isspace() or alone)
        self.fresh |= text[0].isspace() or alone
        for number, word in enumerate(words):
            if self.fresh or number:
                self._new(word)
            else:
                self.texts[-1] += word
                self._own(len(self.texts) - 1)
            self.fresh = False
        self.fresh |= text[-1].isspace() or alone

    def _new(self, text: str, mark: bool = False) -> None:
        self.texts.append(text)
        self.marks.append(mark)
        self.waiting += mark
        self._own(len(self.texts) - 1)

    def _own(self, word: int) -> None:
        self.owners += [word] * self.waiting
        self.waiting = 0

    def words(self, end: bool) -> Words:
        if self.waiting and self.texts:
            self._own(len(self.texts) - 1)
        elif self.waiting:
            self._new("")
        if end:
            self.mark(END)
        return Words(tuple(self.texts), tuple(self.owners), tuple(self.marks), bool(self.continues))


def merge(weights: Tensor, target: Words, source: Words) -> Tensor:
    """Return weights of words from weights of pieces: summed over the source's pieces, averaged over the target's.

    Args:
        weights: `(..., T, S)`, of pieces.
        target: Words whose pieces ask.
        source: Words whose pieces are read.

    Returns:
        `(..., len(target), len(source))`; zeros in the row or column of a word that has no piece of its own.

    Example:
        >>> source, target = Words(("a", "b"), (0, 0, 1), (False, False)), Words(("c",), (0, 0), (False,))
        >>> merge(torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]), target, source)
        tensor([[0.3750, 0.6250]])
    """
    rows, columns = (torch.tensor(words.owners, device=weights.device) for words in (target, source))
    to = weights.new_zeros(*weights.shape[:-1], len(source)).index_add(-1, columns, weights)
    summed = to.new_zeros(*to.shape[:-2], len(target), len(source)).index_add(-2, rows, to)
    counts = torch.bincount(rows, minlength=len(target)).clamp(min=1)
    return summed / counts.to(summed.dtype).unsqueeze(-1)
