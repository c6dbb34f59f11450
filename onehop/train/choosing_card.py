"""Validation of a model that chooses while it trains, and its model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import nan
from typing import TYPE_CHECKING

from onehop.data.labelled import SEPARATOR
from onehop.evaluate.choices import scored_places, shown_choices
from onehop.evaluate.report_page import SHOWN, report_page, shortened
from onehop.evaluate.scored import Grid, Shown
from onehop.tasks.choosing import Chooser
from onehop.train.card import ending, longer, validated
from onehop.train.progress import Progress
from onehop.train.validation import spread

if TYPE_CHECKING:
    from onehop.train.choosing import PreparedChooser


@dataclass(frozen=True)
class ChosenFigures:
    """How well the options of the held-out choices were chosen.

    Args:
        accuracy: Share of the choices whose right option was chosen.
        chance: What choosing blindly reaches.
        choices: How many they are.
        mcc: Matthews' correlation of the places, 0 where always the same place is chosen.
    """

    accuracy: float
    chance: float
    choices: int = 0
    mcc: float = 0.0

    @property
    def figures(self) -> dict[str, float | int]:
        """Each by its name."""
        return asdict(self)

    @property
    def told(self) -> str:
        """What people are told."""
        return f"accuracy {100 * self.accuracy:.1f} % (by chance {100 * self.chance:.1f} %)"


class HeldOutChoices:
    """Held-out choices, tokenised once.

    Args:
        task: The model that trains.
        sources: The choices, as one string each.
        rows: Their tokens, within the limit.
        wanted: The place of the right option of each.
        batch_tokens: Rows times longest row of a batch at most.
    """

    unknown = ChosenFigures(nan, nan)

    def __init__(
        self, task: Chooser, sources: Sequence[str], rows: Sequence[list[int]], wanted: Sequence[int], batch_tokens: int
    ) -> None:
        self.task, self.sources, self.rows, self.wanted = task, sources, rows, wanted
        self.batch_tokens = batch_tokens

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self, count: int) -> list[str]:
        """Return that many choices, evenly spread."""
        return [self.sources[i] for i in spread(len(self), count)]

    def loss(self) -> float:
        """Return the loss in nats for each choice."""
        self._scores = self.task.scores(self.rows, self.batch_tokens)
        pairs = zip(self._scores, self.wanted, strict=True)
        return -sum(float(scores.log_softmax(0)[right]) for scores, right in pairs) / max(1, len(self))

    def measure(self) -> ChosenFigures:
        """Return figures by the scores that the last `loss` found."""
        if not len(self):
            return ChosenFigures(0.0, 0.0)
        self.found = [int(scores.argmax()) for scores in self._scores]
        self.result, self.intervals = scored_places(self.found, self.wanted)
        chance = sum(1 / len(scores) for scores in self._scores) / len(self)
        return ChosenFigures(self.result.accuracy, chance, len(self), self.result.mcc)

    def page(self, found: ChosenFigures) -> str:
        """Return the report of what the last `measure` found, as HTML."""
        title = f"{len(self):,} choices for validation"
        shown = Shown([shown_choices(self.result, self.intervals, found.chance, title)])
        sure = [float(scores.softmax(0).max()) for scores in self._scores]
        wrong = [place for place, right in enumerate(self.wanted) if self.found[place] != right]
        rows: list[list[str]] = []
        for number in sorted(wrong, key=lambda one: -sure[one])[:SHOWN]:
            parts, count = self.sources[number].split(SEPARATOR), len(self._scores[number])
            context, options = SEPARATOR.join(parts[:-count]), parts[-count:]
            texts = context, options[self.wanted[number]], options[self.found[number]]
            rows.append([*map(shortened, texts), f"{sure[number]:.3f}"])
        grid = Grid("Surest mistakes", ("context", "right option", "it chose", "probability"), rows)
        return report_page("Report of a model that chooses", shown, grid)


def chooser_card(prepared: PreparedChooser, progress: Progress, loss: float, found: ChosenFigures) -> str:
    """Return the card as Markdown."""
    settings, parent = prepared.task.settings, prepared.parent
    parameters = sum(p.numel() for p in prepared.task.model.parameters())
    lines = [
        "# Choices between options",
        "",
        f"A {settings.architecture} encoder with {settings.head.pooling} pooling, {parameters:,} parameters, trained "
        f"with Onehop on {prepared.num_pairs:,} choices.",
        "",
        f"- context: {', '.join(settings.columns) or 'one text'}",
        f"- updates: {progress.update:,} of the run, {progress.targets:,} choices",
        validated(found.choices, "choices", f"loss {loss:.3f} nats, {found.told}"),
        f"- longest context with an option: {settings.text.max_length} tokens",
        f"- longer ones: {'; '.join(longer(prepared))}",
        f"- begins with the model whose onehop.json, or folder, has the SHA-256 {parent.sha256}" if parent else "",
        *ending(settings, "predict MODEL choices.jsonl -o chosen.jsonl"),
    ]
    return "\n".join(lines)
