"""What a translator really did with a line: words, where it looked for each, and which words belong together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from torch import Tensor

from onehop.errors import ConfigError
from onehop.explain.replay import CROSS, Replay, attentions, check, replay
from onehop.explain.words import UNSPACED, Words, merge, split_words
from onehop.tasks import Candidate, Translation, Translator

AT_ONCE = 16  # lines whose weights are held for their alignments


@dataclass(frozen=True)
class Part:
    """One sentence of a line, or a window of one, with its replay.

    Args:
        candidate: What was written.
        source: The words of what was read.
        target: The words of what was written.
        again: The replay of it.
        target_pieces: The pieces of what was written, without the end mark.
        source_numbers: The number of each source word in its line, from 0; None for a mark.
        target_numbers: The same of the target.
    """

    candidate: Candidate
    source: Words
    target: Words
    again: Replay
    target_pieces: tuple[str, ...]
    source_numbers: tuple[int | None, ...]
    target_numbers: tuple[int | None, ...]

    def words_of(self, name: str) -> tuple[Words, Words]:
        """Return the words that ask and those that are read in an attention."""
        if name.startswith("encoder"):
            return self.source, self.source
        return self.target, self.source if name.endswith("cross") else self.target

    def weights(self, name: str) -> Tensor:
        """Return the weights of an attention between words, `(H, T, S)`; see `merge`."""
        return merge(self.again.weights[name], *self.words_of(name))

    def links(self, layer: str) -> list[tuple[int, int]]:
        """Return which words belong together, as numbers of source and target in their line.

        Each target word is linked to the source word it reads most, by the mean of all heads; one that reads the end
        mark more than any word is not.
        """
        pairs = [(self.source_numbers[s], self.target_numbers[t]) for t, s in self.links_inside(layer).items()]
        return [(source, target) for source, target in pairs if source is not None and target is not None]

    def links_inside(self, layer: str) -> dict[int, int]:
        """Return for each target word that is linked the number of its source word, both in this part."""
        best = self.weights(layer).mean(0).argmax(-1).tolist()
        free = [mark or self.source.marks[place] for mark, place in zip(self.target.marks, best, strict=True)]
        return {number: place for number, place in enumerate(best) if not free[number]}


@dataclass(frozen=True)
class Alignment:
    """Which words of a line and of its translation belong together.

    As a string it is what tools of word alignment write: `0-0 1-2`, pairs of numbers of source and target words.

    Args:
        source_words: The words of the line, as they were read.
        target_words: The words that were written.
        links: Numbers of source and target words, from 0, in order.
        difference: See `Explanation`.
    """

    source_words: tuple[str, ...]
    target_words: tuple[str, ...]
    links: tuple[tuple[int, int], ...]
    difference: float

    def __str__(self) -> str:
        return " ".join(f"{source}-{target}" for source, target in self.links)


@dataclass(frozen=True)
class Explanation:
    """What became of one line, and why.

    Args:
        translation: Of the line.
        parts: Its sentences, or their windows.
        layer: Name of the attention whose weights say which words belong together.
    """

    translation: Translation
    parts: tuple[Part, ...]
    layer: str

    @cached_property
    def alignment(self) -> Alignment:
        """Which of its words belong together."""
        source = _in_line((part.source, part.source_numbers) for part in self.parts)
        target = _in_line((part.target, part.target_numbers) for part in self.parts)
        links = sorted({link for part in self.parts for link in part.links(self.layer)})
        return Alignment(source, target, tuple(links), self.difference)

    @property
    def difference(self) -> float:
        """Largest difference between a token's log-probability in the replay and in the search, in nats."""
        return max((part.again.difference for part in self.parts), default=0.0)


