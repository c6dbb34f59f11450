"""WordPiece: a word is cut greedily, its longest first piece first (Wu et al. 2016; Devlin et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

from tokenizers import decoders, models, pre_tokenizers

from onehop.text.bpe import learn_bpe
from onehop.text.vocabulary import BYTES, CONTROLS, PAD, RESERVED, split_words

# Time grows with the square of a word's length, so longer words are cut in parts of so many characters.
LONGEST_WORD = 64


def _byte_characters() -> tuple[str, ...]:
    """Return the visible character that stands for each byte in the library's byte-level models."""
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return tuple(chr(byte if byte in visible else next(others)) for byte in range(256))


CHARACTERS = _byte_characters()
_BYTE_OF = {character: byte for byte, character in enumerate(CHARACTERS)}


@final
@dataclass(frozen=True)
class WordPieceModel:
    """Pieces, of which the longest that fits is taken first.

    The library's WordPiece calls a whole word unknown if one character is. Here it works on the bytes of the text,
    all of which are pieces, so nothing is unknown; as learnt pieces are whole characters, a character is cut into
    bytes only if it has no piece. A word is known by the space at its start, so its further pieces carry no `##`.

    Args:
        vocab: All pieces; a piece's index is its id.
    """

    vocab: Sequence[str]
    algorithm: str = "wordpiece"

    def backend(self) -> models.Model:
        """Return the model of the `tokenizers` library, in which a piece is written by its bytes."""
        return models.WordPiece(
            vocab={name: token for token, name in enumerate(_names(self.vocab))},
            unk_token=CONTROLS[PAD],  # must be in the vocabulary; it never comes
            continuing_subword_prefix="",  # pyright: ignore[reportCallIssue]  # missing in the library's stubs
            max_input_chars_per_word=4 * LONGEST_WORD,
        )

    def pre_tokenizer(self) -> pre_tokenizers.PreTokenizer:
        """Return what cuts text into words, and writes them by their bytes."""
        parts = pre_tokenizers.FixedLength(LONGEST_WORD)
        return pre_tokenizers.Sequence(
            [split_words(), parts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )

    def decoder(self) -> decoders.Decoder:
        """Return what other tools join pieces with."""
        return decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", left=1, right=0)])


def _names(vocab: Sequence[str]) -> list[str]:
    """Return the pieces as the library's model has them.

    A byte that is a character with a piece of its own keeps the name `<0x41>`: encoding never comes to it.
    """
    learnt = set(vocab[len(RESERVED) :])
    known = [byte < 128 and chr(byte) in learnt for byte in range(256)]
    single = [BYTES[byte] if known[byte] else CHARACTERS[byte] for byte in range(256)]
    rest = ("".join(map(CHARACTERS.__getitem__, piece.encode())) for piece in vocab[len(RESERVED) :])
    return [*CONTROLS, *single, *rest]


def read_wordpiece(model: Any) -> WordPieceModel:
    """Return the model that stands in a JSON.

    Raises:
        ValueError: A piece is not made of whole characters.
    """
    names = list(model["vocab"])[len(RESERVED) :]
    return WordPieceModel([*RESERVED, *(bytes(map(_BYTE_OF.__getitem__, name)).decode() for name in names)])


def learn_wordpiece(
    texts: Iterable[str],
    words: pre_tokenizers.PreTokenizer,
    reserved: Sequence[str],
    alphabet: Sequence[str],
    vocab_size: int,
) -> WordPieceModel:
    """Learn pieces from texts: those of byte-pair encoding, chosen by frequency as in the `tokenizers` library.

    Schuster & Nakajima 2012 choose by likelihood instead; no reference implementation of that was published. The
    library's own trainer is not used: its vocabularies differ from process to process.

    Args:
        texts: Normalised.
        words: Cuts them into the words that no piece crosses.
        reserved: Controls, bytes and tags.
        alphabet: Single characters, which come first of what is learnt.
        vocab_size: Most pieces in all.
    """
    return WordPieceModel(learn_bpe(texts, words, reserved, alphabet, vocab_size).vocab)
