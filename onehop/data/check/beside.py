"""Files that stand beside the wrong lines as a whole, told by lengths: a long sentence has a long translation.

That needs no word that is seen twice (Gale and Church 1993), so it works where the words of a corpus go together with
nothing: because every line is beside another one's translation. The correlation of the lengths over all distances at
once is a product of Fourier transforms.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FEWEST = 1_000  # lines that can be judged
FARTHEST = 250  # lines that a file may be shifted by
WINDOW = 33  # lines whose mean is taken off, since files may be sorted by length
RELATED, SHIFTED = 0.1, 0.2  # correlations below which lines are strangers, and from which a shift is believed
NOISES = 6.0  # standard errors that count as more than chance


def log_lengths(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Return logarithms of lengths in one byte each, 16 steps to an octave."""
    return np.minimum(16 * np.log2(1.0 + lengths), 255).astype(np.uint8)


def place_of(lengths: npt.NDArray[np.uint8]) -> int | None:
    """Return by how many lines the targets of a file stand too late: 0 in a sound one, None in one of strangers.

    Args:
        lengths: Of the lines' two sides, as `log_lengths` gives them, `(lines, 2)`.

    Example:
        >>> sizes = np.random.default_rng(0).integers(20, 90, 2_000).astype(np.uint8)
        >>> place_of(np.stack([sizes, np.roll(sizes, 7)], 1))
        7
    """
    left, right = (_detrended(side.astype(np.float64)) for side in lengths.T)
    norm = float(np.sqrt((left @ left) * (right @ right)))
    if norm == 0:
        return 0
    size = 1 << (len(left) + FARTHEST).bit_length()
    product = np.fft.irfft(np.fft.rfft(left, size).conj() * np.fft.rfft(right, size), size) / norm
    found = np.concatenate([product[-FARTHEST:], product[: FARTHEST + 1]])
    best, here, noise = int(found.argmax()) - FARTHEST, float(found[FARTHEST]), NOISES / len(left) ** 0.5
    if best and found.max() >= max(SHIFTED, noise) and found.max() > 2 * here:
        return best
    whole = float(np.corrcoef(lengths.T.astype(np.float64)).min())  # of a file sorted by length, all that is left
    return 0 if max(here, whole) >= max(RELATED, noise / 2) else None


def _detrended(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how far each value is from the mean of those around it."""
    padded = np.pad(values, WINDOW // 2, mode="edge")
    sums = np.concatenate([np.zeros(1), np.cumsum(padded)])
    rest = values - (sums[WINDOW:] - sums[:-WINDOW]) / WINDOW
    return rest - rest.mean()
