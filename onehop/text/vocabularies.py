"""Vocabularies in the files of before tokenizer.json: `vocab.txt` (WordPiece), `vocab.json` with `merges.txt` (BPE)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from onehop.errors import ModelError
from onehop.text.pretrained import PretrainedTokenizer

WORDPIECE = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
RENAMED, FEW = 0.01, 10  # share of a vocabulary, and tokens, in which two files of it may differ
BYTES = {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "sep": "</s>", "pad": "<pad>", "cls": "<s>", "mask": "<mask>"}


def wordpiece(
    vocab: Sequence[str], *, lowercase: bool, strip_accents: bool | None = None, chinese: bool = True,
    marks: Mapping[str, str] = WORDPIECE,
) -> PretrainedTokenizer:  # fmt: skip
    """Return the tokenizer of BERT and what follows it.

    Args:
        vocab: The lines of `vocab.txt`.
        lowercase: Whether text is lower-cased.
        strip_accents: Whether accents are taken off; None: where text is lower-cased.
        chinese: Whether each Chinese character is a word.
        marks: The control tokens.

    Raises:
        ModelError: A control token is not in the vocabulary.

    Example:
        >>> tokenizer = wordpiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Ca", "##t"], lowercase=False)
        >>> tokenizer.pieces(tokenizer.encode("Cat cat"))
        ['Ca', '##t', '[UNK]']
    """
    ids = {piece: number for number, piece in enumerate(vocab)}
    _known(marks, ids)
    backend = tokenizers.Tokenizer(models.WordPiece(ids, unk_token=marks["unk"], max_input_chars_per_word=100))
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=chinese, strip_accents=strip_accents, lowercase=lowercase
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    _declare(backend, marks)
    cls, sep = marks["cls"], marks["sep"]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, ids[cls]), (sep, ids[sep])],
    )
    return PretrainedTokenizer.from_json(backend.to_str())


def byte_level(
    vocab: Mapping[str, int], merges: Sequence[tuple[str, str]], *, prefix_space: bool = False,
    marks: Mapping[str, str] = BYTES,
) -> PretrainedTokenizer:  # fmt: skip
    """Return the tokenizer of RoBERTa: byte-pair encoding of bytes.

    Args:
        vocab: Of `vocab.json`.
        merges: Of `merges.txt`, in their order.
        prefix_space: Whether the first word is read as one after a space.
        marks: The control tokens.

    Raises:
        ModelError: A control token is not in the vocabulary.
    """
    _known(marks, vocab)
    backend = tokenizers.Tokenizer(
        models.BPE(dict(vocab), list(merges), continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False)
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    backend.decoder = decoders.ByteLevel()
    _declare(backend, marks, "mask")
    cls, sep = marks["cls"], marks["sep"]
    backend.post_processor = processors.RobertaProcessing((sep, vocab[sep]), (cls, vocab[cls]), True, prefix_space)
    return PretrainedTokenizer.from_json(backend.to_str())


@dataclass(frozen=True)
class TokenizerFiles:
    """What a checkpoint's folder holds of its tokenizer; None where there is no such file.

    Args:
        tokenizer: Text of tokenizer.json.
        vocab: Of vocab.txt.
        pieces: Of vocab.json.
        merges: Of merges.txt.
        config: Of tokenizer_config.json.
        marks: Of special_tokens_map.json.
    """

    tokenizer: str | None = None
    vocab: str | None = None
    pieces: str | None = None
    merges: str | None = None
    config: str | None = None
    marks: str | None = None


NAMES = {
    "tokenizer": "tokenizer.json", "vocab": "vocab.txt", "pieces": "vocab.json", "merges": "merges.txt",
    "config": "tokenizer_config.json", "marks": "special_tokens_map.json",
}  # fmt: skip


def read_files(files: TokenizerFiles) -> PretrainedTokenizer:
    """Return the tokenizer of a checkpoint.

    Where nothing says whether text is lower-cased, the vocabulary does: one with capital letters is for text as it is.

    Raises:
        ModelError: There is no vocabulary, or it is damaged.
    """
    if files.tokenizer is not None:
        found = PretrainedTokenizer.from_json(files.tokenizer)
        _agree(files)
        return found
    config = {**_object(files.marks, "special_tokens_map.json"), **_object(files.config, "tokenizer_config.json")}
    if files.vocab is not None:
        vocab = _lines(files.vocab)
        lower = config.get("do_lower_case")
        return wordpiece(
            vocab, lowercase=not _has_capitals(vocab) if lower is None else bool(lower),
            strip_accents=config.get("strip_accents"), chinese=bool(config.get("tokenize_chinese_chars", True)),
            marks=_marks(WORDPIECE, config),
        )  # fmt: skip
    if files.pieces is not None and files.merges is not None:
        lines = [line for line in files.merges.split("\n") if line.strip() and not line.startswith("#version")]
        merges = [(a, b) for a, _, b in (line.rstrip("\r").partition(" ") for line in lines)]
        return byte_level(
            _object(files.pieces, "vocab.json"), merges, prefix_space=bool(config.get("add_prefix_space", False)),
            marks=_marks(BYTES, config),
        )  # fmt: skip
    raise ModelError(
        "no tokenizer: neither tokenizer.json, nor vocab.txt, nor vocab.json with merges.txt",
        "Save it once with transformers, which writes tokenizer.json: AutoTokenizer.from_pretrained(DIR)"
        ".save_pretrained(DIR).",
    )


def _lines(vocab: str) -> list[str]:
    return [line.removesuffix("\r") for line in vocab.removesuffix("\n").split("\n")]


def _agree(files: TokenizerFiles) -> None:
    """Check that an older vocabulary beside tokenizer.json does not give its tokens other numbers.

    One with other tokens is not of these weights, or is written in a form of its own: tokenizer.json counts, as it does
    for transformers. With the same tokens in another order, nothing tells which of the two the weights go by.
    """
    if files.vocab is None and files.pieces is None:
        return
    name = "vocab.txt" if files.vocab is not None else "vocab.json"
    lines = {piece: number for number, piece in enumerate(_lines(files.vocab or ""))}
    try:
        older = lines if files.vocab is not None else _object(files.pieces, name)
        data = _object(files.tokenizer, "tokenizer.json")
        added = {str(token["content"]): token["id"] for token in data.get("added_tokens") or []}
        newer = {**data["model"]["vocab"], **added}
    except (ModelError, KeyError, TypeError, ValueError, AttributeError):
        return  # of another algorithm, which has no such files; or the older file is damaged, and is not read
    known = [piece for piece in older if piece in newer]
    unlike = [piece for piece in known if newer[piece] != older[piece]]
    if len(known) > (1 - RENAMED) * len(older) and len(unlike) > max(FEW, RENAMED * len(older)):
        first = unlike[0]
        raise ModelError(
            f"{name} and tokenizer.json have the same tokens in another order: {len(unlike):,} of {len(older):,}, "
            f"{first!r} being {older[first]} in one and {newer[first]} in the other",
            "Remove the one that does not belong to these weights.",
        )


def _has_capitals(vocab: Sequence[str]) -> bool:
    """Whether a vocabulary has a word with a capital letter; what stands in brackets is no word."""
    return any(piece != piece.lower() and not (piece.startswith("[") and piece.endswith("]")) for piece in vocab)


def _marks(known: Mapping[str, str], config: Mapping[str, Any]) -> dict[str, str]:
    """Return the control tokens with the names that the files give them."""
    found = dict(known)
    for name in known:
        given = config.get(f"{name}_token")
        given = given.get("content") if isinstance(given, dict) else given
        found[name] = given if isinstance(given, str) else found[name]
    return found


def _known(marks: Mapping[str, str], vocab: Mapping[str, int]) -> None:
    missing = sorted({mark for mark in marks.values() if mark not in vocab})
    if missing:
        raise ModelError(f"a vocabulary without {', '.join(missing)}", "Copy the checkpoint again.")


def _declare(backend: tokenizers.Tokenizer, marks: Mapping[str, str], lstrip: str = "") -> None:
    """Tell the library which pieces are control tokens."""
    backend.add_special_tokens(
        [AddedToken(mark, lstrip=name == lstrip, normalized=False, special=True) for name, mark in marks.items()]
    )


def _object(text: str | None, name: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise ModelError(f"not JSON: {str(error)[:200]}", "Copy the checkpoint again.", name) from error
    if not isinstance(found, dict):
        raise ModelError("not an object", "Copy the checkpoint again.", name)
    return found
