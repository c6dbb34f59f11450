"""Validation of a model that embeds while it trains, and its model card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from onehop.data.alike import Alike
from onehop.evaluate.embedding import Collection, shown_pairs, shown_places
from onehop.evaluate.report_page import SHOWN, report_page, shortened
from onehop.evaluate.scored import Grid, Shown
from onehop.metrics import regression
from onehop.metrics.retrieval import Found, bootstrap, retrieval
from onehop.tasks.embedding import Embedder
from onehop.tasks.nearest import Near
from onehop.train.card import ending, longer, validated
from onehop.train.embed_loss import Vectors
from onehop.train.progress import Progress
from onehop.train.validation import spread

if TYPE_CHECKING:
    from onehop.train.embed import PreparedEmbedder

Loss = Callable[[Vectors, Tensor], Tensor]  # of vectors and what is wanted of their cosines, summed over rows


@dataclass(frozen=True)
class Alikeness:
    """How well the cosines of the held-out pairs follow their scores.

    Args:
        spearman: Correlation of their ranks.
        pearson: Of the values.
        pairs: How many they are.
    """

    spearman: float
    pearson: float
    pairs: int = 0

    @property
    def figures(self) -> dict[str, float | int]:
        """Each by its name."""
        return {"spearman": self.spearman, "pearson": self.pearson, "pairs": self.pairs}

    @property
    def told(self) -> str:
        """What people are told."""
        return f"cosines and scores: Spearman {self.spearman:.3f}, Pearson {self.pearson:.3f}"


@dataclass(frozen=True)
class Places:
    """How well the held-out texts that are to be found are found.

    Args:
        found: Figures.
        queries: Distinct texts that something is looked for.
        among: Texts that it is looked for among.
    """

    found: Found
    queries: int = 0
    among: int = 0

    @property
    def figures(self) -> dict[str, float | int]:
        """Each by its name."""
        return {**self.found.to_dict(), "queries": self.queries, "among": self.among}

    @property
    def told(self) -> str:
        """What people are told."""
        first = f"{100 * self.found.accuracy:.1f} % found first of {self.among:,}"
        return f"{first}, {100 * self.found.hit_rate:.1f} % among the first ten, MRR {self.found.mrr:.3f}"


class HeldOutAlike:
    """Held-out rows, tokenised once.

    Args:
        task: The model that trains.
        rows: As they were read.
        tokens: Of each text of each, within the limit.
        wanted: What is wanted of the cosine of each row; nothing but ones where there are no scores.
        scored: Whether pairs have scores.
        loss: Of some rows.
        together: Rows that a loss is of, as in training.
        batch_tokens: Rows times longest row of a batch at most.
    """

    def __init__(
        self, task: Embedder, rows: Sequence[Alike], tokens: Sequence[list[list[int]]], wanted: Tensor, *,
        scored: bool, loss: Loss, together: int, batch_tokens: int,
    ) -> None:  # fmt: skip
        self.task, self.rows, self.tokens, self.wanted = task, rows, tokens, wanted
        self._loss, self._together, self._batch_tokens = loss, together, batch_tokens
        self.scored = scored
        self.unknown = Alikeness(nan, nan) if self.scored else Places(Found(nan, nan, nan))
        names: dict[tuple[int, ...], int] = {}
        self._names = torch.tensor(
            [[names.setdefault(tuple(text), len(names)) for text in row] for row in tokens], dtype=torch.int64
        )
        self.collection = Collection.of([[tuple(text) for text in row] for row in tokens])

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self, count: int) -> list[str]:
        """Return the first texts of that many rows, evenly spread."""
        return [self.rows[i].texts[0] for i in spread(len(self), count)]

    def loss(self) -> float:
        """Return the loss of each row among as many as a batch of training has."""
        if not len(self):
            return 0.0
        flat = self.task.vectors([text for row in self.tokens for text in row], self._batch_tokens)
        self._values = torch.nn.functional.normalize(flat, dim=-1).view(len(self), -1, flat.size(-1))
        parts = (slice(start, start + self._together) for start in range(0, len(self), self._together))
        each = [self._loss(Vectors(self._values[part], self._names[part]), self.wanted[part]) for part in parts]
        return float(sum(each)) / len(self)

    def measure(self) -> Alikeness | Places:
        """Return figures by the vectors that the last `loss` found."""
        if not len(self):
            return Alikeness(0.0, 0.0) if self.scored else Places(Found(0.0, 0.0, 0.0))
        if self.scored:
            self.cosines = Vectors(self._values, self._names).cosines.tolist()
            self.result = regression.numbers(self.cosines, [row.score or 0.0 for row in self.rows])
            return Alikeness(self.result.spearman, self.result.pearson, len(self))
        self.places = self.collection.places(*self._sides())
        self.found = retrieval(self.places)
        return Places(self.found, len(self.places), len(self.collection))

    def _sides(self) -> tuple[Tensor, Tensor]:
        """Return the vectors of the first texts, and those of the others, column by column."""
        return self._values[:, 0], self._values[:, 1:].transpose(0, 1).flatten(0, 1)

    def page(self, found: Any) -> str:
        """Return the report of what the last `measure` found, as HTML."""
        return self._scored_page() if self.scored else self._found_page()

    def _scored_page(self) -> str:
        scores = [row.score or 0.0 for row in self.rows]
        title = f"{len(self):,} pairs for validation"
        grid = shown_pairs(self.result, regression.bootstrap(self.cosines, scores), title)
        ranks = [regression.ranks(torch.tensor(values).numpy()) for values in (self.cosines, scores)]
        far = sorted(range(len(self)), key=lambda n: -abs(ranks[0][n] - ranks[1][n]))[:SHOWN]
        rows = [
            [*map(shortened, self.rows[n].texts), f"{scores[n]:.4g}", f"{self.cosines[n]:.3f}",
             f"{100 * ranks[1][n] / len(self):.0f} %", f"{100 * ranks[0][n] / len(self):.0f} %"]
            for n in far
        ]  # fmt: skip
        head = ("text", "other text", "score", "cosine", "pairs of lower score", "pairs of lower cosine")
        return report_page("Report of a model that embeds", Shown([grid]), Grid("Furthest from their rank", head, rows))

    def _found_page(self) -> str:
        title = f"{len(self.places):,} texts for validation, each looking among {len(self.collection):,}"
        grid = shown_places(self.found, bootstrap(self.places), title)
        firsts = self.collection.firsts(*self._sides())
        wrong = [n for n in range(len(self.places)) if self.places[n] > 1]
        rows = [self._mistake(n, firsts[n]) for n in sorted(wrong, key=lambda n: -firsts[n].cosine)[:SHOWN]]
        head = ("text", "to be found", "found first", "cosine", "place of the right one")
        return report_page("Report of a model that embeds", Shown([grid]), Grid("Surest mistakes", head, rows))

    def _mistake(self, number: int, first: Near) -> list[str]:
        own = self.rows[self.collection.rows[number]].texts
        column, row = divmod(first.place, len(self))
        texts = *own[:2], self.rows[row].texts[1 + column]
        return [*map(shortened, texts), f"{first.cosine:.3f}", f"{self.places[number]:,}"]


def embedder_card(prepared: PreparedEmbedder, progress: Progress, loss: float, found: Any) -> str:
    """Return the card as Markdown."""
    settings, parent, recipe = prepared.task.settings, prepared.parent, prepared.recipe
    parameters = sum(p.numel() for p in prepared.task.model.parameters())
    how = {
        "contrastive": "to find a text's own among others",
        "cosine": "so that cosines are scores",
        "ranking": "so that pairs of higher score have the higher cosine",
    }[recipe.vector.objective or "contrastive"]
    lines = [
        "# Vectors of texts",
        "",
        f"A {settings.architecture} encoder with {settings.pooling} pooling, {parameters:,} parameters, trained with "
        f"Onehop on {prepared.num_pairs:,} rows of texts, {how}.",
        "",
        f"- texts from: {', '.join(recipe.data.text_columns)}",
        f"- updates: {progress.update:,} of the run, {progress.targets:,} rows",
        validated(len(prepared.validation), "rows", f"loss {loss:.3f}, {found.told}"),
        f"- longest text: {settings.text.max_length} tokens",
        f"- longer ones: {'; '.join(longer(prepared))}",
        *([f"- begins with the model whose onehop.json, or folder, has the SHA-256 {parent.sha256}"] if parent else []),
        *ending(settings, "predict MODEL texts.txt -o vectors.jsonl"),
        "    onehop search MODEL collection.txt questions.txt",
        "",
    ]
    return "\n".join(lines)
