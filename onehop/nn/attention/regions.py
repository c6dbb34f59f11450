"""Where a query may look at all: around a place in the source that it finds first (Luong 2015, section 3.2)."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from onehop.errors import ConfigError
from onehop.nn.attention.selects import through
from onehop.nn.masks import Mask

REGIONS = ("everywhere", "local-m", "local-p", "local-p-rounded")
OF_ONESELF = {  # regions of states that read each other, which a source does not have
    "causal": "hides what comes later, and a source is whole before its first target word: use 'everywhere', or "
    "'local-m' to read both sides in step",
    "window": "is a reach around a word's own place, and no target word has one in the source: use 'local-m', which "
    "takes both sides to go in step",
}


def over_a_source(name: object) -> object:
    """Return the name of a region, or tell why a source has none of that kind.

    Raises:
        ValueError: One of `OF_ONESELF`.
    """
    if isinstance(name, str) and name in OF_ONESELF:
        raise ValueError(f"{name!r} {OF_ONESELF[name]}")
    return name


@runtime_checkable
class Region(Protocol):
    """Narrows a mask for one reading."""

    def __call__(self, mask: Mask, x: Tensor, positions: Tensor, size: int) -> Mask:
        """Return the mask for states `x (B, T, D)` at target `positions (B, T)` that read `size` keys."""
        ...


class LocalMonotonic(nn.Module):
    """A window around the target's own position, as if both sides went in step: `p_t = t` (local-m).

    Behind the source's end the window stays at its last word.

    Args:
        window: D: keys `p_t - D` to `p_t + D` may be read.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = _positive(window)

    def forward(self, mask: Mask, x: Tensor, positions: Tensor, size: int) -> Mask:
        """See `Region`."""
        last = mask.key_lengths(positions, size) - 1
        return mask.around(torch.minimum(positions, last), self.window)


class LocalPredictive(nn.Module):
    """A window around a predicted place, `p_t = S sigmoid(v^T tanh(W h_t))` (local-p).

    The weights are multiplied by a Gaussian around `p_t` with standard deviation D / 2 and not normalised again, as in
    the paper's equation 10, so that the place learns from the loss. S is the source's length, never a padded width.

    Args:
        dim: Width of the states that ask.
        window: D.
        rounded: Round the place to a whole position: first hard, then soft. The gradient passes as if it had not been
            rounded (straight-through, Bengio 2013), since none would pass otherwise.
    """

    def __init__(self, dim: int, window: int, *, rounded: bool = False) -> None:
        super().__init__()
        self.hidden, self.place = nn.Linear(dim, dim, bias=False), nn.Linear(dim, 1, bias=False)
        self.window, self.rounded = _positive(window), rounded

    def centres(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return `p_t (B, T)`, between 0 and the source's length, for `x (B, T, D)` and `lengths (B, T)`."""
        return lengths * self.place(self.hidden(x).tanh()).squeeze(-1).sigmoid()

    def forward(self, mask: Mask, x: Tensor, positions: Tensor, size: int) -> Mask:
        """See `Region`."""
        lengths = mask.key_lengths(positions, size)
        centres = self.centres(x, lengths)
        if self.rounded:
            centres = through(torch.minimum(centres.detach().round(), (lengths - 1).to(centres.dtype)), centres)
        return mask.around(centres, self.window, centres)


def build_region(name: str, dim: int, window: int) -> Region | None:
    """Return the region of that name; None for everywhere.

    Args:
        name: One of `REGIONS`.
        dim: Width of the states that ask.
        window: D, from 1.

    Raises:
        ConfigError: No such region, or a window of 0.

    Example:
        >>> mask = build_region("local-m", 8, 1)(Mask(), torch.zeros(1, 1, 8), torch.tensor([[2]]), 5)
        >>> mask.dense(1, 5, torch.device("cpu"))[0]
        tensor([[[[False,  True,  True,  True, False]]]])
    """
    if name not in REGIONS:
        raise ConfigError(f"unknown region {name!r}", f"Use one of {', '.join(REGIONS)}.", "model.region")
    if name == "everywhere":
        return None
    return LocalMonotonic(window) if name == "local-m" else LocalPredictive(dim, window, rounded=name != "local-p")


def _positive(window: int) -> int:
    if window < 1:
        raise ConfigError(f"a window of {window} positions", "Use at least 1; Luong used 10.", "model.window")
    return window
