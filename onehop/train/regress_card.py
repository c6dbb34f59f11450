"""Validation of a regressor while it trains, and its model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

from torch import Tensor

from onehop.evaluate.regression import shown_numbers
from onehop.evaluate.report_page import SHOWN, report_page, shortened
from onehop.evaluate.scored import Grid, Shown
from onehop.metrics.regression import bootstrap, numbers
from onehop.tasks.regression import Regressor
from onehop.train.card import ending, longer, validated
from onehop.train.progress import Progress
from onehop.train.validation import spread

if TYPE_CHECKING:
    from onehop.train.regress import PreparedRegressor


@dataclass(frozen=True)
class Regressed:
    """How well the numbers of the held-out texts were found.

    Args:
        pearson: Correlation.
        spearman: That of the ranks.
        rmse: Root of the mean squared error.
        mean_rmse: The same of who always says the mean.
        texts: How many they are.
    """

    pearson: float
    spearman: float
    rmse: float
    mean_rmse: float
    texts: int = 0

    @property
    def figures(self) -> dict[str, float | int]:
        """Each by its name."""
        return {"pearson": self.pearson, "spearman": self.spearman, "rmse": self.rmse, "texts": self.texts}

    @property
    def told(self) -> str:
        """What people are told."""
        return f"Spearman {self.spearman:.3f}, Pearson {self.pearson:.3f}, RMSE {self.rmse:.4g} ({self.mean_rmse:.4g})"


class NumberedTexts:
    """Held-out texts, tokenised once.

    Args:
        task: The regressor that trains.
        sources: The texts.
        rows: Their tokens, within the limit.
        wanted: Their numbers `(N,)`.
        batch_tokens: Rows times longest row of a batch at most.
    """

    unknown = Regressed(nan, nan, nan, nan)

    def __init__(
        self, task: Regressor, sources: Sequence[str], rows: Sequence[list[int]], wanted: Tensor, batch_tokens: int
    ) -> None:
        self.task, self.sources, self.rows, self.wanted = task, sources, rows, wanted
        self.batch_tokens = batch_tokens

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self, count: int) -> list[str]:
        """Return that many texts, evenly spread."""
        return [self.sources[i] for i in spread(len(self), count)]

    def loss(self) -> float:
        """Return the squared error for each text, in squared deviations."""
        self._values = self.task.values(self.rows, self.batch_tokens)
        if not len(self):
            return 0.0
        return float(((self._values - self.wanted) / self.task.settings.deviation).square().mean())

    def measure(self) -> Regressed:
        """Return correlations by the numbers that the last `loss` found."""
        if not len(self):
            return Regressed(0.0, 0.0, 0.0, 0.0)
        self.result = found = numbers(self._values.tolist(), self.wanted.tolist())
        return Regressed(found.pearson, found.spearman, found.rmse, found.mean_rmse, len(self))

    def page(self, found: Regressed) -> str:
        """Return the report of what the last `measure` found, as HTML."""
        values, wanted = self._values.tolist(), self.wanted.tolist()
        shown = Shown([shown_numbers(self.result, bootstrap(values, wanted), len(self))])
        far = sorted(range(len(self)), key=lambda n: -abs(values[n] - wanted[n]))[:SHOWN]
        rows = [[shortened(self.sources[n]), f"{wanted[n]:.4g}", f"{values[n]:.4g}"] for n in far]
        grid = Grid("Largest errors", ("text", "its number", "it got"), rows)
        return report_page("Report of a regressor", shown, grid)


def regressor_card(prepared: PreparedRegressor, progress: Progress, loss: float, found: Regressed) -> str:
    """Return the card as Markdown."""
    task, settings, parent = prepared.task, prepared.task.settings, prepared.parent
    parameters = sum(p.numel() for p in task.model.parameters())
    begun = [f"- begins with the model whose onehop.json, or folder, has the SHA-256 {parent.sha256}"] if parent else []
    lines = [
        "# Regressor",
        "",
        f"A {settings.architecture} encoder with {settings.head.pooling} pooling, {parameters:,} parameters, trained "
        f"with Onehop on {prepared.num_pairs:,} texts.",
        "",
        f"- numbers it was trained on: mean {settings.mean:.4g}, deviation {settings.deviation:.4g}",
        f"- updates: {progress.update:,} of the run, {progress.targets:,} texts",
        validated(found.texts, "texts", f"loss {loss:.3f}, {found.told}; in brackets, of always the mean"),
        f"- longest text: {settings.text.max_length} tokens",
        f"- longer texts: {'; '.join(longer(prepared))}",
        f"- vocabulary: {task.tokenizer.vocab_size:,} pieces",
        *begun,
        *ending(settings, "predict MODEL input.txt -o output.jsonl"),
    ]
    return "\n".join(lines)
