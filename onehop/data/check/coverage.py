"""How well a model's tokenizer fits the text: bytes instead of pieces, words cut to shreds, lines over the limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from onehop.data.check.finding import Finding, judge
from onehop.data.check.inputs import Chunk, Tally
from onehop.text.tokenizer import Tokenizer
from onehop.text.vocabulary import CONTROLS

FRAGMENTS = 4.0  # pieces a word, on average
BYTES = range(len(CONTROLS), len(CONTROLS) + 256)
SIDES = ("sources", "targets")


@dataclass
class Coverage:
    """Encodes pairs with a model's tokenizers and counts.

    Args:
        tokenizers: Of sources and targets.
        max_length: Most tokens of a line.
    """

    tokenizers: tuple[Tokenizer, Tokenizer]
    max_length: int
    _sums: list[list[int]] = field(default_factory=lambda: [[0, 0, 0], [0, 0, 0]])
    _long: Tally = field(default_factory=Tally)
    _lines: int = 0

    def look(self, chunk: Chunk) -> None:
        """Count pieces, byte pieces and words of the next pairs."""
        self._lines += len(chunk)
        for side, lines in enumerate((chunk.sources, chunk.targets)):
            rows = self.tokenizers[side].encode_batch(lines)
            tokens = np.array([token for row in rows for token in row], np.int64)
            sums = self._sums[side]
            sums[0] += len(tokens)
            sums[1] += int(((tokens >= BYTES.start) & (tokens < BYTES.stop)).sum())
            sums[2] += len(chunk.texts[side].words[0])
            over = np.array([len(row) > self.max_length for row in rows], bool)
            self._long.rows("too-long", chunk, over, side)

    def findings(self, split: str) -> Iterator[Finding]:
        """Yield what does not fit."""
        yield from self._long.findings(split, self._lines)
        for side, (pieces, in_bytes, words) in zip(SIDES, self._sums, strict=True):
            if in_bytes:
                yield judge("bytes", split, in_bytes, pieces, [], f"of the pieces of the {side}")
            if pieces > FRAGMENTS * words > 0:
                yield judge("fragments", split, words, words, [], f"{pieces / words:.1f} pieces a word in the {side}")
