"""How well a model's tokenizer fits the text: bytes or unknowns instead of pieces, shreds of words, lines too long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any

from onehop.data.check.finding import SHOWN, Finding, judge
from onehop.data.check.inputs import Chunk, Tally
from onehop.text.pretrained import PretrainedTokenizer
from onehop.text.tokenizer import Tokenizer
from onehop.text.vocabulary import CONTROLS

FRAGMENTS = 4.0  # pieces a word, on average
BYTES = range(len(CONTROLS), len(CONTROLS) + 256)
SIDES = ("sources", "targets")
Worst = list[tuple[int, int, str]]  # foreign pieces of a line, less its number so that the first wins, and its place


@dataclass
class Side:
    """What was counted of one side: `foreign` pieces are bytes, or unknown."""

    pieces: int = 0
    foreign: int = 0
    words: int = 0
    characters: int = 0
    worst: Worst = field(default_factory=list)


@dataclass
class Coverage:
    """Encodes texts with a model's tokenizers and counts.

    Args:
        tokenizers: Of sources and targets, or of texts alone.
        max_length: Most tokens of a line.
    """

    tokenizers: Sequence[Tokenizer | PretrainedTokenizer]
    max_length: int
    _long: Tally = field(default_factory=Tally)
    _lines: int = 0

    def __post_init__(self) -> None:
        self._sides = [Side() for _ in self.tokenizers]

    def look(self, chunk: Chunk) -> None:
        """Count pieces, those that are bytes or unknown, and words of the next lines."""
        for place, (tokenizer, own) in enumerate(zip(self.tokenizers, self._sides, strict=True)):
            lines = (chunk.sources, chunk.targets)[place]
            rows = tokenizer.encode_batch(lines)
            own.words += len(chunk.texts[place].words[0])
            own.characters += sum(map(len, lines))
            for number, row in enumerate(rows):
                foreign = _foreign(tokenizer, row)
                own.pieces += len(row)
                own.foreign += foreign
                if foreign:
                    own.worst.append((foreign, -self._lines - number, chunk.locate(number, place)))
            own.worst = nlargest(SHOWN, own.worst)
            over = [len(row) > self.max_length for row in rows]
            if any(over):
                where = [chunk.locate(number, place) for number, long in enumerate(over) if long]
                self._long.add("too-long", where)
        self._lines += len(chunk)

    def findings(self, split: str) -> Iterator[Finding]:
        """Yield what does not fit; of bytes and unknowns, the lines that have most of them."""
        yield from self._long.findings(split, self._lines)
        for name, tokenizer, own in zip(self._names(), self.tokenizers, self._sides, strict=True):
            if own.foreign:
                kind = "bytes" if isinstance(tokenizer, Tokenizer) else "unknown"
                worst = [place for _, _, place in own.worst]
                yield judge(kind, split, own.foreign, own.pieces, worst, f"of the pieces of the {name}")
            if own.pieces > FRAGMENTS * own.words > 0:
                told = f"{own.pieces / own.words:.1f} pieces a word in the {name}"
                yield judge("fragments", split, own.words, own.words, [], told)

    def figures(self) -> list[dict[str, Any]]:
        """Return what was counted of each side."""
        each = zip(self._names(), self.tokenizers, self._sides, strict=True)
        return [
            {
                "side": name,
                "pieces": own.pieces,
                "words": own.words,
                "characters": own.characters,
                "bytes": own.foreign if isinstance(tokenizer, Tokenizer) else 0,
                "unknown": 0 if isinstance(tokenizer, Tokenizer) else own.foreign,
            }
            for name, tokenizer, own in each
        ]

    def _names(self) -> Sequence[str]:
        return SIDES if len(self.tokenizers) > 1 else ("texts",)


def _foreign(tokenizer: Tokenizer | PretrainedTokenizer, row: Sequence[int]) -> int:
    """Return how many tokens are bytes of characters, or unknown."""
    if isinstance(tokenizer, Tokenizer):
        return sum(BYTES.start <= token < BYTES.stop for token in row)
    return row.count(tokenizer.unknown) if isinstance(row, list) else 0
