"""Translation: any text to any text, by a model that encodes a source and decodes a target."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from onehop.data import Batch, fixed_batches
from onehop.decode import (
    BestStep,
    Hypothesis,
    Rules,
    States,
    Step,
    best_stepper,
    draw_seed,
    ensemble,
    force,
    mean_probability,
    penalty,
    sample,
    sampling_filters,
    search,
    stepper,
)
from onehop.errors import ConfigError, DataError, LengthError
from onehop.models.reach import reach
from onehop.models.registry import build
from onehop.nn.interfaces import Source
from onehop.nn.modes import for_inference
from onehop.runtime import Speed, accelerate, kernels_alone
from onehop.tasks.settings import DecodeConfig, Long, TranslationSettings
from onehop.tasks.translated import Candidate, Translation
from onehop.tasks.translation_loss import shift_right
from onehop.text import BOS, EOS, PAD, Ledger, Tokenizer, gaps, join_sentences, limit_windows, split_sentences

Divided = list[list[list[int]]]  # of a line: of each sentence, its windows, each a list of tokens


class Translator:
    """A translation model with all it needs to run.

    Args:
        model: Encoder and decoder; an `nn.Module`.
        source_tokenizer: Of what it reads.
        target_tokenizer: Of what it writes; the same object where both share a vocabulary.
        settings: What its package remembers.
        others: Models that translate together with the first; see `load_ensemble`.
    """

    task = "translation"
    labels: tuple[str, ...] | None = None  # names of classes, in the order of their ids; a translation has none
    drift = ""  # what its package does otherwise than when it was made, where that was allowed
    speed: Speed | None = None  # how a fast one runs
    made_of: Translator | None = None  # what a fast one was made of

    def __init__(
        self,
        model: Any,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        settings: TranslationSettings,
        others: Sequence[Any] = (),
    ) -> None:
        self.model, self.settings, self.others = model, settings, tuple(others)
        self.source_tokenizer, self.target_tokenizer = source_tokenizer, target_tokenizer

    @classmethod
    def build(cls, settings: TranslationSettings, source: Tokenizer, target: Tokenizer) -> Translator:
        """Return a translator with fresh weights."""
        target_vocab = None if target is source else target.vocab_size
        model = build(settings.architecture, settings.model, source.vocab_size, target_vocab)
        return cls(model, source, target, settings)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def models(self) -> tuple[Any, ...]:
        """The models whose probabilities are averaged; one, if this is no ensemble."""
        return (self.model, *self.others)

    def to(self, device: torch.device | str) -> Translator:
        """Move the weights of all models; return this translator."""
        for model in self.models:
            model.to(device)
        return self

    def fast(self, precision: str = "float32", tell: Callable[[str], None] = lambda text: None) -> Translator:
        """Return a translator of the same models that runs as fast as this machine allows, for inference alone.

        Args:
            precision: Of the products: `float32`, which translates the same but for near-ties, `bfloat16` or `int8`.
            tell: Is told when kernels are compiled, which takes seconds, once.

        Raises:
            ConfigError: No such precision.

        Example:
            >>> translator = onehop.load("runs/first")
            >>> translator.fast().translate(["Hello."])[0].text == translator.translate(["Hello."])[0].text
            True
        """
        made = [accelerate(model, precision, tell) for model in self.models]
        first, *others = [model for model, _ in made]
        twin = Translator(first, self.source_tokenizer, self.target_tokenizer, self.settings, others)
        twin.made_of = self
        twin.drift, twin.speed = self.drift, min((speed for _, speed in made), key=lambda speed: speed.share)
        return twin

    @property
    def reference(self) -> Translator:
        """What a fast translator was made of, whose every part can be looked into; itself, if it is none."""
        return self.made_of or self

    @cached_property
    def joint(self) -> bool:
        """Whether both sides share one vocabulary."""
        return self.source_tokenizer is self.target_tokenizer

    # -------------------------------------------------------------------------------------------- use

    def translate(
        self,
        lines: Sequence[str],
        decode: DecodeConfig | None = None,
        *,
        nbest: int = 1,
        prefixes: Sequence[str] | None = None,
        split: bool = True,
        long: Long = "error",
        where: str = "input",
        first_line: int = 1,
        tag: str = "",
    ) -> list[Translation]:
        """Translate lines; the result does not depend on which lines stand together.

        Args:
            lines: Text without line ends. A blank line gives a blank translation.
            decode: How to search or sample; default: as the package says.
            nbest: Candidates to keep for each sentence, at most the beam size; or samples to draw.
            prefixes: For each line how its translation must begin; blank: as it likes. Lines are then not split.
            split: Split a line into sentences if the model was trained on sentences, and join their translations.
            long: What to do with a sentence of more than `settings.text.max_length` tokens: "error", "drop" its line,
                "cut" it, or divide it into windows that are translated one by one and joined as sentences are.
            where: Name of the input, for messages.
            first_line: Number of the first line, for messages; a sample is drawn by the number of its line.
            tag: Put before each sentence: one of the tags of the training data; empty for none.

        Raises:
            LengthError: A sentence is too long and `long` is "error", or a prefix is; before anything is translated.
            DataError: There are not as many prefixes as lines, or a blank line has one.
            ConfigError: The model knows no such tag, or `long` is "window" and `nbest` is not 1.

        Example:
            >>> translation = onehop.load("runs/first").translate(["It rains. " * 40], split=False, long="window")[0]
            >>> translation.windows == len(translation.candidates) > 1
            True
        """
        if long == "window" and nbest > 1:
            raise ConfigError(
                "candidates of the windows of a line cannot be combined", "Ask for one, or leave window out.", "nbest"
            )
        decode = decode or self.settings.decode
        mark = [self.source_tokenizer.tag(tag)] if tag else []
        begins = None if prefixes is None else self.prefix_tokens(lines, prefixes, decode, first_line=first_line)
        sentences = [self.split(line, split and prefixes is None) for line in lines]
        ledger = Ledger(where, self.settings.text.max_length, long)
        divided: list[Divided] = []
        lost = [0]  # tokens, up to each line
        for parts in self._limited(sentences, ledger, first_line):
            divided.append(parts)
            lost.append(ledger.tokens)
        each = self._search_windows(divided, mark, decode, nbest, begins, first_line)
        read = [tuple(mark + tokens for of_sentence in parts for tokens in of_sentence) for parts in divided]
        rows = zip(lines, sentences, each, lost[:-1], lost[1:], read, strict=True)
        return [self._join(line, parts, found, after - before, own) for line, parts, found, before, after, own in rows]

    def _search_windows(
        self,
        divided: Sequence[Divided],
        mark: list[int],
        decode: DecodeConfig,
        nbest: int,
        begins: Sequence[list[int]] | None,
        first_line: int,
    ) -> list[list[list[list[Candidate]]]]:
        """Search for the windows of all lines together: for each line, sentence and window its candidates."""
        units = [
            (line, (sentence, window)[: 2 if window else 1], tokens)
            for line, parts in enumerate(divided)
            for sentence, of_sentence in enumerate(parts)
            for window, tokens in enumerate(of_sentence)
        ]
        results = self.search(
            [mark + tokens for *_, tokens in units], decode, nbest,
            prefixes=None if begins is None else [begins[line] if part == (0,) else [] for line, part, _ in units],
            places=[(first_line + line, *part) for line, part, _ in units],
        )  # fmt: skip
        queue = iter(results)
        return [[[next(queue) for _ in of_sentence] for of_sentence in parts] for parts in divided]

    def check_lengths(self, lines: Sequence[str], *, split: bool, where: str, first_line: int = 1) -> None:
        """Raise a `LengthError` for the first line that is too long, without translating anything."""
        ledger = Ledger(where, self.settings.text.max_length, "error")
        for _ in self._limited([self.split(line, split) for line in lines], ledger, first_line):
            pass

    def prefix_tokens(
        self,
        lines: Sequence[str],
        prefixes: Sequence[str],
        decode: DecodeConfig,
        *,
        where: str = "prefixes",
        first_line: int = 1,
    ) -> list[list[int]]:
        """Return the tokens of each line's prefix, none for a blank one; what cannot be a prefix is an error.

        Raises:
            DataError: There are not as many as lines, or a blank line has one.
            LengthError: One leaves no room for a target behind it.
        """
        if len(prefixes) != len(lines):
            raise DataError(
                f"{len(prefixes)} prefixes for {len(lines)} lines", "Give one a line; it may be blank.", where
            )
        found = self.target_tokenizer.encode_batch([prefix if prefix.strip() else "" for prefix in prefixes])
        most = (decode.max_length or self.settings.text.max_length + 1) - 1  # one token is left for the end mark
        for number, (line, tokens) in enumerate(zip(lines, found, strict=True), first_line):
            if tokens and not line.strip():
                raise DataError("a prefix for a blank line", "Leave it blank too.", f"{where}:{number}")
            if len(tokens) > most:
                raise LengthError(
                    f"a prefix of {len(tokens)} tokens, where a target may have {most}",
                    "Shorten it, or give a larger decode.max_length.",
                    f"{where}:{number}",
                )
        return found

    def _limited(self, sentences: Sequence[list[str]], ledger: Ledger, first_line: int) -> Iterator[Divided]:
        """Yield the windows of every line's sentences: mostly one, none where one is dropped."""
        encoded = iter(self.source_tokenizer.encode_batch([part for parts in sentences for part in parts]))
        pieces = self.source_tokenizer.pieces
        for number, parts in enumerate(sentences, first_line):
            yield [limit_windows(next(encoded), pieces, ledger, f"{ledger.split}:{number}") for _ in parts]

    def split(self, line: str, wanted: bool = True) -> list[str]:
        """Return the sentences of a line, or the line itself where the model was trained on more than sentences."""
        if not line.strip():
            return []
        if not (wanted and self.settings.text.sentences):
            return [line]
        return split_sentences(line, self.settings.source_language or "en")

    def _join(
        self, line: str, sentences: list[str], found: Sequence[Sequence[list[Candidate]]], lost: int,
        read: tuple[list[int], ...],
    ) -> Translation:  # fmt: skip
        """Put together what was found for each window of each sentence of a line."""
        if not all(found):
            return Translation(line, "", [], dropped=True, lost=lost)
        before = ["", *gaps(line, sentences)] if len(sentences) > 1 else [""] * len(found)  # each sentence
        between = [gap for n, windows in enumerate(found) for gap in (before[n], *[" "] * (len(windows) - 1))]
        parts = [candidates for of_sentence in found for candidates in of_sentence]
        text = join_sentences([best[0].text for best in parts], between[1:], self.settings.target_language)
        windows = sum(len(of_sentence) for of_sentence in found if len(of_sentence) > 1)
        return Translation(line, text, parts, cut=lost, windows=windows, parts=read, lost=lost)

    # -------------------------------------------------------------------------------------------- tokens

    @torch.inference_mode()
    def search(
        self,
        sources: Sequence[list[int]],
        decode: DecodeConfig,
        nbest: int = 1,
        *,
        prefixes: Sequence[list[int]] | None = None,
        places: Sequence[tuple[int, ...]] | None = None,
    ) -> list[list[Candidate]]:
        """Return the candidates of each source: the best that are found, or samples.

        Args:
            sources: Tokens of each, without marks.
            decode: How to search or sample.
            nbest: Candidates to keep of each, or to draw.
            prefixes: Tokens that each target must begin with; default: none.
            places: Numbers of each source, by which its samples are drawn; default: as of lines of one sentence.
        """
        for model in self.models:
            for_inference(model)
        prefixes = prefixes or [[]] * len(sources)
        places = places or [(number, 0) for number in range(1, len(sources) + 1)]
        found: list[list[Candidate]] = [[] for _ in sources]
        rules = search_rules(decode)
        step = self._step()
        best = None if decode.sample or any(prefixes) else self._best_step(rules)
        budget = max(1, decode.batch_tokens // (nbest if decode.sample else decode.beam_size))
        with self._turn():
            for chosen, tokens, lengths in fixed_batches(sources, budget):
                begins = [prefixes[i] for i in chosen]
                limits = [
                    self.longest_target(decode, n - 1, len(b)) for n, b in zip(lengths.tolist(), begins, strict=True)
                ]
                state = self._start(Source(tokens.to(self.device), lengths.to(self.device)))
                if decode.sample:
                    seeds = [[draw_seed(decode.seed, *places[i], draw) for draw in range(nbest)] for i in chosen]
                    filters = sampling_filters(decode.temperature, decode.top_k, decode.top_p, decode.min_p)
                    results = sample(step, state, rules, limits, seeds, filters, self.device, begins)
                else:
                    results = search(best or step, state, rules, limits, self.device, begins)
                for place, hypotheses in zip(chosen, results, strict=True):
                    found[place] = self._candidates(hypotheses[:nbest])
        return found

    def _turn(self) -> AbstractContextManager[None]:
        """Leave the cores to the kernels where they run the steps."""
        return kernels_alone() if getattr(self.model, "most_best", 0) else nullcontext()

    def longest_target(self, decode: DecodeConfig, length: int, prefix: int = 0) -> int:
        """Return the most tokens of a target, end mark included, for a source and a prefix of so many tokens."""
        _, known = reach(self.settings.architecture, self.settings.model)
        if known is not None and decode.max_length and decode.max_length > known:
            problem = (
                f"max_length={decode.max_length}, and the model has learned the positions of {known} tokens of a target"
            )
            raise ConfigError(problem, f"Use at most {known}.", "decode.max_length")
        longest = self.settings.text.max_length  # of a target that the model has seen the like of
        return decode.max_length or min(max(2 * length, prefix) + 50, longest + 1)

    def _start(self, source: Source) -> Any:
        """Return the state before the first token."""
        states = tuple(model.start(model.encode(source)) for model in self.models)
        return States(states) if self.others else states[0]

    def _step(self) -> Step:
        steps = [stepper(model) for model in self.models]
        return ensemble(steps) if self.others else steps[0]

    def _best_step(self, rules: Rules) -> BestStep | None:
        """Return the step of a model that finds the likeliest tokens itself, where they are all that a search needs."""
        known = getattr(self.model, "most_best", 0)
        few = rules.candidates <= known and not (self.others or rules.no_repeat_ngram)
        return best_stepper(self.model, rules.candidates) if few else None

    def _candidates(self, found: Sequence[Hypothesis]) -> list[Candidate]:
        if not found:
            raise ConfigError(
                "no target of this model satisfies the settings",
                "Lower decode.min_length, or set decode.no_repeat_ngram to 0 or to a larger number.",
                "decode",
            )
        texts = [self.target_tokenizer.decode(h.tokens) for h in found]
        pairs = zip(texts, found, strict=True)
        return [Candidate(t, h.score, h.log_prob, h.tokens, h.complete, h.log_probs) for t, h in pairs]

    @torch.inference_mode()
    def token_log_probs(self, batch: Batch) -> Tensor:
        """Return the log-probability of each target token, `(B, T)`, by forced decoding."""
        batch = batch.to(self.device)
        source, inputs = Source(batch.source, batch.source_lengths), shift_right(batch.target)
        found: list[Tensor] = []
        for model in self.models:
            for_inference(model)
            found.append(force(model, model.encode(source), inputs, batch.target, batch.target_lengths))
        return mean_probability(found)


def search_rules(decode: DecodeConfig) -> Rules:
    """Turn settings into what the search takes."""
    score = penalty(decode.length_penalty, decode.alpha)
    never = (PAD, BOS)
    return Rules(decode.beam_size, score, BOS, EOS, never, decode.min_length, decode.stop, decode.no_repeat_ngram)