def explain(
    translator: Translator,
    translations: Sequence[Translation],
    layers: Sequence[str] = CROSS,
    heads: Sequence[int] | None = None,
) -> list[Explanation]:
    """Replay what was really output, and show where the model looked.

    It does not matter how the translations were found: by any search or sampling, with prefixes, in sentences or
    windows. Of several candidates it is the first that is explained; `alternatives` gives the others.

    Args:
        translator: The model that made them; not an ensemble.
        translations: What `translate` returned.
        layers: Names of the attentions to record, with `*` as in file names; those that give alignments always are.
        heads: Numbers of the heads to keep; None for all.

    Raises:
        ConfigError: The translator is an ensemble, or its model has no such attention.

    Example:
        >>> model = onehop.load("runs/first")
        >>> [found] = explain(model, model.translate(["Hello 7."]))
        >>> found.alignment.source_words, found.parts[0].weights("decoder.0.cross").shape
        (('Hello', '7.'), torch.Size([2, 3, 3]))
    """
    layer = alignment_layer(translator)
    check(translator, layers)
    jobs = [
        (tokens, candidates[0])
        for one in translations
        for tokens, candidates in zip(one.parts, one.candidates, strict=True)
    ]
    names = [*layers, layer]
    again = replay(translator, [tokens for tokens, _ in jobs], [best for _, best in jobs], names, heads)
    found = iter(zip(jobs, again, strict=True))
    return [Explanation(one, _parts(translator, islice(found, len(one.parts))), layer) for one in translations]


def _parts(translator: Translator, jobs: Iterable[tuple[tuple[list[int], Candidate], Replay]]) -> tuple[Part, ...]:
    parts: list[Part] = []
    read = written = 0  # words of the line so far
    last = ""
    for (tokens, best), again in jobs:
        source = split_words(translator.source_tokenizer, tokens)
        target = split_words(translator.target_tokenizer, best.tokens, end=best.complete)
        goes_on = source.continues and bool(last) and not UNSPACED.search(last[-1])
        sources, read = _numbered(source, read - goes_on)
        targets, written = _numbered(target, written)
        pieces = tuple(translator.target_tokenizer.pieces(best.tokens))
        parts.append(Part(best, source, target, again, pieces, sources, targets))
        last = next((text for text, mark in zip(source.texts[::-1], source.marks[::-1], strict=True) if not mark), "")
    return tuple(parts)


def _numbered(words: Words, first: int) -> tuple[tuple[int | None, ...], int]:
    """Return the number of each word in its line, None for a mark, and that of the word to come."""
    numbers, number = list[int | None](), first
    for mark in words.marks:
        numbers.append(None if mark else number)
        number += not mark
    return tuple(numbers), number


def _in_line(parts: Iterable[tuple[Words, tuple[int | None, ...]]]) -> tuple[str, ...]:
    found: list[str] = []
    for words, numbers in parts:
        for text, number in zip(words.texts, numbers, strict=True):
            if number is not None and number < len(found):
                found[number] += text  # a word that a window divided
            elif number is not None:
                found.append(text)
    return tuple(found)


def alternatives(translation: Translation) -> list[Translation]:
    """Return the candidates of a line that was not divided, each as a translation of its own.

    Raises:
        ConfigError: The line was translated in several parts, each of which has candidates of its own.

    Example:
        >>> model = onehop.load("runs/first")
        >>> [one, two] = alternatives(model.translate(["Hello 7."], nbest=2)[0])
        >>> one.score >= two.score
        True
    """
    if not translation.candidates:
        return [translation]
    if len(translation.candidates) > 1:
        raise ConfigError(
            "the sentences of a line have candidates of their own", "Translate with split=False.", "nbest"
        )
    return [replace(translation, text=each.text, candidates=[[each]]) for each in translation.candidates[0]]


def alignment_layer(translator: Translator) -> str:
    """Return the name of the attention that says best which words belong together: the penultimate over the source.

    The last layers look for what comes next, the first are not yet sure of what stands where: the penultimate aligns
    best (Garg et al. 2019, section 3). A recurrent decoder has one.

    Raises:
        ConfigError: The decoder reads its source without attention, or several models are together.

    Example:
        >>> alignment_layer(onehop.load("en-de"))
        'decoder.1.cross'
    """
    check(translator, CROSS)
    names = [name for name in attentions(translator) if name.endswith("cross")]
    return names[max(0, len(names) - 2)]


def align(translator: Translator, translations: Iterable[Translation]) -> Iterator[Alignment]:
    """Yield which words of each translation belong together; few are looked at at once, so that any number may come.

    Raises:
        ConfigError: The translator is an ensemble, or its decoder reads without attention.

    Example:
        >>> model = onehop.load("en-de")
        >>> [found] = align(model, model.translate(["My brother is a teacher."]))
        >>> found.target_words, str(found)
        (('Mein', 'Bruder', 'ist', 'Lehrer.'), '0-0 1-1 2-2 4-3')
    """
    queue, layer = iter(translations), alignment_layer(translator)
    while group := list(islice(queue, AT_ONCE)):
        yield from [found.alignment for found in explain(translator, group, [layer])]
