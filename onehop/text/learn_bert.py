"""A vocabulary as BERT's, learnt from plain text: whole words, and pieces that go on with a word, written `##ing`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tokenizers import normalizers, pre_tokenizers

from onehop.errors import ConfigError, DataError
from onehop.text.bpe import learn_bpe
from onehop.text.pretrained import PretrainedTokenizer
from onehop.text.tokenizer import SURROGATES
from onehop.text.training import GAP, LONGEST_WORD, alphabet_of, without_rare
from onehop.text.vocabularies import WORDPIECE, wordpiece

START = "\u2581"  # stands before the first piece of a word while pieces are learnt
MARKS = [WORDPIECE[name] for name in ("pad", "unk", "cls", "sep", "mask")]
LEAST = 100


def learn_bert(
    lines: Iterable[str], vocab_size: int, *, lowercase: bool = True, coverage: float = 0.9995
) -> PretrainedTokenizer:
    """Learn the vocabulary of a BERT; a pure function of the lines, whatever their order.

    Pieces are those of byte-pair encoding, chosen by frequency as in the `tokenizers` library (Schuster and Nakajima
    2012 choose by likelihood, and published no code). Text is cleaned and cut into words as BERT does it, and every
    character of the alphabet is a piece both at the start of a word and inside, so that only a word with a character
    outside of it is unknown.

    Args:
        lines: Text; all of it is held in memory.
        vocab_size: Most pieces, marks included; at least 100. Little text gives fewer.
        lowercase: Whether text is lower-cased and accents are taken off, as in the uncased models.
        coverage: Share of the characters of the text to put into the alphabet, most frequent first, in (0, 1]; the
            alphabet takes at most half of the vocabulary.

    Raises:
        ConfigError: A value is out of range.
        DataError: The lines hold no text.

    Example:
        >>> tokenizer = learn_bert(["low lower lowest", "new newer newest"] * 5, vocab_size=100)
        >>> tokenizer.pieces(tokenizer.encode("Lowest news"))
        ['lowest', 'new', '##s']
    """
    if vocab_size < LEAST:
        raise ConfigError(f"vocab_size={vocab_size} is too small", f"Use {LEAST} or more.", "text.vocab_size")
    if not 0 < coverage <= 1:
        raise ConfigError(f"coverage={coverage} must lie in (0, 1]", "Use 0.9995, or 1 for every character.")
    texts, counts = _read(lines, lowercase)
    alphabet = alphabet_of(counts, coverage, most=(vocab_size - len(MARKS)) // 4)
    words = pre_tokenizers.Sequence([
        pre_tokenizers.Split(GAP, "removed"), pre_tokenizers.BertPreTokenizer(),
        pre_tokenizers.Metaspace(START, "always", split=False), pre_tokenizers.FixedLength(LONGEST_WORD),
    ])  # fmt: skip
    learnt = learn_bpe(without_rare(texts, counts, alphabet), words, (), [START, *alphabet], vocab_size).vocab
    pieces = [one.removeprefix(START) if one.startswith(START) else f"##{one}" for one in learnt if one != START]
    vocab = dict.fromkeys([*MARKS, *alphabet, *(f"##{one}" for one in alphabet), *pieces])
    return wordpiece([*vocab][:vocab_size], lowercase=lowercase)


def _read(lines: Iterable[str], lowercase: bool) -> tuple[list[str], Counter[str]]:
    """Return the lines as BERT cleans them, and how often each of their characters that is no space occurs."""
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    texts: list[str] = []
    counts: Counter[str] = Counter()
    for line in lines:
        clean = normalizer.normalize_str(SURROGATES.sub("\ufffd", line)).replace(START, " ")
        if clean.strip():
            texts.append(clean)
            counts.update(clean)
    for space in [char for char in counts if char.isspace()]:
        del counts[space]
    if not counts:
        raise DataError("no text to learn a vocabulary from", "Give a file with at least one line of text.")
    return texts, counts
