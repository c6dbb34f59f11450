"""What verification needs of a task: a literal table beside `onehop.tasks.TASKS`, loaded when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

from onehop.tasks import Package, Precision
from onehop.verify.report import Check


class Known(NamedTuple):
    """What a file tells.

    Attributes:
        texts: Its texts.
        references: A translation or label of each, or None where none are known.
        places: Where each stands.
    """

    texts: Sequence[str]
    references: Sequence[str] | None
    places: Sequence[str]


@dataclass(frozen=True)
class Suite:
    """How models of a task are checked.

    Args:
        encoder: From a task to what makes tokens of its texts, by `encode_batch`.
        read: From a task and the path of a table to what that tells.
        subject: From a task and lines to what the checks look at.
        golden: Of a package: whether its golden lines come out again.
        checks: Of a subject.
        rounding: From a subject, the same model with rounded weights and their precision.
        endings: Of files that `read` knows; any other holds a text a line.
    """

    encoder: Callable[[Any], Any]
    read: Callable[[Any, str], Known]
    subject: Callable[[Any, Any], Any]
    golden: Callable[[Package], Check]
    checks: tuple[Callable[[Any], Check], ...]
    rounding: Callable[[Any, Any, Precision], Check]
    endings: tuple[str, ...] = (".tsv", ".csv", ".jsonl", ".parquet")


SUITES = {
    "translation": "onehop.verify.run:TRANSLATION",
    "classify": "onehop.verify.classification:SUITE",
    "multilabel": "onehop.verify.multilabel:SUITE",
    "tag": "onehop.verify.tagging:SUITE",
    "answer": "onehop.verify.answering:SUITE",
    "choose": "onehop.verify.choosing:SUITE",
    "regress": "onehop.verify.regression:SUITE",
    "embed": "onehop.verify.embedding:SUITE",
}


def suite(task: str) -> Suite:
    """Return how models of a task are checked.

    Example:
        >>> [check.__name__ for check in suite("classify").checks]
        ['batched', 'packed']
    """
    module, _, attribute = SUITES[task].partition(":")
    return getattr(import_module(module), attribute)
