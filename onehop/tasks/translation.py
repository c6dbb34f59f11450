"""Translation: any text to any text, by a model that encodes a source and decodes a target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from onehop.data import Batch, fixed_batches
from onehop.decode import Hypothesis, Rules, force, penalty, search, stepper
from onehop.models.registry import build
from onehop.nn.interfaces import Source
from onehop.nn.loss import linear_cross_entropy, linear_r_drop
from onehop.tasks.settings import DecodeConfig, Long, TranslationSettings
from onehop.text import BOS, EOS, PAD, Ledger, Tokenizer, gaps, join_sentences, limit, split_sentences


@dataclass(frozen=True)
class Candidate:
    """One target text of a source.

    Args:
        text: The target.
        score: After the length penalty.
        log_prob: Natural logarithm of its probability, the end mark included.
        tokens: Ids, without marks.
        complete: False where it was ended by the maximum length.
    """

    text: str
    score: float
    log_prob: float
    tokens: list[int]
    complete: bool


@dataclass(frozen=True)
class Translation:
    """What became of one line.

    Args:
        source: The line.
        text: Its translation; empty where the line is blank or was dropped.
        candidates: For each sentence of the line its n best, best first.
        dropped: Whether the line was too long and was left out, as asked.
        cut: Tokens of the line that were cut off its too long sentences, as asked.
    """

    source: str
    text: str
    candidates: list[list[Candidate]]
    dropped: bool = False
    cut: int = 0

    @property
    def score(self) -> float:
        """Sum of the sentences' scores."""
        return sum(best[0].score for best in self.candidates)

    @property
    def complete(self) -> bool:
        """Whether every sentence came to its end."""
        return all(best[0].complete for best in self.candidates)


