"""`onehop evaluate` of a regressor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onehop.errors import ConfigError

if TYPE_CHECKING:
    from onehop.evaluate.regression import Numbered, RegressReport


def evaluate_regressor(
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
    """Find the numbers of the texts of a table, and score; see `evaluate_classifier` for the arguments."""
    from onehop.cli import console
    from onehop.cli.options import known_precision, tell_drift
    from onehop.data.labelled import LabelColumns, open_labelled
    from onehop.evaluate.regression import evaluate_numbers
    from onehop.files import new_text

    known_precision(precision)
    regressor = _loaded(model, allow_drift, precision, device)
    tell_drift(regressor.drift)
    if data is None:
        raise ConfigError("nothing to evaluate on", "Give --data: texts with numbers.", "onehop evaluate")
    texts_of = columns[0] or tuple(regressor.settings.columns)
    rows = list(open_labelled(data, LabelColumns(texts_of, columns[1], numbers=True)).rows)
    texts = [fields[0] if len(fields) == 1 else tuple(fields) for fields, _ in rows]
    rival = _other(against, texts, long, data, allow_drift, precision, device) if against else None
    wanted = [value.strip() for _, value in rows]
    report = evaluate_numbers(regressor, texts, wanted, long=long, where=data, against=rival)
    if output:
        with new_text(output) as out:
            out.writelines(f"{value:.7g}\n" for value in report.system.values)
    if as_json:
        console.print_json(report.to_dict())
    else:
        _show(report)


def _loaded(model: str, allow_drift: bool, precision: str, device: str) -> Any:
    from onehop.cli.options import faster
    from onehop.tasks import load_package

    return faster(load_package(model, task="regress", allow_drift=allow_drift, device=device).task, precision)


def _other(
    against: str, texts: list[Any], long: Any, where: str, allow_drift: bool, precision: str, device: str
) -> Numbered:
    """Return the other system's numbers: of a file, or found by another model."""
    from onehop.evaluate.regression import estimate, read_estimates

    if Path(against).is_file():
        return read_estimates(against)
    return estimate(_loaded(against, allow_drift, precision, device), texts, name=against, long=long, where=where)


def _show(report: RegressReport) -> None:
    from rich.console import Console
    from rich.table import Table

    from onehop.cli.evaluate_labels import tell_long

    out, result, system = Console(markup=False), report.result, report.system
    seconds = f" in {system.seconds:.1f} s" if system.seconds is not None else ""
    table = Table(title=f"{len(system.values):,} texts{seconds}", title_justify="left")
    for column in ("figure", "value", "95 %"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    names = {"spearman": "Spearman", "pearson": "Pearson", "rmse": "RMSE"}
    for name, title in names.items():
        found = report.intervals[name]
        table.add_row(title, f"{getattr(result, name):.4g}", f"{found.low:.4g} to {found.high:.4g}")
    table.add_row("mean absolute error", f"{result.mae:.4g}", "")
    table.add_row("RMSE of always the mean", f"{result.mean_rmse:.4g}", "")
    out.print(table)
    if report.rival:
        other, figures, compared = report.rival
        out.print(
            f"against {other.name} (Spearman {figures.spearman:.4g}): {compared.difference:+.4f}, "
            f"p = {compared.p_value:.3f}",
            soft_wrap=True,
        )
    tell_long(out, system, "texts")
