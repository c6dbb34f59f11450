"""All checks of a model, one after the other."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from onehop.errors import ConfigError, ModelError
from onehop.tasks import Package, Precision, convert
from onehop.tasks.adapters import adapter_of, merged
from onehop.tasks.names import GOLDEN
from onehop.tasks.registry import DECIDES, check_task, kind
from onehop.tasks.replay import changed
from onehop.verify.numeric import batched, cached, packed, searched
from onehop.verify.report import Check, Report
from onehop.verify.stored import ROUNDED, golden_lines, round_trip, rounding
from onehop.verify.subject import Lines, Subject, fixed_lines, read_pairs
from onehop.verify.suites import Suite, suite

MERGED = 1e-4  # what rounding in float32 may do to a score
CHECKS = (batched, cached, packed, searched)  # of a translation


def verify(
    package: Package,
    lines: Lines | None = None,
    *,
    precision: Precision | None = None,
    full: Any = None,
) -> Report:
    """Check a model: what it computes in different ways, its golden lines, its bytes, and its precision.

    Args:
        package: The model.
        lines: To check it on; default: its golden sources and a few fixed ones.
        precision: What its float32 weights are rounded to for the last check; default: not rounded.
        full: For a package whose weights are rounded: the float32 model, of the same task, that it was made of.

    Raises:
        ConfigError: `precision` or `full` does not go with how the weights are stored.

    Example:
        >>> report = verify(onehop.tasks.load_package("runs/first"), precision="float16")
        >>> report.passed, len(report.checks)
        (True, 7)
    """
    _fit(package, precision, full)
    began = time.monotonic()
    lines, of_task = lines or fixed_lines(package), suite(package.task.task)
    subject = of_task.subject(package.task, lines)
    checks = [_golden(of_task, package), *(_done(check, subject) for check in of_task.checks)]
    checks.append(round_trip(package))
    if adapter_of(package.task):
        checks.append(_done(lambda subject: merged_apart(of_task, subject, package.task), subject))
    checks.append(_done(lambda subject: _precision(of_task, subject, package, precision, full), subject))
    path = str(package.path or "")
    return Report(
        path, package.task.task, package.precision, lines.name, len(lines), lines.dropped, lines.cut,
        tuple(checks), time.monotonic() - began,
    )  # fmt: skip


def _golden(of_task: Suite, package: Package) -> Check:
    """Golden lines, and what else was recorded of what the model does; a model that was trained has some."""
    found = _done(of_task.golden, package)
    if package.record is not None and not package.golden:
        detail = f"{GOLDEN} is empty, though this model was trained by Onehop, which writes some: copy it again"
        return replace(found, measured=math.inf, detail=detail)
    fingerprints = (package.manifest or {}).get("fingerprints") or {}
    told = changed(package.task, package.golden, fingerprints, kind(package.task.task).tokenizers(package.task))
    if told:
        return replace(found, measured=found.measured or 0.0, differences=1, detail=told)
    return found if found.detail else replace(found, detail=_unknown(package))


def _unknown(package: Package) -> str:
    """Say that golden lines do not tell the settings that decide, as those that Onehop wrote at first did not."""
    decides = kind(package.task.task).decides(package.task.settings)
    if not decides or not package.golden or any(DECIDES in line for line in package.golden):
        return ""
    return "they do not hold the settings that decide: a change of these shows in nothing; onehop export adds them"


def _done(check: Callable[[Any], Check], subject: Any) -> Check:
    """Return a check's result; a model whose scores are no numbers fails it."""
    try:
        return check(subject)
    except ModelError as error:
        name = check.__name__.replace("_", " ") if check.__name__ != "<lambda>" else "precision"
        return Check(name, "", 0.0, math.inf, detail=error.problem)


def _fit(package: Package, precision: Precision | None, full: Any) -> None:
    """Refuse what would compare rounded weights with rounded ones, or two vocabularies."""
    stored, where = package.precision, str(package.path or "")
    if precision is not None and stored != "float32":
        remedy = "Give the float32 model it was made of with `--against`, and leave out --precision."
        raise ConfigError(f"its weights are {stored} already", remedy, where)
    if full is not None:
        if stored == "float32":
            raise ConfigError("its weights are float32", "Use `--precision` to see what rounding does.", where)
        check_task(full.task, package.task.task, "--against")
        files = kind(full.task).tokenizers
        ours, theirs = ([t.to_json() for t in files(task).values()] for task in (package.task, full))
        if ours != theirs:
            raise ConfigError("is of another vocabulary", "Name the model it was made of.", "--against")


def merged_apart(of_task: Suite, subject: Any, task: Any) -> Check:
    """Merged = apart: an adapter's changes beside its base's weights, and added to them."""
    found = of_task.rounding(subject, merged(task), "float32")
    largest = next(value for name, value in found.values.items() if name.startswith("largest"))
    return Check("merged = apart", "largest difference of scores", MERGED, largest)


def _precision(of_task: Suite, subject: Any, package: Package, precision: Precision | None, full: Any) -> Check:
    if full is not None:
        return of_task.rounding(of_task.subject(full, subject.lines), _run(package), package.precision)
    if precision is not None:
        return of_task.rounding(subject, _run(convert(package, precision)), precision)
    stored = package.precision
    detail = "--precision shows what rounding would do" if stored == "float32" else "--against MODEL32 compares them"
    return Check("precision", "share of tokens that are others", ROUNDED[stored], detail=detail)


def _run(package: Package) -> Any:
    """Return how a package of rounded weights is run: int8 rounds products too, where there are kernels."""
    task: Any = package.task
    return task.fast("int8") if package.precision == "int8" else task


TRANSLATION = Suite(lambda translator: translator.source_tokenizer, read_pairs, Subject, golden_lines, CHECKS, rounding)