class Translator:
    """A translation model with all it needs to run.

    Args:
        model: Encoder and decoder; an `nn.Module`.
        source_tokenizer: Of what it reads.
        target_tokenizer: Of what it writes; the same object where both share a vocabulary.
        settings: What its package remembers.
    """

    task = "translation"

    def __init__(
        self,
        model: Any,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        settings: TranslationSettings,
    ) -> None:
        self.model, self.settings = model, settings
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
        split: bool = True,
        long: Long = "error",
        where: str = "input",
        first_line: int = 1,
        tag: str = "",
    ) -> list[Translation]:
        """Translate lines; the result does not depend on which lines stand together.

        Args:
            lines: Text without line ends. A blank line gives a blank translation.
            decode: How to search; default: as the package says.
            nbest: Candidates to keep for each sentence, at most the beam size.
            split: Split a line into sentences if the model was trained on sentences, and join their translations.
            long: What to do with a sentence of more than `settings.text.max_length` tokens.
            where: Name of the input, for messages.
            first_line: Number of the first line, for messages.
            tag: Put before each sentence: one of the tags of the training data; empty for none.

        Raises:
            LengthError: A sentence is too long and `long` is "error"; before anything is translated.
            ConfigError: The model knows no such tag.
        """
        prefix = [self.source_tokenizer.tag(tag)] if tag else []
        sentences = [self.split(line, split) for line in lines]
        ledger = Ledger(where, self.settings.text.max_length, long)
        tokens: list[list[int] | None] = []
        lost = [0]  # tokens, up to each line
        for parts in self._limited(sentences, ledger, first_line):
            tokens += parts
            lost.append(ledger.tokens)
        kept = [prefix + part for part in tokens if part is not None]
        found = iter(self.search(kept, decode or self.settings.decode, nbest))
        each = iter([next(found) if part is not None else None for part in tokens])
        return [
            self._join(line, parts, [next(each) for _ in parts], after - before)
            for line, parts, before, after in zip(lines, sentences, lost[:-1], lost[1:], strict=True)
        ]

    def check_lengths(self, lines: Sequence[str], *, split: bool, where: str, first_line: int = 1) -> None:
        """Raise a `LengthError` for the first line that is too long, without translating anything."""
        ledger = Ledger(where, self.settings.text.max_length, "error")
        for _ in self._limited([self.split(line, split) for line in lines], ledger, first_line):
            pass

    def _limited(
        self, sentences: Sequence[list[str]], ledger: Ledger, first_line: int
    ) -> Iterator[list[list[int] | None]]:
        """Yield the tokens of every line's sentences, None where one is dropped."""
        pieces = iter(self.source_tokenizer.encode_batch([part for parts in sentences for part in parts]))
        for number, parts in enumerate(sentences, first_line):
            yield [limit(next(pieces), ledger, f"{ledger.split}:{number}") for _ in parts]

    def split(self, line: str, wanted: bool = True) -> list[str]:
        """Return the sentences of a line, or the line itself where the model was trained on more than sentences."""
        if not line.strip():
            return []
        if not (wanted and self.settings.text.sentences):
            return [line]
        return split_sentences(line, self.settings.source_language or "en")

    def _join(self, line: str, sentences: list[str], found: list[list[Candidate] | None], lost: int) -> Translation:
        if any(candidates is None for candidates in found):
            return Translation(line, "", [], dropped=True)
        parts = [candidates for candidates in found if candidates is not None]
        between = gaps(line, sentences) if len(sentences) > 1 else []
        text = join_sentences([best[0].text for best in parts], between, self.settings.target_language)
        return Translation(line, text, parts, cut=lost)

    # -------------------------------------------------------------------------------------------- tokens

    @torch.inference_mode()
    def search(self, sources: Sequence[list[int]], decode: DecodeConfig, nbest: int = 1) -> list[list[Candidate]]:
        """Return the candidates of each source, given as tokens without marks."""
        self.model.eval()
        found: list[list[Candidate]] = [[] for _ in sources]
        rules, step = search_rules(decode), stepper(self.model)
        budget = max(1, decode.batch_tokens // decode.beam_size)
        longest = self.settings.text.max_length  # of a target that the model has seen the like of
        for places, tokens, lengths in fixed_batches(sources, budget):
            limits = [decode.max_length or min(2 * n + 50, longest + 1) for n in (lengths - 1).tolist()]
            source = Source(tokens.to(self.device), lengths.to(self.device))
            state = self.model.start(self.model.encode(source))
            results = search(step, state, rules, limits, self.device)
            for place, hypotheses in zip(places, results, strict=True):
                found[place] = [self._candidate(h) for h in hypotheses[:nbest]]
        return found

    def _candidate(self, found: Hypothesis) -> Candidate:
        text = self.target_tokenizer.decode(found.tokens)
        return Candidate(text, found.score, found.log_prob, found.tokens, found.complete)

    @torch.inference_mode()
    def token_log_probs(self, batch: Batch) -> Tensor:
        """Return the log-probability of each target token, `(B, T)`, by forced decoding."""
        self.model.eval()
        batch = batch.to(self.device)
        memory = self.model.encode(Source(batch.source, batch.source_lengths))
        return force(self.model, memory, shift_right(batch.target), batch.target, batch.target_lengths)


def search_rules(decode: DecodeConfig) -> Rules:
    """Turn settings into what the search takes."""
    score = penalty(decode.length_penalty, decode.alpha)
    return Rules(decode.beam_size, score, BOS, EOS, (PAD, BOS), decode.min_length, decode.stop)


def shift_right(target: Tensor, segments: Tensor | None = None) -> Tensor:
    """Return decoder inputs: the begin mark, then the target without its last token; so for each segment of a row."""
    shifted = torch.cat([torch.full_like(target[:, :1], BOS), target[:, :-1]], 1)
    if segments is not None:
        shifted[:, 1:].masked_fill_(segments[:, 1:] != segments[:, :-1], BOS)
    return shifted


def loss_sum(model: Any, batch: Batch, smoothing: float = 0.0, r_drop: float = 0.0) -> Tensor:
    """Return the summed cross-entropy of a batch's target tokens, in nats; padding meets no vocabulary.

    Args:
        model: Encoder and decoder.
        batch: Pairs, packed or a row each.
        smoothing: See `onehop.nn.cross_entropy`.
        r_drop: The alpha of `onehop.nn.linear_r_drop`, for which each pair passes twice; 0 for once.
    """
    if r_drop:
        batch = batch.map(lambda rows: rows.repeat_interleave(2, 0))
    memory = model.encode(Source(batch.source, batch.source_lengths, batch.source_segments))
    inputs, segments = shift_right(batch.target, batch.target_segments), batch.target_segments
    hidden, _ = model.decode(inputs, model.start(memory), segments=segments)
    real = torch.arange(batch.target.size(1), device=hidden.device) < batch.target_lengths.unsqueeze(1)
    output = model.output
    if r_drop:
        both = hidden.unflatten(0, (-1, 2)).transpose(1, 2)[real[::2]]  # (N, 2, D)
        targets = batch.target[::2][real[::2]]
        return linear_r_drop(both, output.weight, output.bias, targets, smoothing, r_drop)
    return linear_cross_entropy(hidden[real], output.weight, output.bias, batch.target[real], smoothing)
