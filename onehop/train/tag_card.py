"""Validation of a tagger while it trains, and its model card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import nan
from typing import TYPE_CHECKING

import torch

from onehop.data.tagged import Sentence
from onehop.evaluate.report_page import SHOWN, report_page, shortened
from onehop.evaluate.scored import Grid, Shown
from onehop.evaluate.tagging import shown_tags
from onehop.metrics.tagging import bootstrap_tags, tagging
from onehop.tasks.tagging import Tagger
from onehop.tasks.wordwise import joined_words
from onehop.train.card import ending, longer, validated
from onehop.train.progress import Progress
from onehop.train.validation import spread

if TYPE_CHECKING:
    from onehop.train.tag import PreparedTagger


@dataclass(frozen=True)
class TaggedFigures:
    """How well the words of the held-out sentences were labelled.

    Args:
        accuracy: Share of the words that got their label.
        f1: Of spans; without a scheme, the mean of the labels' F1.
        sentences: How many they are.
        mcc: Matthews' correlation of the words' labels, 0 where all get the same.
    """

    accuracy: float
    f1: float
    sentences: int = 0
    mcc: float = 0.0

    @property
    def figures(self) -> dict[str, float | int]:
        """Each by its name."""
        return asdict(self)

    @property
    def told(self) -> str:
        """What people are told."""
        return f"accuracy {100 * self.accuracy:.2f} %, F1 {100 * self.f1:.2f} %"


class TaggedSentences:
    """Held-out sentences, tokenised once; those too long are read in windows, as in use.

    Args:
        task: The tagger that trains.
        sentences: With their labels, all of which the tagger knows.
        rows: Their tokens, in rows within the limit.
        wanted: The ids of the labels of each row.
        batch_tokens: Rows times longest row of a batch at most.
    """

    unknown = TaggedFigures(nan, nan)

    def __init__(
        self, task: Tagger, sentences: Sequence[Sentence], rows: Sequence[list[int]], wanted: Sequence[list[int]],
        batch_tokens: int,
    ) -> None:  # fmt: skip
        self.task, self.sentences, self.rows, self.wanted = task, sentences, rows, wanted
        self.batch_tokens = batch_tokens

    def __len__(self) -> int:
        return len(self.sentences)

    def texts(self, count: int) -> list[str]:
        """Return that many sentences, evenly spread."""
        return [joined_words(self.sentences[i].words) for i in spread(len(self), count)]

    @torch.inference_mode()
    def loss(self) -> float:
        """Return the loss in nats for each word, without smoothing."""
        emissions = self.task.emissions(self.rows, self.batch_tokens)
        crf, total, words = self.task.model.crf, 0.0, 0
        for values, labels in zip(emissions, self.wanted, strict=True):
            words += len(labels)
            own = torch.tensor(labels)
            if crf:
                size = torch.tensor([len(labels)], device=self.task.device)
                given = values[None].to(self.task.device), own[None].to(self.task.device), size
                total -= float(crf.log_likelihood(*given))
            else:
                total -= float(values[range(len(labels)), own].sum())
        return total / max(1, words)

    def measure(self) -> TaggedFigures:
        """Return accuracy and F1 of the labels that the tagger finds."""
        if not len(self):
            return TaggedFigures(0.0, 0.0)
        settings = self.task.settings
        tags = self.task.predict([one.words for one in self.sentences], long="window", batch_tokens=self.batch_tokens)
        self.found, wanted = [one.labels for one in tags], [one.labels for one in self.sentences]
        self.result = result = tagging(self.found, wanted, settings.scheme, settings.labels)
        seen = [one.f1 for one in result.by_label if one.support or one.predicted]
        f1 = sum(seen) / len(seen) if settings.scheme == "none" else result.f1
        return TaggedFigures(result.accuracy, f1, len(self), result.mcc)

    def page(self, found: TaggedFigures) -> str:
        """Return the report of what the last `measure` found, as HTML."""
        scheme, wanted = self.task.settings.scheme, [one.labels for one in self.sentences]
        intervals = bootstrap_tags(self.found, wanted, scheme)
        title = f"{len(self):,} sentences of {sum(map(len, wanted)):,} words for validation"
        shown = Shown(shown_tags(self.result, intervals, scheme, title))
        return report_page("Report of a tagger", shown, self._mistakes())

    def _mistakes(self) -> Grid:
        """Return the pairs of labels that are most often taken for each other, each with a word and its sentence."""
        counts: Counter[tuple[str, str]] = Counter()
        first: dict[tuple[str, str], tuple[str, str]] = {}
        for sentence, found in zip(self.sentences, self.found, strict=True):
            for word, wanted, got in zip(sentence.words, sentence.labels, found, strict=True):
                if wanted != got:
                    counts[wanted, got or "none"] += 1
                    first.setdefault((wanted, got or "none"), (word, shortened(" ".join(sentence.words))))
        rows = [[*pair, f"{count:,}", *first[pair]] for pair, count in counts.most_common(SHOWN)]
        return Grid("Most frequent mistakes", ("its label", "it got", "words", "such as", "in"), rows)


def tagger_card(prepared: PreparedTagger, progress: Progress, loss: float, found: TaggedFigures) -> str:
    """Return the card as Markdown."""
    task, settings, parent = prepared.task, prepared.task.settings, prepared.parent
    parameters = sum(p.numel() for p in task.model.parameters())
    continued = [f"- continues the model whose onehop.json has the SHA-256 {parent.sha256}"] if parent else []
    what = "words" if settings.scheme == "none" else f"spans ({settings.scheme.upper()})"
    crf = " and a linear-chain CRF" if settings.head.crf else ""
    lines = [
        f"# Tagger, {len(task.labels)} labels of {what}",
        "",
        f"A {settings.architecture} encoder{crf}, {parameters:,} parameters, trained with Onehop on "
        f"{prepared.num_pairs:,} sentences.",
        "",
        f"- labels: {', '.join(task.labels)}",
        f"- updates: {progress.update:,} of the run, {progress.targets:,} words",
        validated(found.sentences, "sentences", f"loss {loss:.3f} nats, {found.told}"),
        f"- longest sentence: {settings.text.max_length} tokens",
        f"- longer sentences: {'; '.join(longer(prepared))}",
        f"- vocabulary: {task.tokenizer.vocab_size:,} pieces",
        *continued,
        *ending(settings, "predict MODEL input.txt -o output.jsonl"),
    ]
    return "\n".join(lines)
