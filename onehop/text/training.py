"""Learning a vocabulary from lines of text, by any of the three algorithms."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tokenizers import Regex, normalizers, pre_tokenizers

from onehop.errors import ConfigError, DataError, nearest
from onehop.text.bpe import learn_bpe
from onehop.text.tokenizer import SURROGATES, Tokenizer, normal_form
from onehop.text.unigram import learn_unigram
from onehop.text.vocabulary import LEAST_VOCAB_SIZE, NORMALIZATIONS, RESERVED, TAG_NAME, WORDS, tag_piece
from onehop.text.wordpiece import learn_wordpiece

LEARNERS = {"bpe": learn_bpe, "unigram": learn_unigram, "wordpiece": learn_wordpiece}
ALGORITHMS = tuple(LEARNERS)

# Learning takes time that grows with the square of a word's length, so longer words are learnt from in parts.
LONGEST_WORD = 256

# Stands for characters outside the alphabet while pieces are learnt, so that none is learnt across them.
GAP = "\0"


def train_tokenizer(
    lines: Iterable[str],
    vocab_size: int,
    algorithm: str = "bpe",
    normalization: str = "nfc",
    coverage: float = 0.9995,
    tags: Sequence[str] = (),
) -> Tokenizer:
    """Learn pieces from lines of text; a pure function of the lines, whatever their order.

    A piece must occur twice, so that little text gives fewer pieces than asked: look at `Tokenizer.vocab_size`.

    Args:
        lines: Text, a sentence a line; all are held in memory.
        vocab_size: Largest number of pieces, at least 300 and the tags; controls, bytes and tags included.
        algorithm: `bpe` (Sennrich et al. 2016), `unigram` (Kudo 2018) or `wordpiece` (Wu et al. 2016).
        normalization: Unicode normal form: `none`, `nfc` or `nfkc`.
        coverage: Share of the characters of the text to put into the alphabet, most frequent first, in
            (0, 1]; the alphabet takes at most half of the vocabulary. The other characters become bytes.
        tags: Names of control tokens to have besides: 1 to 32 of the characters A-Z, a-z, 0-9, `_` and `-`.

    Raises:
        ConfigError: A value is out of range.
        DataError: The lines hold no text.

    Example:
        >>> tokenizer = train_tokenizer(["low lower lowest"] * 5, vocab_size=300, algorithm="wordpiece")
        >>> tokenizer.pieces(tokenizer.encode("lowest low"))
        [' lowest', ' low']
    """
    if algorithm not in LEARNERS:
        hint = nearest(algorithm, LEARNERS)
        raise ConfigError(
            f"algorithm={algorithm!r} is unknown" + (f"; {hint}" if hint else ""), "Use bpe, unigram or wordpiece."
        )
    _check(vocab_size, normalization, coverage)
    _check_tags(tags, vocab_size)
    reserved = (*RESERVED, *map(tag_piece, tags))
    texts, counts = _read(lines, normalization)
    alphabet = alphabet_of(counts, coverage, most=(vocab_size - len(reserved)) // 2)
    masked = without_rare(texts, counts, alphabet)
    return Tokenizer(LEARNERS[algorithm](masked, _words(), reserved, alphabet, vocab_size), normalization)


def train_bpe(
    lines: Iterable[str],
    vocab_size: int,
    normalization: str = "nfc",
    coverage: float = 0.9995,
    tags: Sequence[str] = (),
) -> Tokenizer:
    """Learn byte-pair pieces: `train_tokenizer` with `algorithm="bpe"`, whose arguments and errors it has.

    "Neural Machine Translation of Rare Words with Subword Units" (Sennrich et al. 2016), section 3.2.

    Example:
        >>> tokenizer = train_bpe(["low lower lowest", "new newer newest"] * 5, vocab_size=300)
        >>> tokenizer.pieces(tokenizer.encode("lowest"))
        [' lowest']
    """
    return train_tokenizer(lines, vocab_size, "bpe", normalization, coverage, tags)


def train_unigram(
    lines: Iterable[str],
    vocab_size: int,
    normalization: str = "nfc",
    coverage: float = 0.9995,
    tags: Sequence[str] = (),
) -> Tokenizer:
    """Learn unigram pieces: `train_tokenizer` with `algorithm="unigram"`, whose arguments and errors it has.

    "Subword Regularization" (Kudo 2018), section 3.2: the likeliest cut of a word under probabilities of pieces.

    Example:
        >>> tokenizer = train_unigram(["low lower lowest", "new newer newest"] * 5, vocab_size=300)
        >>> tokenizer.pieces(tokenizer.encode("lowest"))
        [' lowest']
    """
    return train_tokenizer(lines, vocab_size, "unigram", normalization, coverage, tags)


def train_wordpiece(
    lines: Iterable[str],
    vocab_size: int,
    normalization: str = "nfc",
    coverage: float = 0.9995,
    tags: Sequence[str] = (),
) -> Tokenizer:
    """Learn WordPiece pieces: `train_tokenizer` with `algorithm="wordpiece"`, whose arguments and errors it has.

    Words are cut longest piece first (Wu et al. 2016, section 4.1; Devlin et al. 2019); the pieces themselves are
    those of byte-pair encoding.

    Example:
        >>> tokenizer = train_wordpiece(["low lower lowest", "new newer newest"] * 5, vocab_size=300)
        >>> tokenizer.pieces(tokenizer.encode("lowest"))
        [' lowest']
    """
    return train_tokenizer(lines, vocab_size, "wordpiece", normalization, coverage, tags)


def _check(vocab_size: int, normalization: str, coverage: float) -> None:
    if vocab_size < LEAST_VOCAB_SIZE:
        raise ConfigError(
            f"vocab_size={vocab_size} leaves no room beside the {len(RESERVED)} controls and bytes",
            f"Use {LEAST_VOCAB_SIZE} or more; 8000 suits most pairs of languages.",
        )
    if normalization not in NORMALIZATIONS:
        hint = nearest(normalization, NORMALIZATIONS)
        raise ConfigError(
            f"normalization={normalization!r} is unknown" + (f"; {hint}" if hint else ""),
            "Use none, nfc or nfkc.",
        )
    if not 0 < coverage <= 1:
        raise ConfigError(f"coverage={coverage} must lie in (0, 1]", "Use 0.9995, or 1 for every character.")


def _check_tags(tags: Sequence[str], vocab_size: int) -> None:
    for place, name in enumerate(tags):
        if not TAG_NAME.fullmatch(name):
            raise ConfigError(f"{name!r} cannot name a tag", "Use 1 to 32 of the characters A-Z, a-z, 0-9, _ and -.")
        if name in tags[:place]:
            raise ConfigError(f"the tag {name!r} is given twice", "Give each tag once.")
    if vocab_size < LEAST_VOCAB_SIZE + len(tags):
        raise ConfigError(
            f"vocab_size={vocab_size} leaves no room beside the {len(RESERVED)} controls and bytes and "
            f"{len(tags)} tags",
            f"Use {LEAST_VOCAB_SIZE + len(tags)} or more.",
        )


def _read(lines: Iterable[str], normalization: str) -> tuple[list[str], Counter[str]]:
    """Return the lines as they will be cut, each with a space before it, and how often each character occurs."""
    normalizer = normalizers.Sequence(normal_form(normalization))
    texts: list[str] = []
    counts: Counter[str] = Counter()
    for line in lines:
        if line:
            text = " " + SURROGATES.sub(GAP, line)
            texts.append(text if text.isascii() else normalizer.normalize_str(text))
            counts.update(texts[-1])
    del counts[GAP]
    if all(char.isspace() for char in counts):
        raise DataError("no text to learn a vocabulary from", "Give a file with at least one line of text.")
    return texts, counts


def alphabet_of(counts: Counter[str], coverage: float, most: int) -> list[str]:
    """Return the characters that cover a share of a text, most frequent first, and so many at most."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    enough, covered = coverage * counts.total(), 0
    alphabet: list[str] = []
    for char, count in ranked[:most]:
        if covered >= enough:
            break
        alphabet.append(char)
        covered += count
    return alphabet


def without_rare(texts: list[str], counts: Counter[str], alphabet: list[str]) -> Iterator[str]:
    """Return the texts with a gap for each character outside the alphabet, so that no piece is learnt across it."""
    rare = sorted(counts.keys() - set(alphabet))
    if not rare:
        return iter(texts)
    pattern = re.compile(f"[{re.escape(''.join(rare))}]")
    return (pattern.sub(GAP, text) for text in texts)


def _words() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.Split(GAP, "removed"),
            pre_tokenizers.FixedLength(LONGEST_WORD),
        ]
    )
