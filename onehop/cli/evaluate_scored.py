"""`onehop evaluate` of every task but translation: one mechanism, which asks a table what it must know of the task."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onehop.errors import ConfigError, DataError

if TYPE_CHECKING:
    from onehop.evaluate.scored import Scored, Shown

SCORED = {
    "classify": "onehop.evaluate.classification:SCORED",
    "multilabel": "onehop.evaluate.multilabel:SCORED",
    "regress": "onehop.evaluate.regression:SCORED",
    "tag": "onehop.evaluate.tagging:SCORED",
    "choose": "onehop.evaluate.choices:SCORED",
    "answer": "onehop.evaluate.answers:SCORED",
    "embed": "onehop.evaluate.embedding:SCORED",
}


@dataclass(frozen=True)
class Asked:
    """What somebody asks of `onehop evaluate`.

    Args:
        data: The file to score on.
        columns: Names of the columns of texts and of that of the labels; empty for those that are found.
        against: Another model, or a file of what it gave.
        output: Where to write what the model gave.
        as_json: Whether to print an object rather than tables.
        long: What to do with what is longer than the model's limit.
        allow_drift: Whether a model may do otherwise than when it was made.
        precision: Of the products.
        device: Where to run.
    """

    data: str | None
    columns: tuple[tuple[str, ...], str]
    against: str | None
    output: Path | None
    as_json: bool
    long: Any
    allow_drift: bool
    precision: str
    device: str


def evaluate_scored(task: str, model: str, asked: Asked) -> None:
    """Score a model on a file of examples with what is wanted of them."""
    from onehop.cli import console
    from onehop.cli.options import known_precision
    from onehop.files import new_text

    known_precision(asked.precision)
    module, _, attribute = SCORED[task].partition(":")
    scored: Scored = getattr(import_module(module), attribute)
    loaded = _loaded(scored, model, asked, drift=True)
    if asked.data is None:
        raise ConfigError("nothing to evaluate on", f"Give --data: {scored.needs}.", "onehop evaluate")
    examples = scored.read(asked.data, asked.columns, loaded)
    if not len(examples):
        raise DataError(
            f"nothing in it: it must hold {scored.needs}", "Check that this is the file you meant.", asked.data
        )
    rival = None
    if asked.against and Path(asked.against).is_file():
        rival = scored.theirs(asked.against, loaded)
    elif asked.against:
        other = _loaded(scored, asked.against, asked)
        rival = scored.run(other, examples, name=asked.against, long=asked.long)
    report = scored.judge(loaded, examples, long=asked.long, against=rival)
    if asked.output:
        with new_text(asked.output) as out:
            out.writelines(scored.line(one, loaded) for one in report.system.each)
    if asked.as_json:
        console.print_json(report.to_dict())
    else:
        show(report.shown())


def _loaded(scored: Scored, model: str, asked: Asked, *, drift: bool = False) -> Any:
    from onehop.cli.options import faster, tell_drift
    from onehop.tasks import load_package

    task = load_package(model, task=scored.task, allow_drift=asked.allow_drift, device=asked.device).task
    if drift:
        tell_drift(task.drift)
    return faster(task, asked.precision)


def show(report: Shown) -> None:
    """Print a report."""
    from rich.console import Console
    from rich.table import Table

    out = Console(markup=False)
    for grid in report.grids:
        table = Table(title=grid.title, title_justify="left")
        for place, column in enumerate(grid.head):
            table.add_column(column, justify="left" if place in grid.left else "right")
        for row in grid.rows:
            table.add_row(*row)
        out.print(table)
    for note in report.notes:
        out.print(note, soft_wrap=True)
