"""BPE-dropout drawn from keys: the library's own cannot be seeded ("BPE-Dropout", Provilkov et al. 2020).

At each step of algorithm 1 the first merge that is not left out is made. Which it is takes one number: how many of the
best in a row are left out, which is geometrically distributed. So a word is a walk from its characters, one number a
step; words come again and again, and the walks already taken are remembered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import final

import numpy as np
import numpy.typing as npt

from onehop.text.bpe import BytePairModel
from onehop.text.vocabulary import CONTROLS, chunks

# Longer words are cut in parts, as a step's time grows with a word's length.
LONGEST_WORD = 128

# Cuts remembered (some 120 MB) until all are forgotten, which changes the time taken and nothing else.
MOST_REMEMBERED = 1 << 19

_U64 = np.uint64


def draws(keys: Sequence[int] | npt.NDArray[np.uint64], sizes: Sequence[int], p: float) -> list[list[int]]:
    """Return for each key so many numbers, each of how many merges in a row are left out.

    The bits are those of splitmix64 (Steele et al. 2014) seeded by the key.

    Args:
        keys: One for each text.
        sizes: How many numbers to draw for each.
        p: Probability of leaving out, in (0, 1].
    """
    lengths = np.asarray(sizes, np.int64)
    ends = np.cumsum(lengths)
    seeds = np.asarray(keys, _U64)
    if seeds.shape != lengths.shape:
        raise ValueError(f"{seeds.size} keys for {lengths.size} texts")
    place = np.arange(1, lengths.sum() + 1) - np.repeat(ends - lengths, lengths)
    bits = np.repeat(seeds, lengths) + place.astype(_U64) * _U64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> _U64(30))) * _U64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> _U64(27))) * _U64(0x94D049BB133111EB)
    uniform = ((bits ^ (bits >> _U64(31))) >> _U64(11)).astype(np.float64) * 2.0**-53
    if p < 1:
        # P(at least k left out) = p**k; 1 - uniform lies in (0, 1], so the logarithm is finite.
        left_out = np.minimum(np.log1p(-uniform) / np.log(p), LONGEST_WORD).astype(np.int64).tolist()
    else:
        left_out = [LONGEST_WORD] * len(uniform)
    return [left_out[end - size : end] for end, size in zip(ends.tolist(), sizes, strict=True)]


class Cut:
    """A word cut into tokens, and where one merge more leads.

    Attributes:
        tokens: Of the word.
        moves: For each merge that can be made, the first learnt first: the place of its left token, once that was
            made its complement `~place`, and the cut it leads to once it was made twice.
    """

    __slots__ = ("moves", "tokens")

    def __init__(self, tokens: tuple[int, ...], moves: list[int | Cut]) -> None:
        self.tokens, self.moves = tokens, moves


@final
class MergeDropout:
    """Cuts words as byte-pair encoding does that leaves out merges at random.

    Args:
        model: The pieces and merges.
    """

    def __init__(self, model: BytePairModel) -> None:
        ids = {piece: token for token, piece in enumerate(model.vocab)}
        self._ids = ids
        self._merges = {
            (ids[left], ids[right]): (rank, ids[left + right]) for rank, (left, right) in enumerate(model.merges)
        }
        self._split = model.pre_tokenizer().pre_tokenize_str
        self._starts: dict[str, list[Cut]] = {}
        self._remembered = 0

    def sample(self, text: str, left_out: Iterator[int]) -> list[int]:
        """Return tokens of a text.

        Args:
            text: Normalised, with the space before it; without lone surrogates.
            left_out: At least one number for each character, from `draws`.
        """
        if self._remembered > MOST_REMEMBERED:
            self._starts.clear()
            self._remembered = 0
        tokens: list[int] = []
        for chunk in chunks(text):
            for cut in self._starts.get(chunk) or self._begin(chunk):
                while cut.moves:
                    number = next(left_out)
                    if number >= len(cut.moves):
                        break
                    move = cut.moves[number]
                    cut = move if isinstance(move, Cut) else self._merge(cut, number, move)
                tokens += cut.tokens
        return tokens

    def _begin(self, chunk: str) -> list[Cut]:
        """Return the words of a chunk as characters, or bytes where a character has no piece."""
        words = [word for word, _ in self._split(chunk)]
        parts = [word[i : i + LONGEST_WORD] for word in words for i in range(0, len(word), LONGEST_WORD)]
        cuts = [self._cut([token for char in part for token in self._character(char)]) for part in parts]
        self._starts[chunk] = cuts
        self._remembered += len(cuts)
        return cuts

    def _character(self, char: str) -> list[int]:
        token = self._ids.get(char)
        return [len(CONTROLS) + byte for byte in char.encode()] if token is None else [token]

    def _cut(self, tokens: list[int]) -> Cut:
        pairs = pairwise(tokens)
        found = sorted((self._merges[pair][0], place) for place, pair in enumerate(pairs) if pair in self._merges)
        return Cut(tuple(tokens), [place for _, place in found])

    def _merge(self, cut: Cut, number: int, place: int) -> Cut:
        once, place = place < 0, max(place, ~place)
        tokens = list(cut.tokens)
        tokens[place : place + 2] = [self._merges[tokens[place], tokens[place + 1]][1]]
        made = self._cut(tokens)
        # Most of the rarer cuts never come again, so one is remembered when it comes for the second time.
        self._remembered += once
        cut.moves[number] = made if once else ~place
        return made
