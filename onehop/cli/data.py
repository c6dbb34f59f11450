"""`onehop data`: what is wrong with a corpus, before a training finds out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from onehop.cli.options import Json
from onehop.errors import ConfigError

if TYPE_CHECKING:
    from onehop.data.check import Coverage, Diagnosis, Report

Files = list[str]
app = typer.Typer(no_args_is_help=True, help="Look at data.")
STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


@app.callback()
def group() -> None:
    """Look at data: `onehop data check`."""


@app.command()
def check(
    source: Annotated[Files | None, typer.Option("--source", help="Source lines.")] = None,
    target: Annotated[Files | None, typer.Option("--target", help="Target lines.")] = None,
    pairs: Annotated[Files | None, typer.Option("--pairs", help="Pairs, in any form that train reads.")] = None,
    valid_source: Annotated[Files | None, typer.Option("--valid-source", help="Validation sources.")] = None,
    valid_target: Annotated[Files | None, typer.Option("--valid-target", help="Validation targets.")] = None,
    valid_pairs: Annotated[Files | None, typer.Option("--valid-pairs", help="Validation pairs.")] = None,
    test_source: Annotated[Files | None, typer.Option("--test-source", help="Test sources.")] = None,
    test_target: Annotated[Files | None, typer.Option("--test-target", help="Test targets.")] = None,
    test_pairs: Annotated[Files | None, typer.Option("--test-pairs", help="Test pairs.")] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Labelled text: a table, .conll, or questions in .json.")
    ] = None,
    valid: Annotated[str | None, typer.Option("--valid", help="Labelled text for validation, beside --data.")] = None,
    test: Annotated[str | None, typer.Option("--test", help="Labelled text for a test, beside --data.")] = None,
    label: Annotated[str, typer.Option("--label", help="Column of labels; default: found by its name.")] = "",
    separator: Annotated[
        str | None, typer.Option("--label-separator", help="Between several labels of a cell; default: found.")
    ] = None,
    text: Annotated[Files | None, typer.Option("--text", help="Column of texts; default: found by its name.")] = None,
    source_column: Annotated[str, typer.Option("--source-column", help="Column of sources in tables.")] = "",
    target_column: Annotated[str, typer.Option("--target-column", help="Column of targets in tables.")] = "",
    model: Annotated[str | None, typer.Option("--model", help="A model whose tokenizer is to fit.")] = None,
    near: Annotated[bool, typer.Option("--near", help="Look for near duplicates, too.")] = False,
    fix: Annotated[str | None, typer.Option("--fix", help="New folder for a cleaned copy.")] = None,
    as_json: Json = False,
) -> None:
    """Look for what would ruin a training; exit 1 where there is such a thing.

    Shifted lines, swapped sides, leaks into the test data, broken encoding, wrong languages, labels.
    """
    from onehop.cli import console
    from onehop.data.check import check_pairs, clean, clean_labels, diagnose_labels, mostly_dropped

    given = {
        "train": (source, target, pairs),
        "valid": (valid_source, valid_target, valid_pairs),
        "test": (test_source, test_target, test_pairs),
    }
    others = {name: file for name, file in (("valid", valid), ("test", test)) if file}
    if others and not data:
        raise ConfigError(
            "labelled text without any to train on", "Give it with --data.", " and ".join(f"--{n}" for n in others)
        )
    if data:
        if any(any(files) for files in given.values()):
            raise ConfigError("labelled text goes alone", "Give --data, or pairs of texts.", "--data")
        coverage = _coverage(model, pairs=False) if model else None
        found = diagnose_labels(
            data, label=label, texts=text or [], others=others, separator=separator, near=near, coverage=coverage
        )
        report, written = found.report, clean_labels(found, fix) if fix else None
    else:
        diagnosis = _pairs(given, (source_column, target_column), model, near, check_pairs)
        report, written = diagnosis.report, clean(diagnosis, fix) if fix else None
    if as_json:
        console.print_json({**report.to_dict(), "written": written})
    else:
        _show(report, written)
    for line in mostly_dropped(report, written or {}):
        console.tell(f"warning: {line}")
    if not report.sound:
        raise typer.Exit(1)


def _pairs(
    given: dict[str, tuple[Files | None, Files | None, Files | None]], columns: tuple[str, str], model: str | None,
    near: bool, run: Any,
) -> Diagnosis:  # fmt: skip
    """Check parallel text."""
    from onehop.data import Columns
    from onehop.data.check import Input

    if bool(columns[0]) != bool(columns[1]):
        raise ConfigError("one column named", "Give --source-column and --target-column, or neither.", "data check")
    inputs: dict[str, list[Input]] = {}
    for split, (source, target, tables) in given.items():
        if len(source or []) != len(target or []):
            raise ConfigError(f"{split}: a target is missing for a source", "Give as many of both.", "data check")
        files = [Input(*both) for both in zip(source or [], target or [], strict=True)]
        files += [Input(file, columns=Columns(*columns)) for file in tables or []]
        if files:
            inputs[split] = files
    if "train" not in inputs:
        raise ConfigError("nothing to check", "Give --source and --target, --pairs, or --data.", "data check")
    return run(inputs, near=near, coverage=_coverage(model, pairs=True) if model else None)


def _coverage(model: str, *, pairs: bool) -> Coverage:
    """Return what looks at texts, or at the sides of pairs, with a model's tokenizers."""
    from onehop.data.check import Coverage
    from onehop.tasks import load_package

    task: Any = load_package(model, task="translation" if pairs else None).task
    if pairs:
        return Coverage((task.source_tokenizer, task.target_tokenizer), task.settings.text.max_length)
    tokenizer = task.source_tokenizer if task.task == "translation" else task.tokenizer
    return Coverage((tokenizer,), task.settings.text.max_length)


