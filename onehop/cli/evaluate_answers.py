"""`onehop evaluate` of a model that answers questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onehop.errors import ConfigError

if TYPE_CHECKING:
    from onehop.evaluate.answers import AnswerReport


def evaluate_answerer(
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
    """Answer the questions of a file, and score; see `evaluate_classifier` for the arguments."""
    from onehop.cli import console
    from onehop.cli.options import faster, known_precision, tell_drift
    from onehop.data.questions import read_questions
    from onehop.evaluate.answers import answer, evaluate_answers, read_answers, to_line
    from onehop.files import new_text
    from onehop.tasks import load_package

    known_precision(precision)
    if columns[0] or columns[1]:
        raise ConfigError("questions have no columns", "Leave it out.", "--text-column or --label-column")
    answerer = load_package(model, task="answer", allow_drift=allow_drift, device=device).task
    tell_drift(answerer.drift)
    answerer = faster(answerer, precision)
    if data is None:
        raise ConfigError("nothing to evaluate on", "Give --data: questions with answers.", "onehop evaluate")
    questions = list(read_questions(data))
    rival = None
    if against and Path(against).is_file():
        rival = read_answers(against)
    elif against:
        other = faster(load_package(against, task="answer", allow_drift=allow_drift, device=device).task, precision)
        rival = answer(other, questions, name=against, long=long, where=data)
    report = evaluate_answers(answerer, questions, long=long, where=data, against=rival)
    if output:
        with new_text(output) as out:
            out.writelines(map(to_line, report.system.answers))
    if as_json:
        console.print_json(report.to_dict())
    else:
        _show(report)


def _show(report: AnswerReport) -> None:
    from rich.console import Console
    from rich.table import Table

    from onehop.cli.evaluate_labels import as_percent, as_range, tell_long

    out, result = Console(markup=False), report.result
    seconds = f" in {report.system.seconds:.1f} s" if report.system.seconds is not None else ""
    table = Table(title=f"{len(report.system.answers):,} questions{seconds}", title_justify="left")
    for column in ("", "score", "95 % interval"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("exact match", as_percent(result.exact), as_range(result.intervals["exact"]))
    table.add_row("F1", as_percent(result.f1), as_range(result.intervals["f1"]))
    out.print(table)
    if len(result.by_kind) > 1:
        for name, (count, exact, mean) in result.by_kind.items():
            out.print(f"{name}: {count:,} questions, exact match {as_percent(exact)}, F1 {as_percent(mean)}")
    if report.rival:
        system, other, difference, chance = report.rival
        line = f"against {system.name} (F1 {as_percent(other.f1)}): {100 * difference:+.1f}, p = {chance:.3f}"
        out.print(line, soft_wrap=True)
    tell_long(out, report.system, "contexts")
