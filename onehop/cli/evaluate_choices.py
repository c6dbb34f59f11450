"""`onehop evaluate` of a model that chooses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onehop.cli.evaluate_labels import as_percent, as_range
from onehop.errors import ConfigError

if TYPE_CHECKING:
    from onehop.evaluate.choices import ChoiceReport


def evaluate_chooser(
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
    """Choose an option in each row of a table, and score; see `evaluate_classifier` for the arguments."""
    from onehop.cli import console
    from onehop.cli.options import faster, known_precision, tell_drift
    from onehop.data.choices import ChoiceColumns, open_choices
    from onehop.evaluate.choices import choose, evaluate_choices, read_chosen
    from onehop.files import new_text
    from onehop.tasks import load_package

    known_precision(precision)
    chooser = load_package(model, task="choose", allow_drift=allow_drift, device=device).task
    tell_drift(chooser.drift)
    chooser = faster(chooser, precision)
    if data is None:
        raise ConfigError("nothing to evaluate on", "Give --data: choices with their right options.", "onehop evaluate")
    contexts = columns[0] or tuple(chooser.settings.columns)
    choices = list(open_choices(data, ChoiceColumns(contexts, (), columns[1])).rows)
    rival, first = None, chooser.settings.first_number
    if against and Path(against).is_file():
        rival = read_chosen(against, first)
    elif against:
        other = faster(load_package(against, task="choose", allow_drift=allow_drift, device=device).task, precision)
        rival = choose(other, choices, name=against, long=long, where=data)
    report = evaluate_choices(chooser, choices, long=long, where=data, against=rival)
    if output:
        with new_text(output) as out:
            out.writelines("null\n" if place is None else f"{place + first}\n" for place in report.system.places)
    if as_json:
        console.print_json(report.to_dict())
    else:
        _show(report)


def _show(report: ChoiceReport) -> None:
    from rich.console import Console
    from rich.table import Table

    out, system = Console(markup=False), report.system
    seconds = f" in {system.seconds:.1f} s" if system.seconds is not None else ""
    table = Table(title=f"{len(system.places):,} choices{seconds}", title_justify="left")
    for column in ("", "score", "95 % interval"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("accuracy", as_percent(report.accuracy), as_range(report.interval))
    table.add_row("by chance", as_percent(report.chance), "")
    table.add_row("always the place that is most often right", as_percent(report.majority), "")
    out.print(table)
    if report.mistakes:
        told = (
            f"row {one.row} option {one.found + 1} for {one.right + 1} ({one.score:.3f})" for one in report.mistakes
        )
        out.print("surest mistakes: " + ", ".join(told), soft_wrap=True)
    if report.rival:
        other, accuracy, compared = report.rival
        out.print(
            f"against {other.name} ({as_percent(accuracy)}): {100 * compared.difference:+.1f}, p = "
            f"{compared.p_value:.3f} ({compared.better:,} choices better, {compared.worse:,} worse)",
            soft_wrap=True,
        )
    for what, count in {"left out": system.dropped, "cut": system.cut}.items():
        if count:
            out.print(f"{count:,} choices too long and {what}")
