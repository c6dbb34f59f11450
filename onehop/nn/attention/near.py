"""What a region leaves of a source, cut out before anything is compared, so that a long source costs a step no more."""

from __future__ import annotations

import torch
from torch import Tensor

from onehop.nn.masks import Mask
from onehop.nn.state import KV


def near(q: Tensor, kv: KV, mask: Mask) -> tuple[Tensor, KV, Mask] | None:
    """Return the same readings of the keys in each query's window, each query a row of its own.

    None where that would not pay: no window, windows that are much of the source, packed rows, or gradients, whose way
    back would fill a source's worth of zeros for each step.

    Args:
        q: `(B, H, T, K)`.
        kv: Keys and values `(B, G, S, ...)`.
        mask: With centres, where there is a window.

    Returns:
        `(B T, H, 1, K)`, `(B T, G, W, ...)` and the mask between them, W = 2 D + 1.

    Example:
        >>> q, kv = torch.randn(1, 2, 1, 4), KV(torch.randn(1, 2, 90, 4), torch.randn(1, 2, 90, 4))
        >>> with torch.no_grad():
        ...     _, narrow, mask = near(q, kv, Mask().around(torch.tensor([[88.0]]), 3))
        >>> narrow.keys.shape, mask.centres
        (torch.Size([1, 2, 7, 4]), tensor([[5.]]))
    """
    centres, window, size = mask.centres, mask.window, kv.keys.size(2)
    if centres is None or window is None or mask.segments is not None or torch.is_grad_enabled():
        return None
    width = 2 * window + 1
    if 2 * width * q.size(2) > size:
        return None
    first = (centres - window).ceil() if centres.is_floating_point() else centres - window
    first = first.long().clamp(0, size - width)  # (B, T)
    where = (first.unsqueeze(-1) + torch.arange(width, device=first.device)).flatten(1)  # (B, T W)
    keys, values = (_cut(x, where, width) for x in (kv.keys, kv.values))
    lengths = None if mask.lengths is None else (mask.lengths.unsqueeze(1) - first).clamp(0, width).flatten()
    apart = Mask(lengths=lengths).around(
        (centres - first).view(-1, 1), window, None if mask.gaussian is None else (mask.gaussian - first).view(-1, 1)
    )
    return q.transpose(1, 2).flatten(0, 1).unsqueeze(2), KV(keys, values), apart


def _cut(x: Tensor, where: Tensor, width: int) -> Tensor:
    """Return of `x (B, G, S, K)` the places `where (B, T W)`: `(B T, G, W, K)`."""
    B, G, _, K = x.shape
    found = x.gather(2, where[:, None, :, None].expand(B, G, -1, K))
    return found.unflatten(2, (-1, width)).transpose(1, 2).flatten(0, 1)
