"""`onehop evaluate` of a tagger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onehop.errors import ConfigError

if TYPE_CHECKING:
    from onehop.evaluate.tagging import TagReport


def evaluate_tagger(
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
    """Label the words of a file of sentences, and score; see `evaluate_classifier` for the arguments."""
    from onehop.cli import console
    from onehop.cli.options import faster, known_precision, tell_drift
    from onehop.data.tagged import TagColumns, open_tagged
    from onehop.evaluate.tagging import evaluate_tags, read_tags, tag, to_line
    from onehop.files import new_text
    from onehop.tasks import load_package

    known_precision(precision)
    tagger = load_package(model, task="tag", allow_drift=allow_drift, device=device).task
    tell_drift(tagger.drift)
    tagger = faster(tagger, precision)
    if data is None:
        raise ConfigError("nothing to evaluate on", "Give --data: sentences with labels.", "onehop evaluate")
    if len(columns[0]) > 1:
        raise ConfigError("several columns of words", "Name one.", "--text-column")
    sentences = list(open_tagged(data, TagColumns("".join(columns[0]), columns[1])).sentences)
    rival = None
    if against and Path(against).is_file():
        rival = read_tags(against)
    elif against:
        other = faster(load_package(against, task="tag", allow_drift=allow_drift, device=device).task, precision)
        rival = tag(other, [one.words for one in sentences], name=against, long=long, where=data)
    report = evaluate_tags(tagger, sentences, long=long, where=data, against=rival)
    if output:
        with new_text(output) as out:
            out.writelines(map(to_line, report.system.labels))
    if as_json:
        console.print_json(report.to_dict())
    else:
        _show(report)


def _show(report: TagReport) -> None:
    from rich.console import Console
    from rich.table import Table

    from onehop.cli.evaluate_labels import as_percent, as_range, tell_long

    out, result = Console(markup=False), report.result
    seconds = f" in {report.system.seconds:.1f} s" if report.system.seconds is not None else ""
    title = f"{len(report.system.labels):,} sentences of {report.words:,} words{seconds}"
    table = Table(title=title, title_justify="left")
    for column in ("", "score", "95 % interval"):
        table.add_column(column, justify="left" if not column else "right")
    if report.scheme != "none":
        table.add_row("F1 of spans", as_percent(result.f1), as_range(report.intervals["f1"]))
        table.add_row("precision", as_percent(result.precision), "")
        table.add_row("recall", as_percent(result.recall), "")
    table.add_row("accuracy of words", as_percent(result.accuracy), as_range(report.intervals["accuracy"]))
    table.add_row("always the most frequent label", as_percent(result.majority), "")
    out.print(table)
    what = "words" if report.scheme == "none" else "spans"
    labels = Table(title="by label", title_justify="left")
    for column in ("label", what, "found", "precision", "recall", "F1"):
        labels.add_column(column, justify="left" if column == "label" else "right")
    for one in result.by_label:
        shares = map(as_percent, (one.precision, one.recall, one.f1))
        labels.add_row(one.label, f"{one.support:,}", f"{one.predicted:,}", *shares)
    out.print(labels)
    if report.rival:
        system, other, compared = report.rival
        theirs = as_percent(getattr(other, compared.figure))
        line = f"against {system.name} ({theirs}): {100 * compared.difference:+.1f}, p = {compared.p_value:.3f}"
        out.print(line, soft_wrap=True)
    tell_long(out, report.system, "sentences")
    if report.mended:
        out.print(f"{report.mended:,} sentences with labels that do not fit {report.scheme.upper()}")
