"""What the checks look at: lines, and what the model makes of each of them alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from onehop.data import Batch, evaluation_batches, read_table
from onehop.data.readers import numbering
from onehop.errors import DataError
from onehop.files import read_lines
from onehop.tasks import Candidate, DecodeConfig, Package, Translator
from onehop.tasks.settings import PairLong
from onehop.text import Ledger, limit
from onehop.text.places import places_of
from onehop.verify.margins import neutral
from onehop.verify.suites import Known, suite

GROUP = 16  # lines of a batch, of any lengths together, so that most of them are padded
FIXED = (
    "a",
    "Yes.",
    "Where is the old bridge?",
    "She has lost the key to the garden shed again.",
    "The children planted three apple trees behind the school last spring, and two of them are already taller than I.",
    "Das Museum schließt heute um 17:45 Uhr.",
    "Le train de nuit part du quai no 3.",
    "Ключ лежит под ковриком.",
    "明日は雨が降るでしょう。",
    "كم الساعة الآن؟",
    "x² + y² = 1, 3.14 ≈ π",
    "  two  spaces  ",
)


@dataclass(frozen=True)
class Lines:
    """Lines that a model is verified on.

    Args:
        name: Of the file; empty for the fixed ones.
        places: Where each stands.
        sources: Tokens of each.
        references: A translation or label of each, or None where none are known.
        dropped: Lines that were too long and left out.
        cut: Lines that were too long and shortened, as asked.
    """

    name: str
    places: tuple[str, ...]
    sources: tuple[list[int], ...]
    references: tuple[str, ...] | None = None
    dropped: int = 0
    cut: int = 0

    def __len__(self) -> int:
        return len(self.sources)


def fixed_lines(package: Package) -> Lines:
    """Return the golden sources and a few fixed lines of several languages, without those too long for the model.

    Example:
        >>> lines = fixed_lines(onehop.tasks.load_package("runs/first"))
        >>> len(lines) + lines.dropped
        20
    """
    texts = [line["source"] for line in package.golden] + list(FIXED)
    return _lines(package.task, "", Known(texts, None, places_of("fixed line", len(texts))), "drop")


def read_data(task: Any, path: str | Path, long: PairLong = "error") -> Lines:
    """Return the lines of a file: texts, or texts with a translation or label each.

    Args:
        task: Whose tokens they become.
        path: One that `train` reads holds pairs, labelled texts or tagged sentences, as its ending tells; any other a
            text a line. Blank texts are left out.
        long: What to do with lines longer than the model's limit.

    Raises:
        LengthError: A line is too long and `long` is "error".
        DataError: The file cannot be used, or no line of it is left.

    Example:
        >>> len(read_data(onehop.load("runs/first"), "my.en"))
        200
    """
    endings = Path(path).name.removesuffix(".gz").removesuffix(".zst")
    if Path(endings).suffix not in suite(task.task).endings:
        columns = getattr(task.settings, "columns", [])
        if len(columns) > 1:
            problem = f"a text a line, where the model reads {len(columns)}"
            raise DataError(problem, f"Give a table with the columns {', '.join(columns)}.", str(path))
        lines = list(read_lines(path))
        return _lines(task, str(path), Known(lines, None, places_of(str(path), len(lines))), long)
    return _lines(task, str(path), suite(task.task).read(task, str(path)), long)


def read_pairs(translator: Translator, path: str) -> Known:
    """Return the sources and targets of a table."""
    pairs = list(read_table(path))
    place = numbering(path)
    stand = [f"{path}:{place}{number}" for number in range(1, len(pairs) + 1)]
    return Known([pair.source for pair in pairs], [pair.target for pair in pairs], stand)


def _lines(task: Any, name: str, known: Known, long: PairLong) -> Lines:
    """Tokenise, and limit by what the model was trained on."""
    ledger = Ledger(name or "fixed lines", task.settings.text.max_length, long)
    encoded = suite(task.task).encoder(task).encode_batch(list(known.texts))
    rows: list[int] = []
    sources: list[list[int]] = []
    for row, (text, tokens) in enumerate(zip(known.texts, encoded, strict=True)):
        kept = limit(tokens, ledger, known.places[row]) if text.strip() else None
        if kept is not None:
            rows.append(row)
            sources.append(kept)
    if not sources:
        remedy = f"The model takes lines of up to {ledger.max_length} tokens; give some with `--data`."
        raise DataError("no line to verify on", remedy, ledger.split)
    chosen = None if known.references is None else tuple(known.references[row] for row in rows)
    lost = {policy: ledger.affected if policy == long else 0 for policy in ("drop", "cut")}
    return Lines(name, tuple(known.places[row] for row in rows), tuple(sources), chosen, lost["drop"], lost["cut"])


@dataclass(frozen=True)
class Subject:
    """A model and lines, with what it makes of each line alone."""

    translator: Translator
    lines: Lines

    @property
    def greedy(self) -> DecodeConfig:
        """How it searches for the one likeliest token after another."""
        return neutral(self.translator.settings.decode, 1)

    @property
    def beam(self) -> DecodeConfig:
        """How it searches with the beam of its package, or with 4 if that is greedy."""
        size = self.translator.settings.decode.beam_size
        return neutral(self.translator.settings.decode, 4 if size == 1 else size)

    @cached_property
    def targets(self) -> list[Candidate]:
        """The greedy output of each line, decoded alone."""
        return [found[0] for found in self._alone(self.greedy)]

    @cached_property
    def hypotheses(self) -> list[list[Candidate]]:
        """All that beam search finds for each line, decoded alone, best first."""
        return self._alone(self.beam)

    def _alone(self, decode: DecodeConfig) -> list[list[Candidate]]:
        return [self.translator.search([source], decode, decode.beam_size)[0] for source in self.lines.sources]

    def together(self, decode: DecodeConfig) -> list[Candidate]:
        """Return the best output of each line, decoded in batches of 16 lines of any lengths."""
        found: list[list[Candidate]] = []
        wide = decode.model_copy(update={"batch_tokens": 1 << 40})
        for rows in self.groups():
            found += self.translator.search([self.lines.sources[i] for i in rows], wide)
        return [candidates[0] for candidates in found]

    def groups(self) -> Iterator[list[int]]:
        """Yield the places of the lines of each batch."""
        for start in range(0, len(self.lines), GROUP):
            yield list(range(start, min(start + GROUP, len(self.lines))))

    def forced(self) -> Iterator[Batch]:
        """Yield padded batches of the lines with their greedy outputs as targets; `pairs` are their places."""
        for rows in self.groups():
            yield self.batch(rows)

    def batch(self, rows: Sequence[int]) -> Batch:
        """Return one padded batch of lines with their greedy outputs."""
        sources, targets = [self.lines.sources[i] for i in rows], [self.targets[i].tokens for i in rows]
        batch = next(evaluation_batches(sources, targets, 1 << 40))
        return replace(batch, pairs=tuple(rows[i] for i in batch.pairs)).to(self.translator.device)

    def place(self, row: int) -> str:
        """Return a line as messages name it."""
        return self.lines.places[row]
