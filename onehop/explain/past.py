"""Looking back: for each word of a text those before it that are most like it, by the cosine of their vectors.

"Make a query with a vector and look at similar things in the past": what attention does inside, asked from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from onehop.errors import ConfigError
from onehop.explain.replay import exact
from onehop.explain.words import split_words
from onehop.nn import Source
from onehop.tasks import Translator

EQUAL = 5  # digits to which two cosines are one


@dataclass(frozen=True)
class Earlier:
    """A word that stood before.

    Args:
        place: Its number, from 0.
        text: The word.
        likeness: Cosine of both vectors, -1 to 1.
    """

    place: int
    text: str
    likeness: float


@dataclass(frozen=True)
class Past:
    """A word, and what it is like of what stood before.

    Args:
        text: The word.
        earlier: The most alike first; none for the first word of a text.
    """

    text: str
    earlier: tuple[Earlier, ...]


def similar_past(vectors: Tensor, top: int = 3) -> list[list[tuple[int, float]]]:
    """Return for each of `vectors (T, D)` the places of those before it that are most like it, with their cosines.

    Of places that are alike, the later comes first.

    Args:
        vectors: Of one sequence: embeddings, states, queries or keys.
        top: Places to name at most, from 1.

    Example:
        >>> one, other = [1.0, 0.0], [0.6, 0.8]
        >>> similar_past(torch.tensor([one, other, one]))[2]
        [(0, 1.0), (1, 0.6)]
    """
    unit = F.normalize(vectors.detach().double(), dim=-1)
    found: list[list[tuple[int, float]]] = []
    for t, row in enumerate((unit @ unit.mT).tolist()):
        before = [(place, round(cosine, EQUAL)) for place, cosine in enumerate(row[:t])]
        found.append(sorted(before, key=lambda each: (-each[1], -each[0]))[:top])
    return found


@torch.inference_mode()
def look_back(
    translator: Translator, text: str, top: int = 3, of: Literal["states", "embeddings"] = "states"
) -> list[Past]:
    """Return the words of a source text, each with those before it that are most like it to the model.

    Args:
        translator: Whose encoder reads the text; not an ensemble.
        text: In the source language, whole; a word is what stands between white space.
        top: Words to name at most for each.
        of: `states` of the encoder, which know their context, or `embeddings`, which do not. Of a word of several
            pieces, their mean.

    Raises:
        ConfigError: The translator is an ensemble.

    Example:
        >>> found = look_back(onehop.load("runs/first"), "The dog sees the dog", of="embeddings")
        >>> found[4].text, found[4].earlier[0].text, found[4].earlier[0].likeness
        ('dog', 'dog', 1.0)
    """
    if translator.others:
        raise ConfigError("an ensemble has no states of its own", "Look into its models one by one.")
    tokens, model = translator.source_tokenizer.encode(text), exact(translator)
    words = split_words(translator.source_tokenizer, tokens, end=False)
    source = Source(torch.tensor([tokens], dtype=torch.int64, device=translator.device))
    vectors = model.encode(source).states if of == "states" else model.source_embedding(source.tokens)
    means = _of_words(vectors[0], words.owners, len(words))
    return [
        Past(word, tuple(Earlier(place, words.texts[place], cosine) for place, cosine in before))
        for word, before in zip(words.texts, similar_past(means, top), strict=True)
    ]


def _of_words(vectors: Tensor, owners: Sequence[int], count: int) -> Tensor:
    """Return the mean of the vectors of each word's pieces, `(count, D)`."""
    of = torch.tensor(owners, device=vectors.device, dtype=torch.int64)
    sums = vectors.new_zeros(count, vectors.size(1)).index_add_(0, of, vectors)
    return sums / of.bincount(minlength=count).unsqueeze(1).clamp(min=1)
