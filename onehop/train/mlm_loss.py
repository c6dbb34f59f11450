"""What a masked language model learns by: tokens hidden in a batch, whether one part follows the other, and the loss.

A batch's targets have a place for each token of its rows, with the token that is hidden there and one more, 0
elsewhere, and behind them a last column that says of the row's second part: 1 that it follows the first, 2 that it does
not, 0 that there is none or nothing is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, nan
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from onehop.data import Batch
from onehop.nn.loss import linear_cross_entropy
from onehop.tasks.embedding import Embedder
from onehop.text import EOS, Masking
from onehop.text.masking import uniform
from onehop.train.mlm_normal import Normal
from onehop.train.validation import spread

NEXT = 1  # the stream of draws that chooses which second parts change their places, beside that of hidden tokens


@dataclass(frozen=True)
class Hiding:
    """What is done to a batch of rows before a model reads it.

    Args:
        masking: Hides tokens.
        between: The mark between two parts; None where rows have but one.
        seed: Of the run.
    """

    masking: Masking
    between: int | None
    seed: int

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        """Return the batch with tokens hidden, and half of its second parts from other rows."""
        rows = [row[: n - 1].tolist() for row, n in zip(batch.source, batch.source_lengths.tolist(), strict=True)]
        rows, follows = self._exchanged(rows, batch.pairs, epoch)
        lengths = torch.tensor([len(row) + 1 for row in rows])
        width = int(lengths.max())
        source = torch.zeros(len(rows), width, dtype=torch.int64)
        target = torch.zeros(len(rows), width + 1, dtype=torch.int64)
        count = 0
        for number, row in enumerate(self.masking.hide(rows, batch.pairs, self.seed, epoch)):
            source[number, : len(row.tokens)] = torch.tensor(row.tokens, dtype=torch.int64)
            target[number, row.places] = torch.tensor(row.targets, dtype=torch.int64) + 1
            count += len(row.places)
        source[torch.arange(len(rows)), lengths - 1] = EOS
        target[:, -1] = torch.tensor(follows)
        return replace(
            batch, source=source, source_lengths=lengths, target=target, target_lengths=lengths,
            num_targets=max(1, count),
        )  # fmt: skip

    def _exchanged(self, rows: list[list[int]], lines: Sequence[int], epoch: int) -> tuple[list[list[int]], list[int]]:
        """Return the rows, of half of which each has the second part of the next, and what the last column says."""
        if self.between is None:
            return rows, [0] * len(rows)
        cuts = [row.index(self.between) if self.between in row else 0 for row in rows]
        drawn = [uniform(1, self.seed, epoch, line, NEXT)[0] < 0.5 for line in lines]
        moved = [number for number, (cut, other) in enumerate(zip(cuts, drawn, strict=True)) if cut and other]
        moved = moved if len(moved) > 1 else []
        given = {number: rows[other][cuts[other] :] for number, other in zip(moved, moved[1:] + moved[:1], strict=True)}
        changed = [
            row[:cut] + given[n] if n in given else row for n, (row, cut) in enumerate(zip(rows, cuts, strict=True))
        ]
        return changed, [(2 if n in given else 1) if cut else 0 for n, cut in enumerate(cuts)]


# ------------------------------------------------------------------------------------------------ loss


@dataclass(frozen=True)
class Read:
    """What an encoder says of a batch.

    Args:
        hidden: States of the hidden tokens, `(M, D)`.
        tokens: What stood there, `(M,)`.
        first: State of the begin mark of rows of two parts, `(P, D)`.
        follows: 0 where the second part follows the first, 1 where it does not, `(P,)`.
    """

    hidden: Tensor
    tokens: Tensor
    first: Tensor
    follows: Tensor


def read(task: Embedder, model: Any, batch: Batch) -> Read:
    """Return the states that a loss of the batch needs."""
    source = task.source(batch.source, batch.source_lengths)
    places, follows = batch.target[:, :-1], batch.target[:, -1]
    if "nsp" not in task.settings.heads:
        source = replace(source, types=None)  # a mark within a row ends a document, and begins no second part
    states = model.encoder.encode(source).states
    row, place = places.nonzero(as_tuple=True)
    asked = follows.nonzero(as_tuple=True)[0]
    return Read(states[row, place + 1], places[row, place] - 1, states[asked, 0], follows[asked] - 1)  # begin mark: 0


def next_logits(model: Any, first: Tensor) -> Tensor:
    """Return `(P, 2)` of the states of begin marks."""
    return model.heads["nsp"](model.heads["pooler"](first))


def loss_sum(task: Embedder, model: Any, batch: Batch, smoothing: float = 0.0, next_weight: float = 0.0) -> Tensor:
    """Return the summed cross-entropy of the hidden tokens, in nats, and that of second parts times their weight.

    Args:
        task: Says how rows are read.
        model: Its model, with a head `mlm`.
        batch: See `Hiding`.
        smoothing: See `onehop.nn.cross_entropy`.
        next_weight: Hidden tokens of a row, on average: the mean over tokens and the mean over rows are then summed.
    """
    found = read(task, model, batch)
    head = model.heads["mlm"]
    loss = linear_cross_entropy(head.transform(found.hidden), head.weight, head.bias, found.tokens, smoothing)
    if not next_weight or not len(found.follows):
        return loss
    return loss + next_weight * F.cross_entropy(next_logits(model, found.first).float(), found.follows, reduction="sum")


class Counted:
    """The `Objective` of a masked language model, which knows how much was read.

    Args:
        loss: Of a model and a batch.

    Attributes:
        updates: So far.
        tokens: That were read so far.
    """

    def __init__(self, loss: Callable[[Any, Batch], Tensor]) -> None:
        self.loss = loss
        self.updates = self.tokens = 0

    def __call__(self, model: Any, batch: Batch) -> Tensor:
        """See `Objective`."""
        self.tokens += int(batch.source_lengths.sum())
        return self.loss(model, batch)

    def measured(self, model: Any, batch: Batch) -> Tensor:
        """See `Objective`."""
        return self.loss(model, batch)

    def updated(self) -> None:
        """See `Objective`."""
        self.updates += 1

    def check(self, model: Any) -> None:
        """See `Objective`."""

    def state_dict(self) -> dict[str, float]:
        """See `Objective`."""
        return {"updates": self.updates, "tokens": self.tokens}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """See `Objective`."""
        self.updates, self.tokens = int(state.get("updates", 0)), int(state.get("tokens", 0))


# ------------------------------------------------------------------------------------------------ validation


@dataclass(frozen=True)
class Guessed:
    """How well hidden tokens of the held-out rows were found.

    Args:
        accuracy: Share that were found.
        perplexity: Of a hidden token.
        rows: How many rows they are in.
        gain: How far the loss lies below that of knowing how frequent each token is, in nats.
        tokens: That training read so far.
        next_loss: Of whether a part follows the other, in nats; None where that is not asked.
        next_accuracy: Of the same.
        normal: How the loss compares with what is to be expected, in words.
    """

    accuracy: float
    perplexity: float
    rows: int = 0
    gain: float = 0.0
    tokens: int = 0
    next_loss: float | None = None
    next_accuracy: float | None = None
    normal: str = ""

    @property
    def figures(self) -> dict[str, float | int]:
        """Each by its name."""
        found: dict[str, float | int] = {
            name: getattr(self, name) for name in ("accuracy", "perplexity", "rows", "gain", "tokens")
        }
        if self.next_loss is not None and self.next_accuracy is not None:
            found |= {"next_loss": self.next_loss, "next_accuracy": self.next_accuracy}
        return found

    @property
    def told(self) -> str:
        """What people are told."""
        tokens = f"perplexity {self.perplexity:.2f}, {100 * self.accuracy:.1f} % of the hidden tokens found"
        if self.next_loss is not None and self.next_accuracy is not None:
            tokens += f"; next sentence: loss {self.next_loss:.3f}, {100 * self.next_accuracy:.1f} % right"
        return tokens + (f"; {self.normal}" if self.normal else "")


class HiddenWords:
    """Held-out rows, of which the same tokens are hidden each time.

    Args:
        task: The encoder that trains.
        batches: Padded, with what is hidden.
        sources: The text of each row.
        normal: What there is to say of a loss.
        learnt: What counts updates and tokens.
    """

    unknown = Guessed(nan, nan)

    def __init__(
        self, task: Embedder, batches: Sequence[Batch], sources: Sequence[str],
        normal: Normal, learnt: Counted,
    ) -> None:  # fmt: skip
        self.task, self.batches, self.sources = task, batches, sources
        self.normal, self.learnt = normal, learnt

    def __len__(self) -> int:
        return len(self.sources)

    def texts(self, count: int) -> list[str]:
        """Return the text of that many rows, evenly spread."""
        return [self.sources[i] for i in spread(len(self), count)]

    @torch.inference_mode()
    def loss(self) -> float:
        """Return the loss in nats for each hidden token; that of the next sentence is told apart."""
        model = self.task.model.eval()
        tokens, parts = Tally(), Tally()
        for batch in self.batches:
            found = read(self.task, model, batch.to(self.task.device))
            tokens.add(model.heads["mlm"](found.hidden).float(), found.tokens)
            if len(found.follows):
                parts.add(next_logits(model, found.first).float(), found.follows)
        self._found = tokens, parts
        return tokens.mean

    def measure(self) -> Guessed:
        """Return what the last `loss` found."""
        if not len(self):
            return Guessed(0.0, 0.0)
        tokens, parts = self._found
        own = (parts.mean, parts.share) if parts.count else (None, None)
        said = self.normal(tokens.mean, self.learnt.updates, self.learnt.tokens)
        gain = self.normal.landmarks.frequencies - tokens.mean
        perplexity = exp(min(50.0, tokens.mean))
        return Guessed(tokens.share, perplexity, len(self), gain, self.learnt.tokens, *own, said)


class Tally:
    """Loss and hits of what was to be found."""

    def __init__(self) -> None:
        self.loss, self.right, self.count = 0.0, 0, 0

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """Count `logits (N, V)` for `targets (N,)`."""
        self.loss += float(F.cross_entropy(logits, targets, reduction="sum"))
        self.right += int((logits.argmax(1) == targets).sum())
        self.count += len(targets)

    @property
    def mean(self) -> float:
        """Loss of one."""
        return self.loss / max(1, self.count)

    @property
    def share(self) -> float:
        """Share of hits."""
        return self.right / max(1, self.count)
