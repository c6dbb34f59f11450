"""`onehop lab`: the mechanisms and claims of the notes, as experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from onehop.cli.options import Json, Threads

if TYPE_CHECKING:
    from rich.table import Table

    from onehop.lab import Finding, Result
    from onehop.lab.experiments import Report

app = typer.Typer(no_args_is_help=True, help="Mechanisms and claims as experiments.")
STYLES = {"PASS": "green", "FAIL": "bold red", "not run": "", "not built": "dim"}


@app.callback()
def group() -> None:
    """Mechanisms and claims as experiments: `onehop lab list`, `onehop lab run R-03`, `onehop lab table`."""


@app.command("list")
def list_rows(as_json: Json = False) -> None:
    """List every mechanism and claim: what it is, the tiers that have a check, and how these went last."""
    from onehop.cli import console
    from onehop.lab import CHAPTERS, ROWS
    from onehop.lab.remembered import recall

    went = recall()
    rows = [(name, row, list(row.checks), _status(list(row.checks), went.get(name, {}))) for name, row in ROWS.items()]
    if as_json:
        keys = ("id", "title", "source", "tiers", "status", "missing")
        values = (
            (name, row.title, row.source, tiers, status, row.missing or None) for name, row, tiers, status in rows
        )
        console.print_json({"rows": [dict(zip(keys, value, strict=True)) for value in values]})
        return
    from rich.text import Text

    table = _table(("id", "what it is", "tier", "status"))
    chapter = ""
    for name, row, tiers, status in rows:
        if chapter != CHAPTERS[name[0]]:
            chapter = CHAPTERS[name[0]]
            table.add_row("", Text(chapter, "bold"))
        part = Text(" (in part)" if row.missing and tiers else "", "dim")
        table.add_row(name, Text(row.title) + part, " ".join(tiers), Text(status, STYLES[status.split(" (")[0]]))
    _print(table)
    _count([status for *_, status in rows])


def _count(statuses: list[str]) -> None:
    """Say how many rows are how far, and how to run them."""
    from collections import Counter

    from onehop.cli import console

    counts = Counter(status.split(" (")[0] for status in statuses)
    told = ", ".join(f"{counts[status]} {status}" for status in STYLES if counts[status])
    console.tell(
        f"{len(statuses)} rows: {told}. In part: `lab run` tells what of a row is not checked.\n"
        "next: onehop lab run R-03 for one of them, onehop lab run --tier T0 for all that are exact"
    )


def _status(tiers: list[str], went: dict[str, bool]) -> str:
    """Return one word for a row: a fail outweighs a pass, and what was not run with this code counts for nothing."""
    if not tiers:
        return "not built"
    if any(went.get(tier) is False for tier in tiers):
        return "FAIL"
    left = [tier for tier in tiers if tier not in went]
    if len(left) == len(tiers):
        return "not run"
    return f"PASS ({', '.join(left)} not run)" if left else "PASS"


@app.command("run")
def run_checks(
    rows: Annotated[list[str] | None, typer.Argument(help="Rows, such as R-03; default: all of --tier.")] = None,
    tier: Annotated[str | None, typer.Option("--tier", help="T0: exact, seconds. T1: measured, minutes.")] = None,
    out: Annotated[str | None, typer.Option("--out", "-o", help="Folder for report.html and report.json.")] = None,
    as_json: Json = False,
    threads: Threads = None,
) -> None:
    """Run checks: each value beside the threshold that was set before, and its reference. Status 1 if one fails."""
    import time

    from onehop.cli import console
    from onehop.cli.options import use
    from onehop.lab import Report, Result
    from onehop.lab.experiments import each
    from onehop.lab.remembered import remember

    use(threads, "cpu")
    began, results = time.monotonic(), list[Result]()
    for result in each(rows or [], tier):
        results.append(result)
        if not as_json:
            _show(result)
    report = Report(tuple(results), time.monotonic() - began)
    remember(results)
    if as_json:
        console.print_json(report.to_dict())
    else:
        _sum_up(report, whole=not rows)
    if out:
        from onehop.lab.page import write

        console.tell(f"wrote {write(report, out)}")
    if not report.passed:
        raise typer.Exit(1)


@app.command("table")
def every_attention(
    values: Annotated[
        list[str] | None,
        typer.Argument(
            help="Only cells with these, such as transformer local-p entmax; default: all, which takes long."
        ),
    ] = None,
    threads: Threads = None,
) -> None:
    """Try every score with every select, region and grouping of heads, in both families; print a page of Markdown.

    Each cell is trained two updates, decoded, packaged, reloaded and verified, or refused with the reason. Status 1 if
    one fails.
    """
    from onehop.cli import console
    from onehop.cli.options import use
    from onehop.lab.table import Outcome, cells, counted, each, page

    use(threads, "cpu")
    wanted, outcomes = cells(values or []), list[Outcome]()
    for outcome in each(wanted):
        outcomes.append(outcome)
        if outcome.error:
            console.tell(f"failed: {outcome.cell}: {outcome.error}")
        if len(outcomes) % 100 == 0 and len(outcomes) < len(wanted):
            console.tell(f"{len(outcomes):,} of {len(wanted):,}")
    typer.echo(page(outcomes), nl=False)
    console.tell(counted(outcomes))
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(1)


def _show(result: Result) -> None:
    from rich.console import Console
    from rich.text import Text

    from onehop.lab import ROWS
    from onehop.lab.page import number

    row, screen = ROWS[result.row], Console(highlight=False)
    screen.print(Text(f"{result.row}  {row.title}", "bold") + Text(f"  ({row.source})", "not bold dim"))
    table = _table(("", "measured", "", "threshold", "of what, and by which reference"))
    for finding in result.findings:
        word, limit = "PASS" if finding.passed else "FAIL", finding.threshold
        told = Text(limit.what) + Text(f"\n{limit.reference}", "dim")
        table.add_row(Text(word, STYLES[word]), number(finding.measured), limit.compare, number(limit.value), told)
    screen.print(table)
    for grid in result.grids:
        shown = _table(grid.head)
        shown.title, shown.title_justify = grid.title, "left"
        for cells in grid.rows:
            shown.add_row(*cells)
        screen.print(shown)
    for line in filter(None, (result.error, row.missing and f"not checked: {row.missing}")):
        screen.print(Text(line))
    screen.print()


def _sum_up(report: Report, *, whole: bool) -> None:
    from rich.console import Console

    from onehop.lab import ROWS

    failed = [result for result in report.results if not result.passed]
    values = sum(len(result.findings) for result in report.results)
    missing = [name for name, row in ROWS.items() if not row.checks]
    noun = "row" if len(report.results) == 1 else "rows"
    out = Console(highlight=False)
    out.print(f"{len(report.results)} {noun}, {values} values in {report.seconds:.0f} s: "
              f"{f'{len(failed)} FAIL' if failed else 'all PASS'}", soft_wrap=True)  # fmt: skip
    for result in failed:
        for finding in result.findings:
            if not finding.passed:
                out.print(f"FAIL {result.row} {_told(finding)}", soft_wrap=True)
    if whole and missing:
        out.print(f"not built: {', '.join(missing)}", soft_wrap=True)


def _told(finding: Finding) -> str:
    from onehop.lab.page import number

    limit = finding.threshold
    return f"{finding.name}: {number(finding.measured)}, must be {limit.compare} {number(limit.value)} ({limit.why})"


def _table(columns: tuple[str, ...]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in ("measured", "threshold") else "left", overflow="fold",
                         no_wrap=column in ("id", "tier", "measured", "threshold", ""))  # fmt: skip
    return table


def _print(table: Table) -> None:
    from rich.console import Console

    Console(highlight=False).print(table)
