"""Text before and after the model: pieces, the length limit, sentences.

`tokenizer` turns any text into tokens and back, by pieces that `training` learns; `limit` is the one place that
shortens text, and `ledger` counts what it did; `sentences` splits a paragraph for translation and joins it again.
Nothing here knows torch.
"""

from onehop.text.ledger import POLICIES, Counts, Ledger
from onehop.text.limit import (
    default_max_length,
    limit,
    limit_context,
    limit_pair,
    limit_windows,
    limit_words,
    unread,
)
from onehop.text.masking import MaskedRow, Masking, Spans, WholeWords
from onehop.text.sentences import gaps, join_sentences, split_sentences
from onehop.text.tokenizer import Tokenizer
from onehop.text.training import ALGORITHMS, train_bpe, train_tokenizer, train_unigram, train_wordpiece
from onehop.text.vocabulary import BOS, EOS, LEAST_VOCAB_SIZE, NORMALIZATIONS, PAD

__all__ = [
    "ALGORITHMS",
    "BOS",
    "EOS",
    "LEAST_VOCAB_SIZE",
    "NORMALIZATIONS",
    "PAD",
    "POLICIES",
    "Counts",
    "Ledger",
    "MaskedRow",
    "Masking",
    "Spans",
    "Tokenizer",
    "WholeWords",
    "default_max_length",
    "gaps",
    "join_sentences",
    "limit",
    "limit_context",
    "limit_pair",
    "limit_windows",
    "limit_words",
    "split_sentences",
    "train_bpe",
    "train_tokenizer",
    "train_unigram",
    "train_wordpiece",
    "unread",
]
