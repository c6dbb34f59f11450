"""Which sentences and words of a text attention read, by the weights of the pooling: of the run itself, and exact.

What has a large weight was read much; whether it decided is another question (Jain 2019), which leaving it out answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from onehop.errors import ConfigError
from onehop.nn import record_attention
from onehop.nn.modes import for_inference
from onehop.tasks.classification import Classifier
from onehop.tasks.framed import FramedDocuments
from onehop.tasks.settings import Long
from onehop.text import EOS, Ledger, limit_windows

WORDS, SENTENCES = "encoder.words", "encoder.sentences"


@dataclass(frozen=True)
class Word:
    """A word, or a mark.

    Args:
        text: As it is written; empty for the mark that ends a part.
        weight: Its share of its sentence; those of a sentence sum to 1.
    """

    text: str
    weight: float


@dataclass(frozen=True)
class Sentence:
    """A sentence, or the whole of a text whose sentences the model does not tell apart.

    Args:
        weight: Its share of the text; those of a text sum to 1.
        words: In their order.
    """

    weight: float
    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """Its words, with spaces between them."""
        return " ".join(word.text for word in self.words if word.text)


@torch.inference_mode()
def evidence(classifier: Classifier, text: str | Sequence[str], *, long: Long = "error") -> list[Sentence]:
    """Return the sentences and words of a text with the weights by which they were read.

    The windows of a text that is too long are weighed by their tokens, as their probabilities are.

    Args:
        classifier: With the pooling `attention`.
        text: A text, or those of its columns.
        long: What to do with a text that is longer than the model's limit; of one that is dropped there is nothing.

    Raises:
        ConfigError: The model pools otherwise.
        LengthError: The text is too long and `long` is "error".

    Example:
        >>> found = evidence(onehop.load_classifier("runs/reviews"), "The bed was warm. The view was lovely.")
        >>> [sentence.text for sentence in found], round(sum(sentence.weight for sentence in found), 3)
        (['The bed was warm .', 'The view was lovely .'], 1.0)
    """
    if classifier.settings.head.pooling != "attention":
        problem = f"the model pools by {classifier.settings.head.pooling!r}, which has no weights"
        raise ConfigError(problem, 'Train one with head.pooling = "attention".', "head.pooling")
    [tokens] = classifier.encode([text])
    ledger = Ledger("text", classifier.settings.text.max_length, long)
    windows = limit_windows(tokens, classifier.tokenizer.spaced, ledger, "text") if tokens else []
    if windows and classifier.settings.text.windows == "pooled":
        windows = [classifier.documents.joined(windows)]  # type: ignore[union-attr]
    total = sum(len(window) + 1 for window in windows)
    return [part for window in windows for part in _read(classifier, window, (len(window) + 1) / total)]


def _read(classifier: Classifier, tokens: list[int], share: float) -> Iterator[Sentence]:
    """Yield the sentences of one row: a window, or all that are read together."""
    row = [*tokens, EOS]
    for_inference(classifier.model)
    rows = torch.tensor([row], device=classifier.device)
    source = classifier.source(rows, torch.tensor([len(row)], device=classifier.device))
    with record_attention(layers=[WORDS, SENTENCES]) as record:
        classifier.model(source)
    words, marks = record[WORDS][0, 0].tolist(), {EOS}
    if isinstance(documents := classifier.documents, FramedDocuments):
        read = zip(source.tokens.tolist(), source.known_lengths().tolist(), strict=True)
        row = [token for window, length in read for token in window[:length]]
        marks = {documents.begin, documents.end, *documents.between}
    if SENTENCES not in list(record):
        yield Sentence(share, tuple(_words(classifier, row, words[0], marks)))
        return
    start = 0
    for weights, weight in zip(words, record[SENTENCES][0, 0, 0].tolist(), strict=True):
        end = row.index(EOS, start) + 1
        yield Sentence(share * weight, tuple(_words(classifier, row[start:end], weights[start:end], marks)))
        start = end


def _words(classifier: Classifier, row: Sequence[int], weights: Sequence[float], marks: set[int]) -> Iterator[Word]:
    """Yield the words that pieces make up: one begins at a space, at a mark, and behind and before a sign."""
    groups: list[tuple[list[int], float]] = []
    pieces, before = classifier.tokenizer.spaced(row), ""
    for place, (token, weight, piece) in enumerate(zip(row, weights, pieces, strict=True)):
        begins = not groups or token in marks or row[place - 1] in marks or piece[:1].isspace()
        if begins or (_is_sign(piece) and before.strip()) or _is_sign(before):  # a space alone is the next word's
            groups.append(([token], weight))
        else:
            groups[-1][0].append(token)
            groups[-1] = (groups[-1][0], groups[-1][1] + weight)
        before = piece
    for tokens, weight in groups:
        yield Word("" if tokens[0] in marks else classifier.tokenizer.decode(tokens).strip(), weight)


def _is_sign(piece: str) -> bool:
    """Whether a piece is punctuation alone; a piece of a byte, such as `<0xE3>`, is part of a character."""
    bare = piece.strip()
    return bool(bare) and not any(character.isalnum() for character in bare) and not piece.startswith("<0x")
