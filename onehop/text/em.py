"""Expectation maximisation of unigram pieces, section 3.2 of "Subword Regularization" (Kudo 2018).

All ways to cut all words stand in one table of edges: from a place in the text to a later one, by a piece. Everything
is added up in a fixed order, so that the same words give the same pieces in any process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from tokenizers import pre_tokenizers

from onehop.text.vocabulary import LONGEST_PIECE, chunks

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SEEDS = 200_000  # candidates to start from, or four times the pieces asked for if that is more
KEPT = 0.75  # share of the candidates that a round keeps, as in the paper's implementation
ROUNDS = 2  # of expectation and maximisation between two prunings, likewise
LEAST_COUNT = 1e-3  # a piece's expected count, so that its logarithm is finite


@dataclass(frozen=True)
class Corpus:
    r"""Distinct words, one after the other, an end after each.

    Attributes:
        text: The words, joined by `"\0"`, with one at the end too.
        codes: The characters as numbers from 0, which is the end of a word.
        counts: How often the word at each place occurs.
    """

    text: str
    codes: Ints
    counts: Ints

    @classmethod
    def count(cls, texts: Iterable[str], words: pre_tokenizers.PreTokenizer) -> Corpus:
        """Count the words of texts.

        Args:
            texts: Each with a space before its first word.
            words: Cuts a text into words, of which none goes on past a single space.
        """
        seen = Counter(chunk for text in texts for chunk in chunks(text))
        counts: Counter[str] = Counter()
        for chunk, count in seen.items():
            for word, _ in words.pre_tokenize_str(chunk):
                counts[word] += count
        distinct = sorted(counts)
        text = "".join(word + "\0" for word in distinct)
        code_points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        sizes = [len(word) + 1 for word in distinct]
        return cls(
            text,
            np.unique(code_points, return_inverse=True)[1].astype(np.int64),
            np.repeat(np.array([counts[word] for word in distinct], np.int64), sizes),
        )


@dataclass(frozen=True)
class Grams:
    """The repeated substrings of words, of one length.

    Attributes:
        length: In characters.
        places: Where one starts, ascending.
        ids: Which one it is, a number below `len(first)`.
        first: Where each starts for the first time.
        counts: How often each occurs.
        maximal: Whether each goes on in more than one way: else a longer one says all that it says.
    """

    length: int
    places: Ints
    ids: Ints
    first: Ints
    counts: Ints
    maximal: npt.NDArray[np.bool_]


def repeated(corpus: Corpus) -> list[Grams]:
    """Return the substrings that occur at least twice, by length; of length one, all."""
    places = np.flatnonzero(corpus.codes)
    width = int(corpus.codes.max()) + 1
    ids, first, counts = _numbered(corpus.codes[places], places, corpus.counts)
    found: list[Grams] = []
    for length in range(1, LONGEST_PIECE + 1):
        ahead = corpus.codes[places + length]
        goes_on = ahead > 0
        parents, next_places = ids[goes_on], places[goes_on]
        next_ids, next_first, next_counts = _numbered(parents * width + ahead[goes_on], next_places, corpus.counts)
        most = np.zeros(len(first), np.int64)
        np.maximum.at(most, parents, next_counts[next_ids])
        found.append(Grams(length, places, ids, first, counts, most < counts))
        twice = next_counts >= 2
        stays = twice[next_ids]
        places, ids = next_places[stays], (np.cumsum(twice) - 1)[next_ids[stays]]
        first, counts = next_first[twice], next_counts[twice]
        if not len(places):
            break
    return found


def _numbered(keys: Ints, places: Ints, counts: Ints) -> tuple[Ints, Ints, Ints]:
    """Return for equal keys one number, and for each number its first place and how often it occurs."""
    _, index, ids = np.unique(keys, return_index=True, return_inverse=True)
    return ids, places[index], np.bincount(ids, counts[places], len(index)).astype(np.int64)


@dataclass(frozen=True)
class Lattice:
    """Ways to cut windows of the corpus: edges from node to node, by a piece each.

    Attributes:
        start: Node at which each edge starts; the edges are in the order of `depth`, then `end`.
        end: Node at which it ends.
        piece: By which piece it goes.
        window: In which window it lies.
        depth: How far from the window's first node its end is.
        sources: First node of each window.
        sinks: Last node of each.
    """

    start: Ints
    end: Ints
    piece: Ints
    window: Ints
    depth: Ints
    sources: Ints
    sinks: Ints

    def keep(self, pieces: Ints, windows: Ints) -> Lattice:
        """Return the lattice with fewer pieces and windows.

        Args:
            pieces: The new number of each piece, -1 for those that go.
            windows: The windows that stay, ascending.
        """
        stays = (pieces >= 0)[self.piece]
        new = np.full(len(self.sources), -1)
        new[windows] = np.arange(len(windows))
        stays &= (new >= 0)[self.window]
        return Lattice(
            self.start[stays],
            self.end[stays],
            pieces[self.piece[stays]],
            new[self.window[stays]],
            self.depth[stays],
            self.sources[windows],
            self.sinks[windows],
        )

    def forward(self, scores: Floats) -> Floats:
        """Return for each node the log-probability of all ways to it from the start of its window."""
        total = np.full(int(self.sinks.max(initial=0)) + 1, -np.inf)
        total[self.sources] = 0
        for level in self._levels():
            end = self.end[level]
            groups = np.flatnonzero(np.diff(end, prepend=-1))
            ways = total[self.start[level]] + scores[self.piece[level]]
            total[end[groups]] = np.logaddexp.reduceat(ways, groups)
        return total

    def expected(self, scores: Floats, weights: Floats) -> Floats:
        """Return how often each piece is expected in the windows, of which each counts `weights` times."""
        total = self.forward(scores)
        flow, through = np.zeros(len(total)), np.zeros(len(self.start))
        flow[self.sinks] = weights
        for level in reversed(self._levels()):
            start, end = self.start[level], self.end[level]
            through[level] = flow[end] * np.exp(total[start] + scores[self.piece[level]] - total[end])
            np.add.at(flow, start, through[level])
        return np.bincount(self.piece, through, len(scores)).astype(np.float64)

    def _levels(self) -> list[slice]:
        bounds = np.searchsorted(self.depth, np.arange(1, self.depth.max(initial=0) + 2)).tolist()
        return [slice(low, high) for low, high in pairwise(bounds) if low < high]


@dataclass(frozen=True)
class Edges:
    """Where in the corpus which candidate stands.

    Attributes:
        length: Of each, in the order of the places at which they start.
        piece: Which candidate each is.
        bounds: The first edge of each place of the corpus, and the number of edges.
    """

    length: Ints
    piece: Ints
    bounds: Ints

    @classmethod
    def of(cls, grams: Sequence[Grams], numbers: Sequence[Ints], size: int) -> Edges:
        """Gather the edges of `size` places; `numbers` has each gram's number as a candidate, or -1."""
        chosen = [number[gram.ids] for gram, number in zip(grams, numbers, strict=True)]
        starts = np.concatenate([gram.places[number >= 0] for gram, number in zip(grams, chosen, strict=True)])
        lengths = np.concatenate([np.full((n >= 0).sum(), gram.length) for gram, n in zip(grams, chosen, strict=True)])
        pieces = np.concatenate([number[number >= 0] for number in chosen])
        order = np.argsort(starts, kind="stable")
        return cls(lengths[order], pieces[order], np.searchsorted(starts[order], np.arange(size + 1)))

    def lattice(self, first: Ints, length: Ints, whole: bool) -> Lattice:
        """Return the ways to cut windows of the corpus.

        Args:
            first: Where each window starts.
            length: Of each window.
            whole: Whether an edge may span its window.
        """
        sources = np.cumsum(length + 1) - (length + 1)
        window, offset = _spread(length)
        place = first[window] + offset
        row, number = _spread(self.bounds[place + 1] - self.bounds[place])
        edge = self.bounds[place[row]] + number
        window, offset, span = window[row], offset[row], self.length[edge]
        fits = (offset + span <= length[window]) & (whole | (span < length[window]))
        window, offset, depth, piece = window[fits], offset[fits], (offset + span)[fits], self.piece[edge[fits]]
        start, end = sources[window] + offset, sources[window] + depth
        order = np.lexsort((start, end, depth))
        return Lattice(
            start[order], end[order], piece[order], window[order], depth[order], sources, sources + length
        )  # fmt: skip


