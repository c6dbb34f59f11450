"""`onehop verify`: whether a model does on this machine what Onehop promises of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from onehop.cli.options import Device, Json, PairLong, Threads
from onehop.errors import ConfigError

if TYPE_CHECKING:
    from onehop.verify import Check, Report


def verify(
    model: Annotated[str, typer.Argument(help="A run, a package, or a bundled name.")],
    data: Annotated[
        str | None,
        typer.Option("--data", help="Texts, one a line, or a table (.tsv, .csv, .jsonl, .parquet)."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="Compare float32 weights with this: float16 or int8.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="The float32 model that rounded weights were made of.")
    ] = None,
    as_json: Json = False,
    long: PairLong = "error",
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Check a model: batches, cache, packing, search, golden lines, its bytes, its precision. Status 1 if one fails."""
    from onehop.cli import console
    from onehop.cli.options import policy, use
    from onehop.tasks import load_package
    from onehop.verify import read_data
    from onehop.verify import verify as run

    if precision not in (None, "float16", "int8"):
        raise ConfigError(f"unknown value {precision!r}", "Use float16 or int8.", "--precision")
    chosen, device = policy(long, pairs=True), use(threads, device)
    package = load_package(model, allow_drift=True)  # drift is what it is asked to find
    package.task.to(device)
    full = load_package(against, allow_drift=True) if against else None
    if full and full.precision != "float32":
        raise ConfigError(f"its weights are {full.precision}", "Name the float32 model.", f"--against {against}")
    lines = read_data(package.task, data, chosen) if data else None
    report = run(package, lines, precision=precision, full=full.task.to(device) if full else None)
    if as_json:
        console.print_json(report.to_dict())
    else:
        _show(report)
    if not report.passed:
        raise typer.Exit(1)


def _show(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title = f"{report.path}: {report.lines:,} lines of {report.data or 'its own'} in {report.seconds:.1f} s"
    table = Table(title=Text(title), title_justify="left")
    for column, side in (("check", "left"), ("measured", "right"), ("at most", "right"), ("", "left")):
        table.add_column(column, justify=side)  # type: ignore[arg-type]
    for check in report.checks:
        table.add_row(Text(check.name), _number(check.measured), _number(check.tolerance), _word(check))
    out = Console(highlight=False)
    out.print(table)
    for check in report.checks:
        for line in _told(check):
            out.print(Text(f"{check.name}: {line}"), soft_wrap=True)
    for count, what in ((report.dropped, "left out"), (report.cut, "cut")):
        if count:
            out.print(f"{count:,} lines longer than the model's limit {what}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def _word(check: Check) -> str:
    return {True: "[green]PASS", False: "[bold red]FAIL", None: "not checked"}[check.passed]


def _told(check: Check) -> list[str]:
    """Return what stands under the table: the first difference, near-ties, further figures."""
    lines = [check.detail] if check.detail else []
    if check.differences > 1:
        lines.append(f"{check.differences:,} differences")
    if check.near_ties:
        lines.append(f"{check.near_ties:,} outputs differ where two choices were as good as equal")
    if check.values:
        lines.append(", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in check.values.items()))
    return lines
