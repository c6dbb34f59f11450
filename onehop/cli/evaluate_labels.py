"""`onehop evaluate` of a classifier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onehop.errors import ConfigError

if TYPE_CHECKING:
    from onehop.evaluate import ClassifyReport, Labelled
    from onehop.metrics import Interval


def evaluate_classifier(
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
    """Classify the texts of a table, and score.

    Args:
        model: Its folder or name.
        data: The table.
        columns: Names of the texts' columns and of that of the labels; empty for those that are found.
        against: Another model, or a file of its labels.
        output: Where to write the labels.
        as_json: Whether to print an object rather than tables.
        long: What to do with texts longer than the model's limit.
        allow_drift: Whether a model may do otherwise than when it was made.
        precision: Of the products.
        device: Where to run.
    """
    from onehop.cli import console
    from onehop.cli.options import faster, known_precision, tell_drift
    from onehop.data.labelled import LabelColumns, open_labelled
    from onehop.evaluate import evaluate_labels
    from onehop.files import new_text
    from onehop.tasks import load_classifier

    known_precision(precision)
    classifier = load_classifier(model, allow_drift=allow_drift, device=device)
    tell_drift(classifier.drift)
    classifier = faster(classifier, precision)
    if data is None:
        raise ConfigError("nothing to evaluate on", "Give --data: texts with labels.", "onehop evaluate")
    texts_of = columns[0] or tuple(classifier.settings.columns)
    rows = list(open_labelled(data, LabelColumns(texts_of, columns[1])).rows)
    texts = [fields[0] if len(fields) == 1 else tuple(fields) for fields, _ in rows]
    rival = _other(against, texts, long, data, device, allow_drift, precision) if against else None
    wanted = [label.strip() for _, label in rows]
    report = evaluate_labels(classifier, texts, wanted, long=long, where=data, against=rival)
    if output:
        with new_text(output) as out:
            out.writelines(f"{label or ''}\n" for label in report.system.labels)
    if as_json:
        console.print_json(report.to_dict())
    else:
        _show(report)


def _other(
    against: str, texts: list[Any], long: Any, where: str, device: str, allow_drift: bool, precision: str
) -> Labelled:
    """Return the other system's labels: of a file, or found by another model."""
    from onehop.cli.options import faster
    from onehop.evaluate import classify, read_predictions
    from onehop.tasks import load_classifier

    if Path(against).is_file():
        return read_predictions(against)
    other = faster(load_classifier(against, allow_drift=allow_drift, device=device), precision)
    return classify(other, texts, name=against, long=long, where=where)


def _show(report: ClassifyReport) -> None:
    from rich.console import Console
    from rich.table import Table

    out, result = Console(markup=False), report.result
    seconds = f" in {report.system.seconds:.1f} s" if report.system.seconds is not None else ""
    table = Table(title=f"{len(report.system.labels):,} texts{seconds}", title_justify="left")
    for column in ("", "score", "95 % interval"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("accuracy", as_percent(result.accuracy), as_range(report.intervals["accuracy"]))
    table.add_row("macro F1", as_percent(result.macro_f1), as_range(report.intervals["macro_f1"]))
    table.add_row("Matthews correlation", f"{result.mcc:.3f}", "")
    table.add_row("always the most frequent label", as_percent(result.majority), "")
    out.print(table)
    labels = Table(title="by label", title_justify="left")
    for column in ("label", "texts", "precision", "recall", "F1", "most often taken for"):
        labels.add_column(column, justify="left" if column in ("label", "most often taken for") else "right")
    for place, one in enumerate(result.classes):
        shares = map(as_percent, (one.precision, one.recall, one.f1))
        labels.add_row(one.label, f"{one.support:,}", *shares, _taken_for(report, place))
    out.print(labels)
    if report.mistakes:
        out.print("surest mistakes: " + ", ".join(
            f"row {one.row} {one.found} for {one.label} ({one.score:.3f})" for one in report.mistakes
        ), soft_wrap=True)  # fmt: skip
    if report.rival:
        system, other, compared = report.rival
        out.print(
            f"against {system.name} ({as_percent(other.accuracy)}): {100 * compared.difference:+.1f}, "
            f"p = {compared.p_value:.3f} ({compared.better:,} texts better, {compared.worse:,} worse)",
            soft_wrap=True,
        )
    if report.system.abstained:
        answered = len(report.system.labels) - report.system.abstained
        right = round(report.result.accuracy * len(report.system.labels))
        share = _percent(right / answered) if answered else "none"
        out.print(f"{report.system.abstained:,} texts got no label, by the threshold; of the others {share} are right")
    tell_long(out, report.system, "texts")


def tell_long(out: Any, system: Any, what: str) -> None:
    """Print what became of the examples of a system, called `what`, that were longer than the model's limit."""
    for line in system.fates.told(what) if system.fates else ():
        out.print(line, soft_wrap=True)


def _taken_for(report: ClassifyReport, place: int) -> str:
    """Return the label that texts of one label were most often given instead, with their number."""
    names = [*report.labels, "no label"]
    wrong = [(count, -other) for other, count in enumerate(report.result.confusion[place]) if other != place]
    count, other = max(wrong)
    return f"{names[-other]} {count:,}" if count else ""


def as_percent(share: float) -> str:
    """Return a share as people read it."""
    return f"{100 * share:.1f} %"


def as_range(interval: Interval) -> str:
    """Return an interval of shares as people read it."""
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"