def _show(report: Report, written: dict[str, dict[str, int]] | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = Console(markup=False)
    for name, columns in report.columns.items():
        out.print(f"{name}: {', '.join(map(repr, columns))}", soft_wrap=True)
    sizes = ", ".join(f"{size:,} {split}" for split, size in report.pairs.items())
    table = Table(title=f"lines: {sizes}", title_justify="left")
    for column in ("finding", "split", "lines", "share", "what, where, and what to do"):
        table.add_column(column, justify="right" if column in ("lines", "share") else "left")
    for finding in report.findings:
        rows = [finding.kind.what, finding.detail, ", ".join(finding.lines), finding.kind.remedy]
        table.add_row(
            Text(f"{finding.severity}\n{finding.name}", STYLES[finding.severity]), finding.split, f"{finding.count:,}",
            f"{finding.share:.2%}", Text("\n".join(filter(None, rows))),
        )  # fmt: skip
    if report.findings:
        out.print(table)
    for one in report.coverage:
        out.print(_covered(one), soft_wrap=True)
    for split, counts in (written or {}).items():
        out.print(f"{split}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()), soft_wrap=True)
    for line in report.unchecked:
        out.print(f"not checked: {line}", soft_wrap=True)
    verdict = "nothing that ruins a run" if report.sound else "some of this ruins a run"
    out.print(f"{verdict} (checked: {', '.join(report.checked)})", soft_wrap=True)


def _covered(one: dict[str, Any]) -> str:
    """Return how a tokenizer cuts one side, for people."""
    pieces, words = max(1, one["pieces"]), max(1, one["words"])
    foreign = "bytes" if one["bytes"] or not one["unknown"] else "unknown"
    return (
        f"tokenizer, {one['side']}: {one['pieces']:,} pieces, {one['pieces'] / words:.2f} a word, "
        f"{one['characters'] / pieces:.2f} characters each, {one[foreign] / pieces:.2%} {foreign}"
    )