def _spread(counts: Ints) -> tuple[Ints, Ints]:
    """Return each index as often as it counts, and for each of them a number from 0."""
    index = np.repeat(np.arange(len(counts)), counts)
    return index, np.arange(len(index)) - (np.cumsum(counts) - counts)[index]


def fit_pieces(corpus: Corpus, most: int) -> dict[str, float]:
    """Return pieces with the logarithms of their probabilities: all single characters, and `most` longer ones.

    From many candidates, rounds of expectation maximisation and of pruning lead to the number asked for; each
    pruning leaves out those without which the likelihood of the words falls least.

    Args:
        corpus: What they shall cut well.
        most: Number of longer pieces; there are fewer if the words hold fewer repeated substrings.
    """
    grams = repeated(corpus)
    first, length, scores, numbers = _candidates(grams, max(SEEDS, 4 * most))
    single = len(grams[0].first)
    edges = Edges.of(grams, numbers, len(corpus.codes))
    ends = np.flatnonzero(corpus.codes == 0)
    starts = np.append(0, ends[:-1] + 1)
    words = edges.lattice(starts, ends - starts, whole=True)
    within = edges.lattice(first[single:], length[single:], whole=False)
    weights = corpus.counts[ends].astype(np.float64)
    while True:
        counts = np.zeros(0)
        for _ in range(ROUNDS):
            counts = np.maximum(words.expected(scores, weights), LEAST_COUNT)
            scores = np.log(counts / counts.sum())
        longer = len(first) - single
        if longer <= most:
            break
        without = within.forward(scores)[within.sinks]
        loss = counts[single:] * (scores[single:] - without)
        best = np.sort(np.argsort(-loss, kind="stable")[: max(most, int(KEPT * longer))])
        kept = np.append(np.arange(single), single + best)
        new = np.full(len(first), -1)
        new[kept] = np.arange(len(kept))
        words, within = words.keep(new, np.arange(len(starts))), within.keep(new, best)
        first, length, scores = first[kept], length[kept], scores[kept]
    names = (corpus.text[at : at + size] for at, size in zip(first.tolist(), length.tolist(), strict=True))
    return dict(zip(names, scores.tolist(), strict=True))


def _candidates(grams: Sequence[Grams], most: int) -> tuple[Ints, Ints, Floats, list[Ints]]:
    """Choose the candidates: all single characters, and of longer substrings those that save most characters.

    Returns:
        For each candidate its first place, length and a score to start from; for each of `grams` the candidate's
        number, or -1.
    """
    first = np.concatenate([gram.first for gram in grams])
    length = np.concatenate([np.full(len(gram.first), gram.length) for gram in grams])
    saved = np.concatenate([gram.counts for gram in grams]) * length
    maximal = np.concatenate([gram.maximal for gram in grams])
    longer = np.flatnonzero(maximal & (length > 1))
    best = longer[np.argsort(-saved[longer], kind="stable")[:most]]
    chosen = np.append(np.flatnonzero(length == 1), np.sort(best))
    number = np.full(len(first), -1)
    number[chosen] = np.arange(len(chosen))
    bounds = np.cumsum([len(gram.first) for gram in grams])[:-1]
    return first[chosen], length[chosen], np.log(saved[chosen] / saved[chosen].sum()), np.split(number, bounds)
