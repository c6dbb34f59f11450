"""Forced prefixes: the tokens that a target must begin with, one set for each example, of any lengths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FREE = -1


def padded(prefixes: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> Tensor:
    """Return prefixes as int64 `(B, P)`, with `FREE` behind the end of each.

    Example:
        >>> padded([[7, 8], []]).tolist()
        [[7, 8], [-1, -1]]
    """
    width = max(map(len, prefixes), default=0)
    rows = [[*prefix, *[FREE] * (width - len(prefix))] for prefix in prefixes]
    return torch.tensor(rows, dtype=torch.int64, device=device).view(len(rows), width)


def joined(one: Tensor, two: Tensor) -> Tensor:
    """Put the prefixes of `two (B, P)` behind those of `one`."""
    width = max(one.size(1), two.size(1))
    return torch.cat([torch.nn.functional.pad(x, [0, width - x.size(1)], value=FREE) for x in (one, two)])


def forced(prefixes: Tensor, lengths: Tensor) -> Tensor | None:
    """Return the token that each example must take next, `FREE` where any may come; None where all are free.

    Args:
        prefixes: `(B, P)`.
        lengths: `(B,)` int64, tokens written so far.

    Example:
        >>> forced(padded([[7, 8], [9]]), torch.tensor([1, 1])).tolist()
        [8, -1]
    """
    width = prefixes.size(1)
    if not width:
        return None
    tokens = prefixes.gather(1, lengths.clamp(max=width - 1).unsqueeze(1)).squeeze(1)
    tokens = tokens.masked_fill(lengths >= width, FREE)
    return tokens if bool((tokens != FREE).any()) else None
