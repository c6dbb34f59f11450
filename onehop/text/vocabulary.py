"""What every vocabulary has: controls, bytes, tags, and the words that text is cut into before its pieces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Protocol

from tokenizers import Regex, decoders, models, pre_tokenizers

PAD, BOS, EOS = 0, 1, 2
CONTROLS = ("<pad>", "<s>", "</s>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
RESERVED = (*CONTROLS, *BYTES)
LEAST_VOCAB_SIZE = 300
NORMALIZATIONS = ("none", "nfc", "nfkc")

# A word, a digit or a run of punctuation, each with the one space before it; white space that is left over.
# Letters and punctuation never share a word, so no piece can be learnt that is named like a control, byte or tag,
# nor can such a name in a line be read as one.
WORDS = r" ?\p{L}[\p{L}\p{M}]*| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# As in SentencePiece, a bound keeps lines of one repeated character from filling the vocabulary.
LONGEST_PIECE = 24

TAG_NAME = re.compile("[A-Za-z0-9_-]{1,32}")
_TAG = re.compile(f"<tag:({TAG_NAME.pattern})>")


class SubwordModel(Protocol):
    """How words become pieces: one of the three algorithms, trained."""

    @property
    def algorithm(self) -> str:
        """Name of the algorithm in a recipe."""
        ...

    @property
    def vocab(self) -> Sequence[str]:
        """All pieces; a piece's index is its id."""
        ...

    def backend(self) -> models.Model:
        """Return the model of the `tokenizers` library."""
        ...

    def pre_tokenizer(self) -> pre_tokenizers.PreTokenizer:
        """Return what cuts text into words."""
        ...

    def decoder(self) -> decoders.Decoder:
        """Return what other tools join pieces with."""
        ...


def split_words() -> pre_tokenizers.PreTokenizer:
    """Return what cuts text into words without losing any of it."""
    return pre_tokenizers.Split(Regex(WORDS), "isolated")


def chunks(text: str) -> list[str]:
    """Return parts of a text whose words can be found apart, so that they need be found once for equal parts.

    No word goes on past a single space, which only starts one: text with no two spaces together can be cut there.

    Args:
        text: With the space before it.
    """
    if not text.startswith(" ") or "  " in text or text.endswith(" "):
        return [text] if text else []
    return [" " + chunk for chunk in text[1:].split(" ")]


def join_bytes() -> decoders.Decoder:
    """Return the decoder of pieces that are characters or single bytes."""
    strip = decoders.Strip(" ", left=1, right=0)
    return decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), strip])


def tag_piece(name: str) -> str:
    """Return the piece of a tag: `<tag:news>`."""
    return f"<tag:{name}>"


def tag_names(vocab: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the tags that stand right after the bytes."""
    following = (_TAG.fullmatch(piece) for piece in vocab[len(RESERVED) :])
    return tuple(match[1] for match in takewhile(bool, following) if match)
