"""The one place in Onehop that shortens text, or divides it because it is too long.

Nothing is shortened in silence: whoever applies a limit passes a `Ledger`, one for each split (`train`,
`valid`) or run of `translate`, and tells the user its `summary()`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from onehop.errors import ConfigError, DataError, LengthError
from onehop.text.ledger import NO_WINDOWS, Ledger
from onehop.text.windows import windows


def limit(tokens: list[int], ledger: Ledger, where: str) -> list[int] | None:
    """Return what the ledger's limit keeps of a line: all, its first tokens, or None where it is dropped.

    Args:
        tokens: The line, without begin and end marks.
        ledger: The limit, with any policy but `window`; updated.
        where: File and line, for messages: `train.en:17`.

    Raises:
        LengthError: The line is too long and the policy is `error`.

    Example:
        >>> limit([5, 6, 7, 8], Ledger("test", max_length=3, policy="drop"), "test.en:1") is None
        True
    """
    kept = _limit([tokens], ledger, [where])
    return kept[0] if kept else None


def limit_windows(
    tokens: list[int], pieces: Callable[[Sequence[int]], Sequence[str]], ledger: Ledger, where: str
) -> list[list[int]]:
    """Return the parts of a line that are used: the line or its beginning, its windows, or none where it is dropped.

    Args:
        tokens: The line, without begin and end marks.
        pieces: Gives the pieces of tokens: `Tokenizer.pieces`.
        ledger: The limit, with any policy; updated.
        where: File and line, for messages: `test.en:17`.

    Raises:
        LengthError: The line is too long and the policy is `error`.

    Example:
        >>> words = [" see", " it", ",", " then", " go"]
        >>> ledger = Ledger("test", max_length=4, policy="window")
        >>> limit_windows([0, 1, 2, 3, 4], lambda tokens: [words[token] for token in tokens], ledger, "test.en:1")
        [[0, 1, 2], [3, 4]]
        >>> ledger.summary()
        'test: 1 of 1 lines longer than 4 tokens divided into 2 windows, 0 tokens lost (first test.en:1, longest 5)'
    """
    if ledger.policy != "window":
        return _limit([tokens], ledger, [where], line=True)
    ledger.lines += 1
    if not _exceeds(len(tokens), ledger, where):
        return [tokens]
    parts = windows(tokens, pieces(tokens), ledger.max_length)
    ledger.affected += 1
    ledger.first = ledger.first or where
    ledger.windows += len(parts)
    return parts


def limit_words(counts: Sequence[int], ledger: Ledger, where: str, overlap: int = 0) -> list[tuple[int, int]]:
    """Return the parts of a sentence that are used, as its first word and one more than its last; words stay whole.

    A word of more tokens than the limit is a part by itself, and the tokens beyond the limit count as lost.

    Args:
        counts: Tokens of each word.
        ledger: The limit, with any policy; updated.
        where: File and line, for messages.
        overlap: Of windows, the tokens at most that one reads again of the one before.

    Raises:
        LengthError: The sentence is too long and the policy is `error`.

    Example:
        >>> ledger = Ledger("test", max_length=4, policy="window")
        >>> limit_words([1, 2, 1, 3, 1], ledger, "test.conll:1")
        [(0, 3), (3, 5)]
        >>> limit_words([1] * 6, ledger, "test.conll:7", overlap=2)
        [(0, 4), (2, 6)]
        >>> ledger.tokens
        0
    """
    ledger.lines += 1
    total, size = sum(counts), ledger.max_length
    if not _exceeds(total, ledger, where, line=True):
        return [(0, len(counts))]
    ledger.affected += 1
    ledger.first = ledger.first or where
    if ledger.policy == "drop":
        ledger.tokens += total
        return []
    first = _fitting(counts, 0, size)
    if ledger.policy == "cut":
        ledger.tokens += total - min(size, sum(counts[:first]))
        return [(0, first)]
    parts = [(0, first)]
    while parts[-1][1] < len(counts):
        start = parts[-1][1]
        while start - 1 > parts[-1][0] and sum(counts[start - 1 : parts[-1][1]]) <= overlap:
            start -= 1
        end = _fitting(counts, start, size)
        if end <= parts[-1][1]:  # what is read again leaves no room for the next word
            start = parts[-1][1]
            end = _fitting(counts, start, size)
        parts.append((start, end))
    ledger.windows += len(parts)
    ledger.tokens += sum(max(0, count - size) for count in counts)
    return parts


def unread(counts: Sequence[int], parts: Sequence[tuple[int, int]], max_length: int) -> list[int]:
    """Return how many tokens of each word are read in none of the parts that `limit_words` returned.

    Args:
        counts: Tokens of each word.
        parts: As they were returned.
        max_length: The limit, of which a word alone may have more.

    Example:
        >>> unread([1, 2, 6, 1], [(0, 2), (2, 3)], max_length=4)
        [0, 0, 2, 1]
    """
    read = {word for start, end in parts for word in range(start, end)}
    return [max(0, count - max_length) if word in read else count for word, count in enumerate(counts)]


def _fitting(counts: Sequence[int], start: int, size: int) -> int:
    """Return one more than the last word of those from `start` that have no more than `size` tokens; at least one."""
    end, room = start, size
    while end < len(counts) and (counts[end] <= room or end == start):
        room -= counts[end]
        end += 1
    return end


def limit_pair(
    source: list[int], target: list[int], ledger: Ledger, source_where: str, target_where: str
) -> tuple[list[int], list[int]] | None:
    """Return what the ledger's limit keeps of a pair; `drop` drops it if a side is long, `cut` cuts each.

    Args:
        source: Tokens of the source line, without begin and end marks.
        target: Tokens of the target line, likewise.
        ledger: The limit, which holds for each side; updated.
        source_where: File and line of the source, for messages.
        target_where: File and line of the target.

    Raises:
        LengthError: A side is too long and the policy is `error`.

    Example:
        >>> ledger = Ledger("train", max_length=2, policy="cut")
        >>> limit_pair([5, 6, 7], [8], ledger, "train.en:1", "train.de:1")
        ([5, 6], [8])
    """
    kept = _limit([source, target], ledger, [source_where, target_where])
    return (kept[0], kept[1]) if kept else None


def _limit(sides: list[list[int]], ledger: Ledger, wheres: list[str], line: bool = False) -> list[list[int]]:
    """Return what is kept of a line or of each side of a pair, or nothing; `line`: it could have been divided."""
    if ledger.policy == "window":
        raise ConfigError(NO_WINDOWS, "Use error, drop or cut.", wheres[0])
    ledger.lines += 1
    long = [where for side, where in zip(sides, wheres, strict=True) if _exceeds(len(side), ledger, where, line)]
    if not long:
        return sides
    kept = [side[: ledger.max_length] for side in sides] if ledger.policy == "cut" else []
    ledger.affected += 1
    ledger.first = ledger.first or long[0]
    ledger.tokens += sum(map(len, sides)) - sum(map(len, kept))
    return kept


def _exceeds(length: int, ledger: Ledger, where: str, line: bool = False) -> bool:
    ledger.longest = max(ledger.longest, length)
    long = length > ledger.max_length
    if long and ledger.policy == "error":
        choices = "`--long window`, `--long cut` or `--long drop`" if line else "`--long drop` or `--long cut`"
        raise LengthError(
            f"a line of {length} tokens is longer than the model's limit of {ledger.max_length}",
            f"Use {choices}, or train with a larger text.max_length.",
            where,
        )
    return long


def default_max_length(lengths: Sequence[int] | np.ndarray) -> int:
    """Return the smallest power of two that holds 99.9 % of the lines, at least 8 and at most 512 tokens.

    Args:
        lengths: Tokens in each line (of a pair, in its longer side), without the end mark.

    Raises:
        DataError: There are no lines.

    Example:
        >>> default_max_length([12, 30, 17])
        32
    """
    values = np.asarray(lengths)
    if not values.size:
        raise DataError("no lines to choose text.max_length from", "Give a file with at least one line.")
    choices = (8, 16, 32, 64, 128, 256)
    enough = (size for size in choices if 1000 * np.count_nonzero(values <= size) >= 999 * values.size)
    return next(enough, 512)


def limit_context(
    question: int, context: int, marks: int, ledger: Ledger, where: str, overlap: int
) -> list[tuple[int, int]]:
    """Return the parts of a context that are read with its question, as first token and one more than the last.

    Args:
        question: Tokens of the question, which every part is read with.
        context: Tokens of the context.
        marks: Control tokens between the two.
        ledger: The limit of the whole row, with any policy; updated.
        where: File and place, for messages.
        overlap: Of windows, the tokens that one reads again of the one before, at most half of a window.

    Raises:
        LengthError: The row is too long and the policy is `error`; or the question leaves less than half of it, and
            the policy is not `drop`.

    Example:
        >>> limit_context(2, 9, 1, Ledger("test", max_length=7, policy="window"), "test.json:1", overlap=1)
        [(0, 4), (3, 7), (6, 9)]
    """
    ledger.lines += 1
    size, total = ledger.max_length, question + marks + context
    if not _exceeds(total, ledger, where, line=True):
        return [(0, context)]
    ledger.affected += 1
    ledger.first = ledger.first or where
    room = size - question - marks
    if ledger.policy == "drop":
        ledger.tokens += total
        return []
    if 2 * room < size:
        raise LengthError(
            f"a question of {question} tokens leaves too little of the model's {size} for its context",
            "Ask shorter questions, use `--long drop`, or train with a larger text.max_length.",
            where,
        )
    if ledger.policy == "cut":
        ledger.tokens += context - room
        return [(0, room)]
    step = room - min(overlap, room // 2)
    parts = [(start, min(start + room, context)) for start in range(0, max(1, context - room + step), step)]
    ledger.windows += len(parts)
    return parts
