"""Validation while a model trains: its loss on all held-out pairs, and BLEU on some of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import nan

import torch

from onehop.data import Pair, evaluation_batches
from onehop.metrics import bleu, tokenizer_for
from onehop.tasks.translation import Translator
from onehop.tasks.translation_loss import loss_sum
from onehop.train.recipe import Recipe


@dataclass(frozen=True)
class Translated:
    """What became of the sentences that are translated.

    Args:
        bleu: sacreBLEU.
        sentences: How many they are.
        incomplete: How many translations were ended by the maximum length: many, if the model repeats itself.
    """

    bleu: float
    sentences: int = 0
    incomplete: int = 0

    @property
    def figures(self) -> dict[str, float | int]:
        """Each by its name."""
        return asdict(self)

    @property
    def told(self) -> str:
        """What people are told: also how many were ended, where these are many."""
        many = 20 * self.incomplete > self.sentences
        cut = f", {self.incomplete} of {self.sentences} ended by the maximum length" if many else ""
        return f"BLEU {self.bleu:.1f}{cut}"


class Validation:
    """Held-out pairs, tokenised once.

    Args:
        translator: The model that trains.
        pairs: Held out; may be empty, then all figures are 0.
        recipe: Says how many sentences to translate, and how.
    """

    unknown = Translated(nan)

    def __init__(self, translator: Translator, pairs: list[Pair], recipe: Recipe) -> None:
        self.translator, self.pairs, self.recipe = translator, pairs, recipe
        self._sources = translator.source_tokenizer.encode_batch([pair.source for pair in pairs])
        self._targets = translator.target_tokenizer.encode_batch([pair.target for pair in pairs])
        self._some = spread(len(pairs), recipe.evaluate.sentences)

    def __len__(self) -> int:
        return len(self.pairs)

    def texts(self, count: int) -> list[str]:
        """Return that many source sentences, evenly spread."""
        return [self.pairs[i].source for i in spread(len(self.pairs), count)]

    @torch.inference_mode()
    def loss(self) -> float:
        """Return the loss in nats for each target token, without smoothing."""
        self.translator.model.eval()
        total, count = 0.0, 0
        for batch in evaluation_batches(self._sources, self._targets, self.recipe.train.tokens):
            total += float(loss_sum(self.translator.model, batch.to(self.translator.device)))
            count += batch.num_targets
        return total / max(count, 1)

    def measure(self) -> Translated:
        """Translate the chosen sentences."""
        if not self._some:
            return Translated(0.0)
        decode = self.recipe.decode.searched(self.recipe.evaluate.beam_size)
        found = [best[0] for best in self.translator.search([self._sources[i] for i in self._some], decode)]
        tokenize = self.recipe.evaluate.tokenize or tokenizer_for(self.recipe.data.target_language)
        score = bleu([best.text for best in found], [self.pairs[i].target for i in self._some], tokenize).value
        return Translated(score, len(found), sum(not best.complete for best in found))


def spread(size: int, count: int) -> list[int]:
    """Return `count` of `size` places, or all if there are fewer, evenly spread: files are often sorted by length.

    Example:
        >>> spread(10, 4)
        [0, 2, 5, 7]
    """
    return list(range(size)) if size <= count else [i * size // count for i in range(count)]
