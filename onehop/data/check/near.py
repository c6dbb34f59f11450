"""Pairs nearly alike, by MinHash (Broder 1997) of their character 5-grams, with bands (Leskovec et al. 2014, ch. 3).

Of each minimum the lowest 16 bits are kept (b-bit minwise hashing, Li and König 2010): 48 bytes a pair.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from onehop.data.check.text import Hashes, Text, mix

BANDS, ROWS = 6, 4
SIZE = 5  # characters
ALIKE = 0.8  # estimated Jaccard similarity of near duplicates
Signatures = npt.NDArray[np.uint16]
Numbers = npt.NDArray[np.int64]


def signatures(source: Text, target: Text) -> Signatures:
    """Return the minima of each pair's hashed 5-grams, (pairs, 24); the two sides' are never the same gram."""
    count = len(source)
    found = np.empty((count, BANDS * ROWS), np.uint16)
    sides = [_grams(text, salt) for text, salt in ((source, 1), (target, 2))]
    for column in range(BANDS * ROWS):
        least = np.full(count, np.iinfo(np.uint64).max, np.uint64)
        for grams, firsts in sides:
            values = (grams ^ _salt(column)) * np.uint64(0x9E3779B97F4A7C15)
            np.minimum(least, np.minimum.reduceat(values ^ (values >> np.uint64(32)), firsts), out=least)
        found[:, column] = (least >> np.uint64(20)).astype(np.uint16)
    return found


def _salt(number: int) -> np.uint64:
    return mix(np.array([number + 1], np.uint64))[0]


def _grams(text: Text, salt: int) -> tuple[Hashes, Numbers]:
    """Return the hashes of all grams of a text, and where each line's begin; a short line is one gram."""
    counts = np.maximum(text.lengths - SIZE + 1, 1)
    firsts = np.cumsum(counts) - counts
    starts = np.repeat(text.starts - firsts, counts) + np.arange(counts.sum())
    ends = np.minimum(starts + SIZE, np.repeat(text.ends, counts))
    return text.spans(starts, ends) ^ _salt(salt), firsts


def near(signs: Signatures, others: Signatures | None = None) -> Numbers:
    """Return the numbers of those nearly like an earlier one, or like one of the others; ascending.

    Pairs that agree in all rows of a band are compared; equal ones count as well.
    """
    every = signs if others is None else np.concatenate([others, signs])
    shift = len(every) - len(signs)
    found = np.zeros(len(every), bool)
    for band in range(BANDS):
        keys = np.ascontiguousarray(every[:, band * ROWS : (band + 1) * ROWS]).view(np.uint64)[:, 0]
        order = np.argsort(keys, kind="stable")
        fresh = np.ones(len(order), bool)
        fresh[1:] = keys[order[1:]] != keys[order[:-1]]
        heads = order[np.maximum.accumulate(np.where(fresh, np.arange(len(order)), 0))]
        for start in range(0, len(order), 1 << 16):
            part = slice(start, start + (1 << 16))
            alike = (every[order[part]] == every[heads[part]]).mean(1) >= ALIKE
            found[order[part]] |= alike & (order[part] != heads[part]) & ((heads[part] < shift) | (others is None))
    return np.flatnonzero(found[shift:])
