"""`onehop evaluate` of a multi-label classifier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onehop.cli.evaluate_labels import as_percent, as_range
from onehop.errors import ConfigError

if TYPE_CHECKING:
    from onehop.evaluate.multilabel import SetsBy, SetsReport

TITLES = {"micro_f1": "micro F1", "macro_f1": "macro F1", "exact": "exact match"}


def evaluate_multilabeller(
    model: str,
    data: str | None,
    columns: tuple[tuple[str, ...], str],
    against: str | None,
    output: Path | None,
    as_json: bool,
    long: Any,
    allow_drift: bool,
    precision: str,
    device: str,
) -> None:
    """Find the labels of the texts of a table, and score; see `evaluate_classifier` for the arguments."""
    from onehop.cli import console
    from onehop.cli.options import known_precision, tell_drift
    from onehop.data.label_sets import written
    from onehop.data.labelled import LabelColumns, open_labelled
    from onehop.evaluate.multilabel import evaluate_sets
    from onehop.files import new_text

    known_precision(precision)
    task = _loaded(model, allow_drift, precision, device)
    tell_drift(task.drift)
    if data is None:
        raise ConfigError("nothing to evaluate on", "Give --data: texts with labels.", "onehop evaluate")
    texts_of = columns[0] or tuple(task.settings.columns)
    found = LabelColumns(texts_of, columns[1], many=True, separator=task.settings.separator)
    rows = list(open_labelled(data, found).rows)
    texts = [fields[0] if len(fields) == 1 else tuple(fields) for fields, _ in rows]
    rival = _other(against, texts, long, data, allow_drift, precision, device) if against else None
    report = evaluate_sets(task, texts, [labels for _, labels in rows], long=long, where=data, against=rival)
    if output:
        with new_text(output) as out:
            out.writelines(f"{written(labels)}\n" for labels in report.system.sets)
    if as_json:
        console.print_json(report.to_dict())
    else:
        _show(report)


def _loaded(model: str, allow_drift: bool, precision: str, device: str) -> Any:
    from onehop.cli.options import faster
    from onehop.tasks import load_package

    return faster(load_package(model, task="multilabel", allow_drift=allow_drift, device=device).task, precision)


def _other(
    against: str, texts: list[Any], long: Any, where: str, allow_drift: bool, precision: str, device: str
) -> SetsBy:
    """Return the other system's labels: of a file, or found by another model."""
    from onehop.evaluate.multilabel import label_texts, read_sets

    if Path(against).is_file():
        return read_sets(against)
    return label_texts(_loaded(against, allow_drift, precision, device), texts, name=against, long=long, where=where)


def _show(report: SetsReport) -> None:
    from rich.console import Console
    from rich.table import Table

    out, result, system = Console(markup=False), report.result, report.system
    seconds = f" in {system.seconds:.1f} s" if system.seconds is not None else ""
    table = Table(title=f"{len(system.sets):,} texts{seconds}", title_justify="left")
    for column in ("", "score", "95 % interval", "always the usual set"):
        table.add_column(column, justify="left" if not column else "right")
    usual = {"micro_f1": result.majority_micro_f1, "exact": result.majority}
    for name, title in TITLES.items():
        baseline = as_percent(usual[name]) if name in usual else ""
        table.add_row(title, as_percent(getattr(result, name)), as_range(report.intervals[name]), baseline)
    out.print(table)
    labels = Table(title="by label", title_justify="left")
    for column in ("label", "texts", "given", "precision", "recall", "F1"):
        labels.add_column(column, justify="left" if column == "label" else "right")
    for one in result.classes:
        shares = map(as_percent, (one.precision, one.recall, one.f1))
        labels.add_row(one.label, f"{one.support:,}", f"{one.predicted:,}", *shares)
    out.print(labels)
    if report.mistakes:
        told = (
            f"row {one.row} {one.label} {'given' if one.given else 'missed'} ({one.score:.3f})"
            for one in report.mistakes
        )
        out.print("surest mistakes: " + ", ".join(told), soft_wrap=True)
    if report.rival:
        other, scores, compared = report.rival
        out.print(
            f"against {other.name} (exact match {as_percent(scores.exact)}, micro F1 {as_percent(scores.micro_f1)}): "
            f"{100 * compared.difference:+.1f} exact matches, p = {compared.p_value:.3f} ({compared.better:,} texts "
            f"better, {compared.worse:,} worse)",
            soft_wrap=True,
        )
    for what, count in {
        "left out": system.dropped, "cut": system.cut, "read in windows": system.windows,
    }.items():  # fmt: skip
        if count:
            out.print(f"{count:,} texts too long and {what}")
