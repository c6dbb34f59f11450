"""Words of a text: where they stand in it, and which pieces of a vocabulary they become.

A word becomes the pieces that it has behind a space, whatever stands before it, so its pieces do not depend on the
sentence, and each piece belongs to one word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Literal
from unicodedata import category

from onehop.text.pretrained import PretrainedTokenizer
from onehop.text.tokenizer import Tokenizer

Splitting = Literal["space", "punctuation"]
SPACED = re.compile(r"\S+")
STANDS = "@#"  # before a letter, part of the word: a name or a topic


def split_words(text: str, splitting: Splitting = "punctuation") -> list[tuple[int, int]]:
    """Return where each word of a text begins and ends.

    Args:
        text: Any.
        splitting: At white space; or also before and behind punctuation that stands at either end of what white space
            divides. A full stop that ends something with another inside, such as `U.S.`, stays.

    Example:
        >>> text = 'In the U.S. (today), "well-known".'
        >>> [text[start:end] for start, end in split_words(text)]
        ['In', 'the', 'U.S.', '(', 'today', ')', ',', '"', 'well-known', '"', '.']
    """
    found = [match.span() for match in SPACED.finditer(text)]
    if splitting == "space":
        return found
    return [word for span in found for word in _apart(text, *span)]


def _apart(text: str, start: int, end: int) -> list[tuple[int, int]]:
    before: list[tuple[int, int]] = []
    behind: list[tuple[int, int]] = []
    while start < end - 1 and _is_mark(text[start]) and not (text[start] in STANDS and not _is_mark(text[start + 1])):
        before.append((start, start + 1))
        start += 1
    while start < end - 1 and _is_mark(text[end - 1]) and not (text[end - 1] == "." and "." in text[start : end - 1]):
        behind.append((end - 1, end))
        end -= 1
    return [*before, (start, end), *reversed(behind)]


def _is_mark(character: str) -> bool:
    return category(character)[0] in "PS"


def find_splitting(words: Sequence[str]) -> Splitting:
    """Return how texts are to be divided into words such as these: at white space alone, if many hold punctuation.

    Example:
        >>> find_splitting(["It", "rains", "."]), find_splitting(["It", "rains."])
        ('punctuation', 'space')
    """
    whole = [word for word in words if word and not any(map(str.isspace, word))]
    apart = sum(len(split_words(word)) > 1 for word in whole)
    return "space" if apart > 0.1 * len(whole) else "punctuation"


def word_pieces(
    tokenizer: Tokenizer | PretrainedTokenizer, sentences: Sequence[Sequence[str]]
) -> list[list[list[int]]]:
    """Return the pieces of each word of each sentence: at least one, the unknown token where nothing is left of it.

    Example:
        >>> from onehop.text import train_bpe
        >>> tokenizer = train_bpe(["the cat sat", "the cat ate"] * 10, vocab_size=300)
        >>> word_pieces(tokenizer, [["the", "cat"], ["sat"]]) == [
        ...     [tokenizer.encode("the"), tokenizer.encode("cat")], [tokenizer.encode("sat")]
        ... ]
        True
    """
    words = [word for sentence in sentences for word in sentence]
    if isinstance(tokenizer, PretrainedTokenizer):
        pieces, none = tokenizer.encode_each(words), tokenizer.unknown
    else:
        pieces, none = tokenizer.encode_batch(words), tokenizer.encode(" ")[0]
    pieces = [row or [none] for row in pieces]
    ends = accumulate(map(len, sentences), initial=0)
    return [pieces[start:end] for start, end in pairwise(ends)]
