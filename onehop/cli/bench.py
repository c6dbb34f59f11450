"""`onehop bench`: how fast a model runs on this machine, beside whichever rivals are installed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from onehop.cli.options import AllowDrift, AllowPickle, Json, Threads

if TYPE_CHECKING:
    from onehop.bench import Report


def bench(
    model: Annotated[str, typer.Argument(help="A run, a package, or a bundled name.")],
    data: Annotated[
        str | None,
        typer.Option("--data", help="Texts, one a line, or a table. Default: the golden lines and fixed ones."),
    ] = None,
    rivals: Annotated[
        str | None,
        typer.Option("--rivals", help="Python of the environment that rivals are installed in. Default: Onehop's own."),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Turns of each system.")] = 5,
    batch: Annotated[int, typer.Option("--batch", min=2, help="Lines of a batch.")] = 32,
    most: Annotated[int, typer.Option("--lines", min=1, help="Lines to run at most.")] = 1000,
    as_json: Json = False,
    allow_drift: AllowDrift = False,
    allow_pickle: AllowPickle = False,
    threads: Threads = None,
) -> None:
    """Measure a model's speed: Onehop in float32, bfloat16, int8 and by its reference path, and rivals, in turns.

    Rivals are CTranslate2 for translation; transformers, onnxruntime and OpenVINO for embeddings. Lines that are longer
    than the model's limit are left out. Nothing else should run on the machine.
    """
    import torch

    from onehop.bench import bench as run
    from onehop.cli import console
    from onehop.cli.options import tell_drift, use
    from onehop.tasks import load_package
    from onehop.verify import read_data
    from onehop.verify.subject import fixed_lines

    use(threads, "cpu")
    package = load_package(model, allow_drift=allow_drift, allow_pickle=allow_pickle)
    tell_drift(package.task.drift)
    lines = read_data(package.task, data, "drop") if data else fixed_lines(package)
    report = run(
        package, [*lines.sources][:most], python=rivals or sys.executable, rounds=rounds, batch=batch,
        threads=torch.get_num_threads(), tell=console.tell,
    )  # fmt: skip
    if as_json:
        console.print_json(report.to_dict())
    else:
        _show(report)


def _show(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    threads = f"{report.threads} thread{'s' if report.threads > 1 else ''}"
    beam = f", beam {report.beam}" if report.beam else ""
    title = f"{report.path}: {report.lines:,} lines, batches of {report.batch}{beam}, {threads}, {report.rounds} rounds"
    table = Table(title=Text(title), title_justify="left")
    equal = "equal" if report.unit == "tokens" else "least cosine"
    for column in ("work", "system", f"{report.unit}/s", "least to most", "p50 / p95 ms", equal, "MB", "load s"):
        table.add_column(
            column, justify="left" if column in ("work", "system") else "right", no_wrap=column == "system"
        )
    for row in report.rows:
        latency = "" if row.p50_ms is None or row.p95_ms is None else f"{row.p50_ms:.1f} / {row.p95_ms:.1f}"
        same = f"{row.equal:.1%}" if report.unit == "tokens" else f"{row.equal:.5f}"
        peak = "" if row.peak_mb is None else f"{row.peak_mb:,.0f}"
        table.add_row(
            row.work, row.system, f"{row.speed:,.0f}", f"{row.least:,.0f} to {row.most:,.0f}", latency, same, peak,
            f"{row.load_seconds:.1f}",
        )  # fmt: skip
    out = Console(highlight=False)
    out.print(table)
    for work, ratio in report.ratios().items():
        out.print(f"{work}: {ratio:.2f} times as fast as the best other system")
    for name, reason in report.missing.items():
        out.print(Text(f"{name} did not take part: {reason}"), soft_wrap=True)
