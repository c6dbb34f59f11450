"""Plain text as rows of tokens: full of running text, or a first and a second part for the next-sentence prediction.

What is notable: nothing of the text is left out. Rows of running text are RoBERTa's (Liu et al. 2019, section 4.2):
`FULL-SENTENCES`, in which documents stand one behind the other with a mark between them and every token reads the whole
row, or `DOC-SENTENCES`, whose rows end where their document does. Two parts are BERT's (Devlin et al. 2018, section
3.1, task 2): runs of whole sentences that follow each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from onehop.files import read_lines
from onehop.text import split_sentences
from onehop.text.pretrained import PretrainedTokenizer

TOGETHER = 1_000  # lines tokenised at once
Row = tuple[int, list[int]]  # the number of the line that it begins in, and its tokens


@dataclass(frozen=True)
class Rows:
    """How text becomes rows.

    Args:
        tokenizer: Of the model.
        length: Most tokens of a row, without the marks around it.
        joined: Whether a row goes on with the next document.
        parts: Whether rows are of two parts.
    """

    tokenizer: PretrainedTokenizer
    length: int
    joined: bool = True
    parts: bool = False

    def of(self, file: str) -> Iterator[Row]:
        """Yield the rows of a file, whose empty lines end documents."""
        documents = _documents(self.tokenizer, file, sentences=self.parts)
        if self.parts:
            return self._pairs(_without_ends(documents) if self.joined else documents)
        return self._full(documents)

    def _full(self, pieces: Iterator[Row | None]) -> Iterator[Row]:
        row: list[int] = []
        begun = 1
        between = self.tokenizer.marks[1]
        for piece in pieces:
            if piece is None:
                if self.joined and row:
                    row += between
                elif row:
                    yield begun, row
                    row = []
                continue
            number, tokens = piece
            begun = begun if row else number
            row += tokens
            while len(row) >= self.length:
                yield begun, row[: self.length]
                row, begun = row[self.length :], number
        if row:
            yield begun, row

    def _pairs(self, sentences: Iterator[Row | None]) -> Iterator[Row]:
        between = self.tokenizer.marks[1]
        most = (self.length - len(between)) // 2
        first: Row | None = None
        for part in _runs(sentences, most):
            if part is None or first is None:
                if first is not None:
                    yield first  # the document ends: it has no second part
                first = part
            else:
                yield first[0], [*first[1], *between, *part[1]]
                first = None
        if first is not None:
            yield first


def _documents(tokenizer: PretrainedTokenizer, file: str, *, sentences: bool) -> Iterator[Row | None]:
    """Yield the lines of a file, or their sentences, as tokens; None where a document ends."""
    some: list[tuple[int, str]] = []

    def encoded() -> Iterator[Row | None]:
        parts = [(n, part) for n, text in some for part in (split_sentences(text) if sentences else [text]) or [""]]
        for (number, text), tokens in zip(parts, tokenizer.encode_batch([part for _, part in parts]), strict=True):
            yield (number, tokens) if text.strip() else None
        some.clear()

    for number, text in enumerate(read_lines(file), 1):
        some.append((number, text))
        if len(some) == TOGETHER:
            yield from encoded()
    yield from encoded()


def _without_ends(sentences: Iterator[Row | None]) -> Iterator[Row]:
    return (one for one in sentences if one is not None)


def _runs(sentences: Iterator[Row] | Iterator[Row | None], most: int) -> Iterator[Row | None]:
    """Yield runs of whole sentences of at most so many tokens; a longer sentence is divided. None ends a document."""
    run: list[int] = []
    begun = 1
    for sentence in sentences:
        for number, tokens in [(0, [])] if sentence is None else _divided(sentence, most):
            if run and (sentence is None or len(run) + len(tokens) > most):
                yield begun, run
                run = []
            begun = begun if run else number
            run = run + tokens
        if sentence is None:
            yield None
    if run:
        yield begun, run


def _divided(sentence: Row, most: int) -> Sequence[Row]:
    number, tokens = sentence
    return [(number, tokens[start : start + most]) for start in range(0, len(tokens), most)]
