"""All checks of a model, one after the other."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from onehop.errors import ConfigError, ModelError
from onehop.tasks import Package, Precision, Translator, convert
from onehop.verify.numeric import batched, cached, packed, searched
from onehop.verify.report import Check, Report
from onehop.verify.stored import ROUNDED, golden_lines, round_trip, rounding
from onehop.verify.subject import Lines, Subject, fixed_lines

CHECKS = (batched, cached, packed, searched)


def verify(
    package: Package,
    lines: Lines | None = None,
    *,
    precision: Precision | None = None,
    full: Translator | None = None,
) -> Report:
    """Check a model: what it computes in different ways, its golden lines, its bytes, and its precision.

    Args:
        package: The model.
        lines: To check it on; default: its golden sources and a few fixed ones.
        precision: What its float32 weights are rounded to for the last check; default: not rounded.
        full: For a package whose weights are rounded: the float32 model that it was made of.

    Raises:
        ConfigError: `precision` or `full` does not go with how the weights are stored.

    Example:
        >>> report = verify(onehop.tasks.load_package("runs/first"), precision="float16")
        >>> report.passed, len(report.checks)
        (True, 7)
    """
    _fit(package, precision, full)
    began = time.monotonic()
    lines = lines or fixed_lines(package)
    subject = Subject(package.translator, lines)
    checks = [_done(golden_lines, package), *(_done(check, subject) for check in CHECKS), round_trip(package)]
    checks.append(_done(lambda subject: _precision(subject, package, precision, full), subject))
    path = str(package.path or "")
    return Report(
        path, package.translator.task, package.precision, lines.name, len(lines), lines.dropped, lines.cut,
        tuple(checks), time.monotonic() - began,
    )  # fmt: skip


def _done(check: Callable[[Any], Check], subject: Any) -> Check:
    """Return a check's result; a model whose scores are no numbers fails it."""
    try:
        return check(subject)
    except ModelError as error:
        name = check.__name__.replace("_", " ") if check.__name__ != "<lambda>" else "precision"
        return Check(name, "", 0.0, math.inf, detail=error.problem)


def _fit(package: Package, precision: Precision | None, full: Translator | None) -> None:
    """Refuse what would compare rounded weights with rounded ones, or two vocabularies."""
    stored, where = package.precision, str(package.path or "")
    if precision is not None and stored != "float32":
        remedy = "Give the float32 model it was made of with `--against`, and leave out --precision."
        raise ConfigError(f"its weights are {stored} already", remedy, where)
    if full is not None:
        if stored == "float32":
            raise ConfigError("its weights are float32", "Use `--precision` to see what rounding does.", where)
        ours = [t.to_json() for t in (package.translator.source_tokenizer, package.translator.target_tokenizer)]
        if ours != [t.to_json() for t in (full.source_tokenizer, full.target_tokenizer)]:
            raise ConfigError("is of another vocabulary", "Name the model it was made of.", "--against")


def _precision(subject: Subject, package: Package, precision: Precision | None, full: Translator | None) -> Check:
    if full is not None:
        return rounding(Subject(full, subject.lines), package.translator, package.precision)
    if precision is not None:
        return rounding(subject, convert(package, precision).translator, precision)
    stored = package.precision
    detail = "--precision shows what rounding would do" if stored == "float32" else "--against MODEL32 compares them"
    return Check("precision", "share of tokens that are others", ROUNDED[stored], detail=detail)
