"""Text to tokens and back by any of three algorithms, on the `tokenizers` library.

What is notable:

- Nothing is unknown: a character outside the alphabet becomes the pieces of its UTF-8 bytes, `<0x00>` to
  `<0xFF>`.
- The space before a word is part of its piece, as it stands (`" house"`), so no character has a second
  meaning and `decode(encode(text)) == normalise(text)` holds for every Python string.
- Text is never read as a control token: `</s>` in a line is four ordinary characters.
- Training is a pure function of the text: the same bytes in any process, with any number of threads.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, final

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import normalizers

from onehop.errors import ConfigError, ModelError, nearest
from onehop.text.bpe import BytePairModel, read_bpe
from onehop.text.dropout import MergeDropout, draws
from onehop.text.probe import PROBES
from onehop.text.unigram import read_unigram
from onehop.text.vocabulary import CONTROLS, RESERVED, SubwordModel, tag_names
from onehop.text.wordpiece import read_wordpiece

READERS = {"BPE": read_bpe, "Unigram": read_unigram, "WordPiece": read_wordpiece}
SURROGATES = re.compile("([\ud800-\udfff]+)")


@final
class Tokenizer:
    """Turns text into tokens (integer ids) and back, without loss but for Unicode normalisation.

    Ids: 0 padding, 1 begin, 2 end (never made from text, skipped by `decode`); 3 to 258 the bytes; then the tags,
    control tokens that a user declares (likewise never made from text and skipped by `decode`); then the
    alphabet, most frequent character first; then the longer pieces, in the order in which byte-pair encoding learns
    them or, for `unigram`, the most probable first.

    Args:
        model: How words become pieces; `train_tokenizer` makes one.
        normalization: One of `NORMALIZATIONS`.

    Example:
        >>> from onehop.text import train_bpe
        >>> tokenizer = train_bpe(["the cat sat", "the cat ate"] * 10, vocab_size=300)
        >>> tokenizer.pieces(tokenizer.encode("the cat!"))
        [' the', ' cat', '<0x21>']
        >>> tokenizer.decode(tokenizer.encode("the cat!"))
        'the cat!'
    """

    def __init__(self, model: SubwordModel, normalization: str) -> None:
        self._model = model
        self._normalization = normalization
        self._normalizer = normalizers.Sequence(normal_form(normalization))
        self._rest = _assemble(model, normal_form(normalization))
        self._full = _assemble(model, [*normal_form(normalization), normalizers.Prepend(" ")])
        self._full.decoder = model.decoder()
        self._pieces = dict(enumerate(model.vocab))
        self._tags = tag_names(model.vocab)
        silent = {*range(len(CONTROLS)), *range(len(RESERVED), len(RESERVED) + len(self._tags))}
        self._bytes = {token: b"" if token in silent else _bytes(token, piece) for token, piece in self._pieces.items()}

    @property
    def algorithm(self) -> str:
        """How words become pieces: `bpe`, `unigram` or `wordpiece`."""
        return self._model.algorithm

    @property
    def vocab_size(self) -> int:
        """Number of pieces, control tokens included."""
        return len(self._pieces)

    @property
    def normalization(self) -> str:
        """Unicode normal form of what is encoded: `none`, `nfc` or `nfkc`."""
        return self._normalization

    @property
    def tags(self) -> tuple[str, ...]:
        """Names of the tags, in the order of their ids."""
        return self._tags

    def tag(self, name: str) -> int:
        """Return the token of a tag.

        Raises:
            ConfigError: The vocabulary has no such tag.

        Example:
            >>> from onehop.text import train_bpe
            >>> tokenizer = train_bpe(["a line of text"] * 2, vocab_size=310, tags=["news", "talk"])
            >>> tokenizer.tag("talk")
            260
            >>> tokenizer.pieces([260])
            ['<tag:talk>']
        """
        if name not in self._tags:
            hint = nearest(name, self._tags)
            raise ConfigError(
                f"the vocabulary has no tag {name!r}" + (f"; {hint}" if hint else ""),
                f"Use {' or '.join(self._tags)}." if self._tags else "Train it with this tag.",
            )
        return len(RESERVED) + self._tags.index(name)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without control tokens; the empty list for the empty text."""
        if _is_unicode(text):
            return self._full.encode(text, add_special_tokens=False).ids
        return self._encode_surrogates(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return `encode` of each text, on all cores."""
        if _is_unicode("".join(texts)):
            return [one.ids for one in self._full.encode_batch_fast(list(texts), add_special_tokens=False)]
        return [self.encode(text) for text in texts]

    def _encode_surrogates(self, text: str) -> list[int]:
        # Rust's strings hold no lone surrogates: their bytes are written here, the text around them as ever.
        tokens: list[int] = []
        for place, part in enumerate(SURROGATES.split(text)):
            if place % 2:
                tokens += _surrogates(part)
            else:
                tokenizer = self._rest if place else self._full
                tokens += tokenizer.encode(part, add_special_tokens=False).ids
        return tokens

    def sample_batch(
        self, texts: Sequence[str], keys: Sequence[int] | npt.NDArray[np.uint64], p: float
    ) -> list[list[int]]:
        """Return tokens of each text as BPE-dropout cuts it, "BPE-Dropout" (Provilkov et al. 2020), algorithm 1.

        At every step each merge that could be made is left out with probability `p`, and the first of the others in
        the order of learning is made; a word is done when none is left. 0 gives `encode`, 1 gives single
        characters. What comes depends on the text, its key and `p` alone, in any batch and any process.

        Args:
            texts: Any text.
            keys: For each text, the number in [0, 2**64) that decides what is drawn for it.
            p: Probability in [0, 1].

        Raises:
            ConfigError: `p` is out of range, or the pieces are not those of byte-pair encoding.

        Example:
            >>> from onehop.text import train_bpe
            >>> tokenizer = train_bpe(["low lower lowest"] * 5, vocab_size=300)
            >>> tokens = tokenizer.sample_batch(["lowest", "lowest"], keys=[6, 10], p=0.2)
            >>> [tokenizer.pieces(one) for one in tokens]
            [[' lowe', 'st'], [' low', 'e', 'st']]
            >>> [tokenizer.decode(one) for one in tokens]
            ['lowest', 'lowest']
        """
        if not 0 <= p <= 1:
            raise ConfigError(f"the probability of BPE-dropout {p} must lie in [0, 1]", "Use 0.1, or 0 for none.")
        if p == 0:
            return self.encode_batch(texts)
        dropout = self._dropout
        spaced = [" " + self.normalise(text) if text else "" for text in texts]
        rows = draws(keys, list(map(len, spaced)), p)
        if _is_unicode("".join(spaced)):
            return [dropout.sample(text, iter(row)) for text, row in zip(spaced, rows, strict=True)]
        return [self._sample_surrogates(text, row) for text, row in zip(spaced, rows, strict=True)]

    def _sample_surrogates(self, spaced: str, row: list[int]) -> list[int]:
        tokens: list[int] = []
        drawn = iter(row)
        for place, part in enumerate(SURROGATES.split(spaced)):
            # `encode` puts no space before a text that starts with a surrogate.
            text = "" if place == 0 and part == " " else part
            tokens += _surrogates(part) if place % 2 else self._dropout.sample(text, drawn)
        return tokens

    @cached_property
    def _dropout(self) -> MergeDropout:
        if not isinstance(self._model, BytePairModel):
            raise ConfigError(
                f"BPE-dropout is for byte-pair vocabularies; this one is {self.algorithm}",
                'Leave text.bpe_dropout out, or train with text.algorithm = "bpe".',
                "text.bpe_dropout",
            )
        return MergeDropout(self._model)

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens, skipping controls and tags; bytes that are not UTF-8 become U+FFFD.

        Raises:
            KeyError: A token is not in `range(vocab_size)`.
        """
        data = b"".join(map(self._bytes.__getitem__, tokens))
        try:
            text = data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            text = data.decode("utf-8", "replace")
        return text.removeprefix(" ")

    def pieces(self, tokens: Iterable[int]) -> list[str]:
        """Return the piece of each token: `" house"`, `"<0x0A>"`, `"</s>"`.

        Raises:
            KeyError: A token is not in `range(vocab_size)`.
        """
        return [self._pieces[token] for token in tokens]

    def spaced(self, tokens: Iterable[int]) -> list[str]:
        """Return the piece of each token, with a space before it where it begins a word: here the same as `pieces`."""
        return self.pieces(tokens)

    def normalise(self, text: str) -> str:
        """Return the text in the normal form that `decode(encode(text))` gives back."""
        if self._normalization == "none" or text.isascii():
            return text
        parts = SURROGATES.split(text)
        return "".join(part if place % 2 else self._normalizer.normalize_str(part) for place, part in enumerate(parts))

    def to_json(self) -> str:
        """Return the whole tokenizer in the format of the `tokenizers` library, one stable line."""
        return self._full.to_str(pretty=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """Return the tokenizer that `to_json` wrote.

        Raises:
            ModelError: The text is damaged or is not a tokenizer of Onehop's kind.

        Example:
            >>> from onehop.text import train_bpe
            >>> tokenizer = train_bpe(["a line of text"] * 2, vocab_size=300)
            >>> Tokenizer.from_json(tokenizer.to_json()).to_json() == tokenizer.to_json()
            True
        """
        remedy = "Use the tokenizer.json of a model package that Onehop wrote."
        try:
            data = json.loads(text)
            tokenizer = cls(*_read(data))
            same = _agrees(data, json.loads(tokenizer.to_json()))
        except Exception as error:  # the Rust library raises bare `Exception`
            raise ModelError(f"not a tokenizer: {told(error)}", remedy) from error
        if not same:
            raise ModelError("a tokenizer with settings that Onehop does not use", remedy)
        return tokenizer

    def fingerprint(self) -> dict[str, str]:
        """Return short hashes of how a fixed text of many scripts is encoded, one for each part of it.

        They tell whether another version of a library still encodes alike, and where it does not. Two parts are of the
        vocabulary itself: `pieces`, what it consists of in its order, and `vocabulary`, the tokens of every piece.

        Example:
            >>> from onehop.text import train_bpe
            >>> one, two = (train_bpe([line] * 2, vocab_size=300) for line in ("a line of text", "a line of thought"))
            >>> one.fingerprint()["greek"] == two.fingerprint()["greek"]
            True
            >>> one.fingerprint()["pieces"] == two.fingerprint()["pieces"]
            False
        """
        learnt = [self._pieces[token] for token in range(len(RESERVED), self.vocab_size)]
        parts: dict[str, Any] = dict(zip(PROBES, self.encode_batch(list(PROBES.values())), strict=True))
        parts["vocabulary"] = self.encode_batch(learnt)
        parts["pieces"] = vars(self._model)
        return {name: hashlib.sha256(json.dumps(part).encode()).hexdigest()[:16] for name, part in parts.items()}


def told(error: BaseException) -> str:
    """Return why a tokenizer.json was refused, without the words of Python.

    Example:
        >>> told(KeyError("normalizers")), told(TypeError("list indices must be integers"))
        ("it lacks 'normalizers'", 'a value of another kind than it must be')
    """
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    if isinstance(error, TypeError | AttributeError | IndexError):
        return "a value of another kind than it must be"
    if isinstance(error, RecursionError):
        return "lists or objects inside of each other, too deeply"
    return str(error)[:200] or type(error).__name__


def normal_form(normalization: str) -> list[normalizers.Normalizer]:
    """Return what brings text into a Unicode normal form."""
    forms: dict[str, list[normalizers.Normalizer]] = {
        "none": [],
        "nfc": [normalizers.NFC()],
        "nfkc": [normalizers.NFKC()],
    }
    return forms[normalization]


def _assemble(model: SubwordModel, steps: list[normalizers.Normalizer]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(model.backend())
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = model.pre_tokenizer()
    return tokenizer


def _read(data: Any) -> tuple[SubwordModel, str]:
    kind = data["model"]["type"]
    if kind not in READERS:
        raise ValueError(f"its model is {kind!r}")
    model = READERS[kind](data["model"])
    if tuple(model.vocab[: len(RESERVED)]) != RESERVED:
        raise ValueError("its first pieces are not <pad>, <s>, </s> and the 256 bytes")
    if len(set(model.vocab)) < len(model.vocab) or "" in model.vocab:
        raise ValueError("a piece is empty or stands there twice")
    *form, _ = [step["type"].lower() for step in data["normalizer"]["normalizers"]]
    return model, form[0] if form else "none"


def _agrees(old: Any, new: Any) -> bool:
    # Fields that only the new one has are fine: a later version of the library may write more than this one.
    if isinstance(old, dict) and isinstance(new, dict):
        return all(name in new and _agrees(value, new[name]) for name, value in old.items())
    return old == new


def _bytes(token: int, piece: str) -> bytes:
    return bytes([token - len(CONTROLS)]) if token < len(RESERVED) else piece.encode()


def _surrogates(part: str) -> list[int]:
    return [len(CONTROLS) + byte for byte in part.encode("utf-8", "surrogatepass")]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
