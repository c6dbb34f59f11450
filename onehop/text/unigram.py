"""Unigram pieces: each has a probability, and a word is cut the likeliest way (Kudo 2018)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

from tokenizers import decoders, models, pre_tokenizers

from onehop.text.em import Corpus, fit_pieces
from onehop.text.vocabulary import PAD, join_bytes, split_words

# Probabilities are kept to so many decimals of their logarithm: the last bits of a float are not the same everywhere.
DECIMALS = 6


@final
@dataclass(frozen=True)
class UnigramModel:
    """Pieces and the logarithms of their probabilities.

    Args:
        vocab: All pieces; a piece's index is its id.
        scores: Natural logarithms; 0 for controls, bytes and tags, which never compete.
    """

    vocab: Sequence[str]
    scores: Sequence[float]
    algorithm: str = "unigram"

    def backend(self) -> models.Model:
        """Return the model of the `tokenizers` library."""
        # The id of the unknown is asked for, but never comes: every byte has a piece.
        return models.Unigram(list(zip(self.vocab, self.scores, strict=True)), unk_id=PAD, byte_fallback=True)

    def pre_tokenizer(self) -> pre_tokenizers.PreTokenizer:
        """Return what cuts text into words."""
        return split_words()

    def decoder(self) -> decoders.Decoder:
        """Return what other tools join pieces with."""
        return join_bytes()


def read_unigram(model: Any) -> UnigramModel:
    """Return the model that stands in a JSON."""
    return UnigramModel([piece for piece, _ in model["vocab"]], [score for _, score in model["vocab"]])


def learn_unigram(
    texts: Iterable[str],
    words: pre_tokenizers.PreTokenizer,
    reserved: Sequence[str],
    alphabet: Sequence[str],
    vocab_size: int,
) -> UnigramModel:
    """Learn pieces from texts, section 3.2 of the paper: many candidates, fewer and fewer by their likelihood.

    The library's trainer is not used: its scores, and with them its ids, differ from process to process.

    Args:
        texts: Normalised.
        words: Cuts them into the words that no piece crosses.
        reserved: Controls, bytes and tags.
        alphabet: Single characters, which come first of what is learnt.
        vocab_size: Most pieces in all.
    """
    corpus = Corpus.count(texts, words)
    found = fit_pieces(corpus, vocab_size - len(reserved) - len(alphabet))
    scores = {piece: round(score, DECIMALS) for piece, score in found.items()}
    longer = sorted((piece for piece in scores if len(piece) > 1), key=lambda piece: (-scores[piece], piece))
    learnt = [*alphabet, *longer]
    return UnigramModel([*reserved, *learnt], [0.0] * len(reserved) + [scores[piece] for piece in learnt])
