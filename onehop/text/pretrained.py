"""Tokenizers of pretrained models: the same ids as `transformers`, on the same Rust library.

What is notable:

- Text is never read as a control token: `[SEP]` or `</s>` in a line is cut into pieces like any other text.
  (`transformers` reads it as the mark itself, unless it is asked not to; of a Unigram vocabulary, even then.)
- Nothing is cut or padded here: a tokenizer.json may ask for both, and would do so in silence.
- Lone surrogates, which no UTF-8 holds, are read as U+FFFD.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, final

import tokenizers

from onehop.errors import ModelError
from onehop.text.probe import PROBES
from onehop.text.tokenizer import Tokenizer, told

SURROGATES = re.compile("[\ud800-\udfff]")
PADS, MASKS, UNKNOWN = ("[PAD]", "<pad>"), ("[MASK]", "<mask>"), ("[UNK]", "<unk>")
UNHEARD = "\U000f1234"  # a character for private use
REMEDY = "Copy the checkpoint again, or name one with a tokenizer.json that transformers wrote."


@final
class PretrainedTokenizer:
    """Turns text into the tokens of a pretrained model; made by `from_json`, or of older files by `read_vocabulary`.

    Args:
        data: A tokenizer.json, parsed.
        text: The same as it stands in the file; it is written again as it is.

    Example:
        >>> from onehop.text.vocabularies import wordpiece
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "[", "]", "sep"]
        >>> tokenizer = wordpiece(words, lowercase=True)
        >>> tokenizer.pieces(tokenizer.encode("The cats [SEP]"))
        ['the', 'cat', '##s', '[', 'sep', ']']
        >>> tokenizer.frame([5, 6])
        [2, 5, 6, 3]
        >>> tokenizer.frame([5], [6])
        [2, 5, 3, 6, 3]
        >>> tokenizer.types([5], [6])
        [0, 0, 0, 1, 1]
    """

    def __init__(self, data: dict[str, Any], text: str) -> None:
        self._text = text
        self._backend = tokenizers.Tokenizer.from_str(json.dumps(_unreadable(data)))
        self._backend.no_padding()
        self._backend.no_truncation()
        self._backend.encode_special_tokens = True
        self._pieces = {token: piece for piece, token in tokenizers.Tokenizer.from_str(text).get_vocab().items()}
        self.controls = {
            one["content"]: int(one["id"]) for one in data.get("added_tokens", []) if one.get("special", False)
        }
        self._single, self._pair = self._marks("a"), self._marks("a", "a")
        # Byte-level pieces of a word begin with the space before it, unless the tokenizer puts one there itself.
        pattern = r'"type": ?"ByteLevel", ?"add_prefix_space": ?false'
        self._spaceless = bool(re.search(pattern, json.dumps(data.get("pre_tokenizer"))))

    @property
    def algorithm(self) -> str:
        """How words become pieces: `wordpiece`, `bpe` or `unigram`."""
        return str(json.loads(self._text)["model"].get("type", "")).lower()

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return max(self._pieces, default=-1) + 1

    @property
    def pad(self) -> int:
        """The token that fills rows; 0 where there is none, since nothing reads it."""
        return self._control(PADS) or 0

    @property
    def mask(self) -> int | None:
        """The token of a masked word, if there is one."""
        return self._control(MASKS)

    @property
    def unknown(self) -> int:
        """The token of what has no piece; padding where there is none."""
        found = self._control(UNKNOWN)
        return self.pad if found is None else found

    @property
    def marks(self) -> tuple[list[int], list[int], list[int], bool]:
        """The control tokens before a text, between two and behind, and whether the second has a type of its own."""
        return self._single[0][0], self._pair[0][1], self._single[0][1], self._pair[1][1] > 0

    @property
    def begins(self) -> list[bool]:
        """For each token whether it begins a word; a control token does."""
        controls = set(self.controls.values())
        return [token in controls or self._begins(token) for token in range(self.vocab_size)]

    def _begins(self, token: int) -> bool:
        piece = self._pieces.get(token, "")
        if self.algorithm == "wordpiece":  # where a piece is marked that goes on with a word, not the first
            return not piece.startswith("##")
        return piece.startswith(("\u0120", "\u2581"))

    @property
    def num_marks(self) -> int:
        """How many control tokens stand around one text."""
        return sum(map(len, self._single[0]))

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without control tokens."""
        return self._backend.encode(_unicode(text), add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return `encode` of each text, on all cores."""
        found = self._backend.encode_batch_fast([_unicode(text) for text in texts], add_special_tokens=False)
        return [one.ids for one in found]

    def encode_words(self, words: Sequence[str]) -> tuple[list[int], list[int]]:
        """Return the tokens of a text that is given as words, and for each the number of its word.

        A word of which nothing is left, such as a lone control character, has no token.
        """
        found = self._backend.encode([_unicode(word) for word in words], is_pretokenized=True, add_special_tokens=False)
        numbers = [number for number in found.word_ids if number is not None]
        return found.ids, numbers

    def encode_places(self, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Return the tokens of each text, and of each token where the characters that it is made of begin and end."""
        found = self._backend.encode_batch([_unicode(text) for text in texts], add_special_tokens=False)
        return [(one.ids, one.offsets) for one in found]

    def encode_each(self, words: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each word, as they are inside a text that divides words by spaces."""
        space = " " if self._spaceless else ""
        rows = [[space + _unicode(word)] for word in words]
        found = self._backend.encode_batch_fast(rows, is_pretokenized=True, add_special_tokens=False)
        return [one.ids for one in found]

    def frame(self, first: Sequence[int], second: Sequence[int] | None = None) -> list[int]:
        """Return one text, or two that are read as one, with the control tokens that the model was trained with."""
        (before, *between), _ = self._single if second is None else self._pair
        if second is None:
            return [*before, *first, *between[0]]
        return [*before, *first, *between[0], *second, *between[1]]

    def types(self, first: Sequence[int], second: Sequence[int] | None = None) -> list[int]:
        """Return for each token of `frame` whether it belongs to the first text (0) or the second (1)."""
        marks, (one, two) = self._single if second is None else self._pair
        if second is None:
            return [0] * (len(marks[0]) + len(first) + len(marks[1]))
        start = len(marks[0]) + len(first) + len(marks[1])
        return [one] * start + [two] * (len(second) + len(marks[2]))

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens, without control tokens, as near as the vocabulary comes to it."""
        silent = set(self.controls.values())
        return self._backend.decode([token for token in tokens if token not in silent])

    def pieces(self, tokens: Iterable[int]) -> list[str]:
        """Return the piece of each token: `"##ing"`, `"[SEP]"`.

        Raises:
            KeyError: A token is not in the vocabulary.
        """
        return [self._pieces[token] for token in tokens]

    def spaced(self, tokens: Iterable[int]) -> list[str]:
        """Return the piece of each token with a space before it where it begins a word, as vocabularies of Onehop do.

        Raises:
            KeyError: A token is not in the vocabulary.
        """
        bare = ((token, self._pieces[token].removeprefix("##").lstrip("\u0120\u2581")) for token in tokens)
        return [f" {piece}" if self._begins(token) else piece for token, piece in bare]

    def to_json(self) -> str:
        """Return the tokenizer.json as it was read."""
        return self._text

    @classmethod
    def from_json(cls, text: str) -> PretrainedTokenizer:
        """Return the tokenizer of a tokenizer.json.

        Raises:
            ModelError: It is none.
        """
        try:
            made = cls(json.loads(text), text)
            made.encode_batch([*PROBES.values(), UNHEARD])  # a vocabulary may lack its own token for what it lacks
            return made
        except ModelError:
            raise
        except BaseException as error:  # the Rust library raises bare `Exception`, and panics as `BaseException`
            if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
                raise
            raise ModelError(f"not a tokenizer: {told(error)}", REMEDY) from error

    def fingerprint(self) -> dict[str, str]:
        """Return short hashes of how a fixed text of many scripts is encoded, one for each part, and of the pieces.

        They tell whether another version of a library still encodes alike, and where it does not.
        """
        parts: dict[str, Any] = dict(zip(PROBES, self.encode_batch(list(PROBES.values())), strict=True))
        parts["pieces"] = sorted(self._pieces.items())
        return {name: hashlib.sha256(json.dumps(part).encode()).hexdigest()[:16] for name, part in parts.items()}

    def _control(self, names: Sequence[str]) -> int | None:
        return next((self.controls[name] for name in names if name in self.controls), None)

    def _marks(self, *texts: str) -> tuple[list[list[int]], tuple[int, int]]:
        """Return the control tokens before, between and behind texts, and the types of the first and the last text."""
        found = self._backend.encode(texts[0], texts[1] if len(texts) > 1 else None)
        marks: list[list[int]] = [[]]
        types: list[int] = []
        for token, kind, special in zip(found.ids, found.type_ids, found.special_tokens_mask, strict=True):
            if special:
                marks[-1].append(token)
            elif len(types) < len(texts) and (not types or marks[-1]):
                types.append(kind)
                marks.append([])
        if len(marks) != len(texts) + 1:
            raise ModelError("a tokenizer that puts no mark between two texts", REMEDY)
        return marks, (types[0], types[-1])


def _unicode(text: str) -> str:
    return SURROGATES.sub("\ufffd", text)


def _unreadable(data: dict[str, Any]) -> dict[str, Any]:
    """Return a tokenizer whose control tokens no text can spell.

    A Unigram vocabulary holds them as pieces like any other. There they are given names with a space, which the
    library replaces in every text before it looks for pieces.
    """
    model = data.get("model", {})
    if "vocab" not in model or not isinstance(model["vocab"], list):
        return data
    controls = {one["content"] for one in data.get("added_tokens", []) if one.get("special", False)}
    keep = model.get("unk_id")
    vocab = [
        [f" {piece} " if piece in controls and place != keep else piece, score]
        for place, (piece, score) in enumerate(model["vocab"])
    ]
    return {**data, "model": {**model, "vocab": vocab}}


def read_tokenizer(text: str) -> Tokenizer | PretrainedTokenizer:
    """Return the tokenizer of a package: one that Onehop trained, or that of a pretrained model.

    Raises:
        ModelError: It is neither.
    """
    try:
        return Tokenizer.from_json(text)
    except ModelError as error:
        if '"added_tokens":[]' in text.replace(" ", ""):  # ours has none; a pretrained model's has its marks there
            raise
        try:
            return PretrainedTokenizer.from_json(text)
        except ModelError:
            raise error from None
