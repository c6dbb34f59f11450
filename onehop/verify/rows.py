"""Texts of one row, each a segment of its own, with whatever their task puts around each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from onehop.data.labelled import Labelled, joined
from onehop.nn import Source
from onehop.text import EOS
from onehop.verify.suites import Known


def of_table(table: Labelled) -> Known:
    """Return the texts of a table."""
    rows = list(table.rows)
    return Known([joined(row.texts) for row in rows], None, [table.where(row) for row in rows])


def packed_source(task: Any, rows: Sequence[list[int]]) -> Source:
    """Return texts behind each other in one row, with one place of padding at its end.

    Args:
        task: Says what is read of a text alone, by `source`.
        rows: The tokens of each text, without marks.
    """
    sources = [_alone(task, row) for row in rows]
    lengths = [source.tokens.size(1) for source in sources]
    pad = torch.zeros(1, 1, dtype=torch.int64, device=task.device)
    types: list[Tensor] = [source.types for source in sources if source.types is not None]
    numbers = [torch.full((1, length), number, device=task.device) for number, length in enumerate(lengths)]
    return Source(
        torch.cat([*(source.tokens for source in sources), pad], 1),
        torch.tensor([sum(lengths)], device=task.device),
        torch.cat([*numbers, pad - 1], 1),
        torch.cat([*types, pad], 1) if types else None,
    )


def _alone(task: Any, row: list[int]) -> Source:
    tokens = torch.tensor([[*row, EOS]], device=task.device)
    return task.source(tokens, torch.tensor([len(row) + 1], device=task.device))
