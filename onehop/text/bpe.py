"""Byte-pair encoding: merge the most frequent pair of neighbours, again and again (Sennrich et al. 2016)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from onehop.text.vocabulary import LONGEST_PIECE, RESERVED, join_bytes, split_words, tag_names, tag_piece


@final
@dataclass(frozen=True)
class BytePairModel:
    """Pieces and the merges that make them.

    Args:
        vocab: All pieces; a piece's index is its id.
        merges: Pairs of pieces, the first to apply first.
    """

    vocab: Sequence[str]
    merges: Sequence[tuple[str, str]]
    algorithm: str = "bpe"

    def backend(self) -> models.Model:
        """Return the model of the `tokenizers` library."""
        ids = {piece: token for token, piece in enumerate(self.vocab)}
        return models.BPE(vocab=ids, merges=list(self.merges), byte_fallback=True, fuse_unk=False)

    def pre_tokenizer(self) -> pre_tokenizers.PreTokenizer:
        """Return what cuts text into words."""
        return split_words()

    def decoder(self) -> decoders.Decoder:
        """Return what other tools join pieces with."""
        return join_bytes()


def read_bpe(model: Any) -> BytePairModel:
    """Return the model that stands in a JSON.

    Raises:
        ValueError: A merge takes or makes a control, a byte or a tag.
    """
    vocab = list(model["vocab"])
    merges = [(left, right) for left, right in model["merges"]]
    reserved = {*RESERVED, *map(tag_piece, tag_names(vocab))}
    clash = {piece for left, right in merges for piece in (left, right, left + right)} & reserved
    if clash:
        raise ValueError(f"a merge takes or makes the reserved piece {min(clash)}")
    return BytePairModel(vocab, merges)


def learn_bpe(
    texts: Iterable[str],
    words: pre_tokenizers.PreTokenizer,
    reserved: Sequence[str],
    alphabet: Sequence[str],
    vocab_size: int,
) -> BytePairModel:
    """Learn merges from texts, section 3.2 of the paper; a pair must occur twice to be merged.

    Args:
        texts: Normalised.
        words: Cuts them into the words that no merge crosses.
        reserved: Controls, bytes and tags.
        alphabet: Single characters, which come first of what is learnt.
        vocab_size: Most pieces in all.
    """
    learner = tokenizers.Tokenizer(models.BPE())
    learner.pre_tokenizer = words
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(reserved),
        min_frequency=2,
        show_progress=False,
        initial_alphabet=list(alphabet),
        max_token_length=LONGEST_PIECE,
    )
    learner.train_from_iterator(texts, trainer)
    merges = [(left, right) for left, right in json.loads(learner.to_str())["model"]["merges"]]
    vocab = dict.fromkeys([*reserved, *alphabet, *(left + right for left, right in merges)])
    return BytePairModel(list(vocab), merges)
