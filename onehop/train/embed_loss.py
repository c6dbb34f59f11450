"""What a model that embeds learns by: rows of several texts read each alone, and losses of their cosines.

A row of tokens holds the texts of a pair or triplet, with a mark between that counts from the size of the vocabulary;
whatever stores, sorts or packs rows knows nothing of texts. In a batch every text is a segment of its own, so that two
texts of a pair see each other no more than those of different pairs do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from onehop.data import Batch
from onehop.data.alike import Alike
from onehop.nn.rows import Rows
from onehop.tasks.embedding import Embedder
from onehop.text import Ledger, limit
from onehop.text.pretrained import PretrainedTokenizer


class AlikeRows:
    """Encodes the texts of a row, with a mark between.

    Args:
        tokenizer: Of the encoder.

    Example:
        >>> from onehop.text.vocabularies import wordpiece
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "it", "rains", "pours"]
        >>> rows = AlikeRows(wordpiece(words, lowercase=True))
        >>> rows.encode_batch([Alike(("It rains", "it pours"))])
        [[5, 6, 8, 5, 7]]
        >>> rows.texts([5, 6, 8, 5, 7])
        [[5, 6], [5, 7]]
    """

    def __init__(self, tokenizer: PretrainedTokenizer) -> None:
        self.tokenizer, self.mark = tokenizer, tokenizer.vocab_size

    def encode_batch(self, rows: Sequence[Alike]) -> list[list[int]]:
        """Return the tokens of each."""
        texts = iter(self.tokenizer.encode_batch([text for row in rows for text in row.texts]))
        return [self._joined([next(texts) for _ in row.texts]) for row in rows]

    def texts(self, row: Sequence[int]) -> list[list[int]]:
        """Return the tokens of each text of a row."""
        texts: list[list[int]] = [[]]
        for token in row:
            if token == self.mark:
                texts.append([])
            else:
                texts[-1].append(token)
        return texts

    def limited(self, row: list[int], ledger: Ledger, where: str) -> list[int] | None:
        """Return a row each of whose texts is short enough, or None where it is dropped.

        Raises:
            LengthError: One is too long and the policy is `error`.
        """
        texts = self.texts(row)
        longest = max(map(len, texts))
        over = sum(max(0, len(text) - ledger.max_length) for text in texts)
        seen = {"drop": sum(map(len, texts)), "cut": ledger.max_length + over}.get(ledger.policy, longest)
        before = ledger.longest
        kept = limit([0] * (seen if over else longest), ledger, where)  # the ledger counts a row once
        ledger.longest = max(before, longest)
        if kept is None or not over:
            return row if kept is not None else None
        return self._joined([text[: ledger.max_length] for text in texts])

    def _joined(self, texts: Sequence[Sequence[int]]) -> list[int]:
        row = list(texts[0])
        for text in texts[1:]:
            row += [self.mark, *text]
        return row


@dataclass(frozen=True)
class Vectors:
    """The texts of a batch.

    Args:
        values: `(P, K, D)`, of length 1: K texts of each of P rows.
        names: `(P, K)`, equal where two texts have the same tokens.
    """

    values: Tensor
    names: Tensor

    @property
    def cosines(self) -> Tensor:
        """Of the first two texts of each row, `(P,)`."""
        return (self.values[:, 0] * self.values[:, 1]).sum(-1)


def vectors(task: Embedder, model: Any, batch: Batch) -> Vectors:
    """Return the vectors of a batch's texts, packed or not; all rows, as `AlikeRows` encodes them, have as many."""
    documents, tokens, lengths = task.documents, batch.source, batch.source_lengths
    windows = documents.apart(tokens, lengths, batch.source_segments)
    marks = tokens == documents.mark
    source = documents.source(tokens.masked_fill(marks, documents.end), lengths, windows)
    rows = Rows(source.segments)  # type: ignore[arg-type]
    states = rows.split(model.encoder.encode(source).states)
    pooled = task.pooling(states.to(torch.promote_types(states.dtype, torch.float32)), rows.lengths)
    names = torch.unique(rows.split(source.tokens), dim=0, return_inverse=True)[1]
    shape = len(names) - int(marks.sum()), -1  # every mark joins two texts of one row
    return Vectors(F.normalize(pooled, dim=-1).view(*shape, pooled.size(-1)), names.view(shape))


# ------------------------------------------------------------------------------------------------ losses


def contrastive(found: Vectors, temperature: float) -> Tensor:
    """Return the summed cross-entropy of finding the second text of each row for its first, in nats.

    It is looked for among the second and further texts of all rows (InfoNCE, van den Oord 2018; with further texts as
    in Gao 2021, "SimCSE"). What equals the first text, or a text that is to be found for
    it in any row of the batch, is no wrong answer and is left out.

    Args:
        found: Of rows of two or more texts.
        temperature: What cosines are divided by.

    Example:
        >>> values = torch.eye(3)[torch.tensor([[0, 0], [1, 1], [1, 2]])]
        >>> names = torch.tensor([[0, 0], [1, 1], [1, 2]])  # the third asks what the second asks
        >>> [round(contrastive(Vectors(values[:n], names[:n]), 1.0).item(), 4) for n in (1, 2)]
        [0.0, 0.6265]
    """
    asked, names = found.values[:, 0], found.names
    others = found.values[:, 1:].transpose(0, 1).flatten(0, 1)
    told = names[:, 1:].T.flatten()
    same = (names[:, :1] == names[:, 0]).float()  # rows that ask the same
    hidden = (told == names[:, :1]) | (same @ (names[:, 1:2] == told).float() > 0)
    own = torch.arange(len(names), device=names.device)
    hidden[own, own] = False
    scores = (asked @ others.T / temperature).masked_fill(hidden, float("-inf"))
    return F.cross_entropy(scores, own, reduction="sum")


def cosine(found: Vectors, wanted: Tensor) -> Tensor:
    """Return the summed squared distance of cosines from what they shall be, `(P,)` (Reimers 2019, section 3).

    Example:
        >>> names = torch.tensor([[0, 0], [0, 1]])
        >>> found = Vectors(torch.eye(2)[names], names)
        >>> cosine(found, torch.tensor([0.5, 0.0])).item()
        0.25
    """
    return (found.cosines - wanted).square().sum()


def ranking(found: Vectors, wanted: Tensor, temperature: float) -> Tensor:
    """Return what it costs that pairs of lower score have the higher cosine (Su 2022, "CoSENT"), for each row.

    It is `log(1 + sum exp((c_j - c_i) / temperature))` over all pairs of rows of which `i` has the higher score, times
    the number of rows, so that it grows with the batch as other losses do.

    Example:
        >>> names = torch.tensor([[0, 0], [0, 1]])
        >>> found = Vectors(torch.eye(2)[names], names)  # cosines 1 and 0
        >>> [round(ranking(found, torch.tensor(scores), 1.0).item(), 4) for scores in ([5.0, 1.0], [1.0, 5.0])]
        [0.6265, 2.6265]
    """
    cosines = found.cosines
    lower = wanted.unsqueeze(1) > wanted  # of row i, the rows j that shall have a lower cosine
    costs = ((cosines - cosines.unsqueeze(1)) / temperature).masked_fill(~lower, float("-inf")).flatten()
    return len(cosines) * torch.cat([costs.new_zeros(1), costs]).logsumexp(0)
