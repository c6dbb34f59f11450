"""Byte-pair pieces for any text (Sennrich et al. 2016), on the `tokenizers` library.

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
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any, final

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from onehop.errors import ConfigError, DataError, ModelError, nearest

PAD, BOS, EOS = 0, 1, 2
CONTROLS = ("<pad>", "<s>", "</s>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
RESERVED = (*CONTROLS, *BYTES)
LEAST_VOCAB_SIZE = 300
TAG_NAME = re.compile("[A-Za-z0-9_-]{1,32}")
_TAG = re.compile(f"<tag:({TAG_NAME.pattern})>")
NORMALIZATIONS = ("none", "nfc", "nfkc")

# A word, a digit or a run of punctuation, each with the one space before it; white space that is left over.
# Letters and punctuation never share a word, so no merge can make a piece named like a control or a byte.
WORDS = r" ?\p{L}[\p{L}\p{M}]*| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# As in SentencePiece, a bound keeps lines of one repeated character from filling the vocabulary.
LONGEST_PIECE = 24

# Learning takes time that grows with the square of a word's length, so longer words are learnt from in parts.
LONGEST_WORD = 256

# Stands for characters outside the alphabet while merges are learnt, so that none is learnt across them.
GAP = "\0"

PROBE = (
    "The 3 quick brown foxes weren't lazy; they jumped 1,024 times (twice!) over https://example.org/a_b?c=d.\n"
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Deich. Où est l'œuvre naïve de Chloé ? ¿Dónde está?\n"
    "Съешь ещё этих мягких булок.\tΓειά σου Κόσμε  ๆ สวัสดีชาวโลก 你好，世界。今日は良い天気ですね。\n"
    "안녕하세요 세계 שלום עולם مرحبا بالعالم नमस्ते दुनिया 👩‍👩‍👧 ½ ﬁ e\u0301 \u2581 </s> <0x41> \0   "
)

_SURROGATES = re.compile("([\ud800-\udfff]+)")


@final
class Tokenizer:
    """Turns text into tokens (integer ids) and back, without loss but for Unicode normalisation.

    Ids: 0 padding, 1 begin, 2 end (never made from text, skipped by `decode`); 3 to 258 the bytes; then the tags,
    control tokens that a user declares (likewise never made from text and skipped by `decode`); then the
    alphabet, most frequent character first; then the merges in the order they were learnt.

    Args:
        vocab: All pieces; a piece's index is its id. The first 259 are `RESERVED`, then come tags, `<tag:NAME>`.
        merges: Pairs of pieces, the first to apply first.
        normalization: One of `NORMALIZATIONS`.

    Example:
        >>> tokenizer = train_bpe(["the cat sat", "the cat ate"] * 10, vocab_size=300)
        >>> tokenizer.pieces(tokenizer.encode("the cat!"))
        [' the', ' cat', '<0x21>']
        >>> tokenizer.decode(tokenizer.encode("the cat!"))
        'the cat!'
    """

    def __init__(self, vocab: Sequence[str], merges: Sequence[tuple[str, str]], normalization: str) -> None:
        ids = {piece: token for token, piece in enumerate(vocab)}
        model = models.BPE(vocab=ids, merges=list(merges), byte_fallback=True, fuse_unk=False)
        self._normalization = normalization
        self._normalizer = normalizers.Sequence(_normalizers(normalization))
        self._rest = _assemble(model, _normalizers(normalization))
        self._full = _assemble(model, [*_normalizers(normalization), normalizers.Prepend(" ")])
        self._full.decoder = decoders.Sequence(
            [decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", left=1, right=0)]
        )
        self._pieces = dict(enumerate(vocab))
        self._tags = _tags(vocab)
        self._bytes = {token: _piece_bytes(token, piece) for token, piece in enumerate(vocab)}
        self._bytes.update(dict.fromkeys(map(ids.__getitem__, map(tag_piece, self._tags)), b""))

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
        for place, part in enumerate(_SURROGATES.split(text)):
            if place % 2:
                tokens += [len(CONTROLS) + byte for byte in part.encode("utf-8", "surrogatepass")]
            else:
                tokenizer = self._rest if place else self._full
                tokens += tokenizer.encode(part, add_special_tokens=False).ids
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens, skipping control tokens; bytes that are not UTF-8 become U+FFFD.

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
        """Return the piece of each token as it stands in the vocabulary: `" house"`, `"<0x0A>"`, `"</s>"`.

        Raises:
            KeyError: A token is not in `range(vocab_size)`.
        """
        return [self._pieces[token] for token in tokens]

    def normalise(self, text: str) -> str:
        """Return the text in the normal form that `decode(encode(text))` gives back."""
        if self._normalization == "none" or text.isascii():
            return text
        parts = _SURROGATES.split(text)
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
            raise ModelError(f"not a tokenizer: {str(error) or type(error).__name__}", remedy) from error
        if not same:
            raise ModelError("a tokenizer with settings that Onehop does not use", remedy)
        return tokenizer

    def fingerprint(self) -> str:
        """Return the SHA-256 (hexadecimal) of the tokens of a fixed multilingual text.

        It tells whether another version of the library still encodes alike.
        """
        return hashlib.sha256(json.dumps(self.encode(PROBE)).encode()).hexdigest()


def tag_piece(name: str) -> str:
    """Return the piece of a tag: `<tag:news>`."""
    return f"<tag:{name}>"


def train_bpe(
    lines: Iterable[str],
    vocab_size: int,
    normalization: str = "nfc",
    coverage: float = 0.9995,
    tags: Sequence[str] = (),
) -> Tokenizer:
    """Learn byte-pair pieces from lines of text; a pure function of the lines.

    "Neural Machine Translation of Rare Words with Subword Units" (Sennrich et al. 2016), section 3.2. A pair
    must occur twice to be merged, so that little text gives fewer pieces than asked: look at
    `Tokenizer.vocab_size`.

    Args:
        lines: Text, a sentence a line; all are held in memory.
        vocab_size: Largest number of pieces, at least 300 and the tags; controls, bytes and tags included.
        normalization: Unicode normal form: `none`, `nfc` or `nfkc`.
        coverage: Share of the characters of the text to put into the alphabet, most frequent first, in
            (0, 1]; the alphabet takes at most half of the vocabulary. The other characters become bytes.
        tags: Names of control tokens to have besides: 1 to 32 of the characters A-Z, a-z, 0-9, `_` and `-`.

    Raises:
        ConfigError: A value is out of range.
        DataError: The lines hold no text.

    Example:
        >>> tokenizer = train_bpe(["low lower lowest", "new newer newest"] * 5, vocab_size=300)
        >>> tokenizer.pieces(tokenizer.encode("lowest"))
        [' lowest']
    """
    _check(vocab_size, normalization, coverage)
    _check_tags(tags, vocab_size)
    reserved = (*RESERVED, *map(tag_piece, tags))
    normalizer = normalizers.Sequence(_normalizers(normalization))
    texts: list[str] = []
    counts: Counter[str] = Counter()
    for line in lines:
        if line:
            text = " " + _SURROGATES.sub(GAP, line)
            texts.append(text if text.isascii() else normalizer.normalize_str(text))
            counts.update(texts[-1])
    del counts[GAP]
    if all(char.isspace() for char in counts):
        raise DataError("no text to learn a vocabulary from", "Give a file with at least one line of text.")
    room = vocab_size - len(reserved)
    alphabet = _alphabet(counts, coverage, most=room // 2)
    merges = _merges(_masked(texts, counts, alphabet), alphabet, room)
    vocab = dict.fromkeys([*reserved, *alphabet, *(left + right for left, right in merges)])
    return Tokenizer(list(vocab), merges, normalization)


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


def _alphabet(counts: Counter[str], coverage: float, most: int) -> list[str]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    enough, covered = coverage * counts.total(), 0
    alphabet: list[str] = []
    for char, count in ranked[:most]:
        if covered >= enough:
            break
        alphabet.append(char)
        covered += count
    return alphabet


def _masked(texts: list[str], counts: Counter[str], alphabet: list[str]) -> Iterator[str]:
    rare = sorted(counts.keys() - set(alphabet))
    if not rare:
        return iter(texts)
    pattern = re.compile(f"[{re.escape(''.join(rare))}]")
    return (pattern.sub(GAP, text) for text in texts)


def _merges(texts: Iterable[str], alphabet: list[str], room: int) -> list[tuple[str, str]]:
    learner = tokenizers.Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.Split(GAP, "removed"),
            pre_tokenizers.FixedLength(LONGEST_WORD),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=room,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=alphabet,
        max_token_length=LONGEST_PIECE,
    )
    learner.train_from_iterator(texts, trainer)
    return [(left, right) for left, right in json.loads(learner.to_str())["model"]["merges"]]


def _assemble(model: models.BPE, steps: list[normalizers.Normalizer]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORDS), "isolated")
    return tokenizer


def _normalizers(normalization: str) -> list[normalizers.Normalizer]:
    forms: dict[str, list[normalizers.Normalizer]] = {
        "none": [],
        "nfc": [normalizers.NFC()],
        "nfkc": [normalizers.NFKC()],
    }
    return forms[normalization]


def _read(data: Any) -> tuple[list[str], list[tuple[str, str]], str]:
    vocab: dict[str, int] = data["model"]["vocab"]
    if list(vocab.values()) != list(range(len(vocab))) or tuple(vocab)[: len(RESERVED)] != RESERVED:
        raise ValueError("its first pieces are not <pad>, <s>, </s> and the 256 bytes, or its ids have gaps")
    merges = [(left, right) for left, right in data["model"]["merges"]]
    reserved = {*RESERVED, *map(tag_piece, _tags(list(vocab)))}
    clash = next((left + right for left, right in merges if left + right in reserved), None)
    if clash is not None:
        raise ValueError(f"a merge makes the reserved piece {clash}")
    *form, _ = [step["type"].lower() for step in data["normalizer"]["normalizers"]]
    return list(vocab), merges, form[0] if form else "none"


def _tags(vocab: Sequence[str]) -> tuple[str, ...]:
    following = (_TAG.fullmatch(piece) for piece in vocab[len(RESERVED) :])
    return tuple(match[1] for match in takewhile(bool, following) if match)


def _agrees(old: Any, new: Any) -> bool:
    # Fields that only the new one has are fine: a later version of the library may write more than this one.
    if isinstance(old, dict) and isinstance(new, dict):
        return all(name in new and _agrees(value, new[name]) for name, value in old.items())
    return old == new


def _piece_bytes(token: int, piece: str) -> bytes:
    if token < len(CONTROLS):
        return b""
    return bytes([token - len(CONTROLS)]) if token < len(RESERVED) else piece.encode()


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
