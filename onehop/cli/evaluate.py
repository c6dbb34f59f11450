"""`onehop evaluate`: how good a model is on text with references."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onehop.cli.options import (
    AllowDrift,
    Beam,
    Device,
    Ensemble,
    Json,
    LabelColumn,
    Long,
    Precision,
    Settings,
    Tag,
    TextColumns,
    Threads,
)
from onehop.errors import ConfigError, DataError

if TYPE_CHECKING:
    from onehop.data import Columns
    from onehop.evaluate import Report, System


def evaluate(
    model: Annotated[str, typer.Argument(help="A run, a package, or a bundled name.")],
    source: Annotated[str | None, typer.Option("--source", help="Source lines.")] = None,
    reference: Annotated[str | None, typer.Option("--reference", help="Reference lines.")] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Pairs, or labelled texts, in any form that `train` reads.")
    ] = None,
    text_columns: TextColumns = None,
    label_column: LabelColumn = "",
    source_column: Annotated[str, typer.Option("--source-column", help="Column of sources in --data.")] = "",
    target_column: Annotated[str, typer.Option("--target-column", help="Column of references in --data.")] = "",
    against: Annotated[
        str | None, typer.Option("--against", help="Another model, or a file of its translations or labels.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the translations or labels there.")
    ] = None,
    ensemble: Ensemble = None,
    beam: Beam = None,
    tokenize: Annotated[str | None, typer.Option("--tokenize", help="sacreBLEU's tokenizer.")] = None,
    as_json: Json = False,
    long: Long = "error",
    tag: Tag = "",
    settings: Settings = None,
    allow_drift: AllowDrift = False,
    device: Device = "cpu",
    precision: Precision = "float32",
    threads: Threads = None,
) -> None:
    """Translate or classify, and score: with 95 % intervals, by length or label, and against another system.

    Translations by BLEU, chrF and TER; labels by accuracy and F1, beside what the most frequent label would reach.
    """
    from onehop.cli import console
    from onehop.cli.evaluate_labels import evaluate_classifier
    from onehop.cli.options import decoding, loaded, policy, task_of, use
    from onehop.data import Columns
    from onehop.evaluate import evaluate as run
    from onehop.files import new_text

    chosen, device = policy(long), use(threads, device)
    if task_of(model) == "classify":
        other = {
            "--source": source, "--reference": reference, "--source-column": source_column,
            "--target-column": target_column, "--ensemble": ensemble, "--beam": beam, "--tokenize": tokenize,
            "--tag": tag, "--set": settings, "--precision": "" if precision == "float32" else precision,
        }  # fmt: skip
        _refuse(other, "a classifier", "Give --data.")
        columns = tuple(text_columns or ()), label_column
        evaluate_classifier(model, data, columns, against, output, as_json, chosen, allow_drift, device)
        return
    _refuse({"--text-column": text_columns, "--label-column": label_column}, "a translation", "Leave it out.")
    translator = loaded(model, ensemble, device, allow_drift, precision)
    decode = decoding(translator.settings.decode, beam, settings)
    languages = translator.settings.source_language, translator.settings.target_language
    sources, references, name = _read(source, reference, data, Columns(source_column, target_column, *languages))
    rival = None
    if against:
        rival = _other(against, sources, beam, chosen, name, device, allow_drift, precision)
        if len(rival.texts) != len(sources):
            raise DataError(f"{len(rival.texts)} lines, but {len(sources)} sources", "Give one for each line.", against)
    report = run(
        translator, sources, references, decode=decode, tokenize=tokenize, long=chosen, where=name, against=rival,
        tag=tag,
    )  # fmt: skip
    if output:
        with new_text(output) as out:
            out.writelines(console.flat(line) + "\n" for line in report.hypotheses)
    if as_json:
        console.print_json(report.to_dict())
    else:
        _show(report)


def _refuse(options: dict[str, Any], task: str, remedy: str) -> None:
    """Refuse options that the model's task has no use for."""
    for name, value in options.items():
        if value:
            raise ConfigError(f"{name} says nothing to {task}", remedy, name)


def _read(
    source: str | None, reference: str | None, data: str | None, columns: Columns
) -> tuple[list[str], list[str], str]:
    from onehop.data import read_table
    from onehop.files import read_lines

    if bool(columns.source) != bool(columns.target):
        raise ConfigError(
            "one column named", "Give --source-column and --target-column, or neither.", "onehop evaluate"
        )
    if data and not (source or reference):
        pairs = list(read_table(data, columns))
        return [pair.source for pair in pairs], [pair.target for pair in pairs], data
    if source and reference and not data:
        sources, references = list(read_lines(source)), list(read_lines(reference))
        if len(sources) != len(references):
            raise DataError(
                f"{len(sources)} lines, but {len(references)} in {reference}",
                "Give one reference a line.",
                source,
            )
        return sources, references, source
    raise ConfigError("nothing to evaluate on", "Give --source and --reference, or --data.", "onehop evaluate")


def _other(
    against: str,
    sources: list[str],
    beam: int | None,
    long: Any,
    where: str,
    device: str,
    allow_drift: bool,
    precision: str,
) -> System:
    """Return the other system's translations: of a file, or made by another model as its own package says."""
    from onehop.cli.options import decoding, loaded
    from onehop.evaluate import System, run
    from onehop.files import read_lines

    if Path(against).is_file():
        return System(against, list(read_lines(against)))
    other = loaded(against, None, device, allow_drift, precision)
    return run(other, sources, name=against, decode=decoding(other.settings.decode, beam, None), long=long, where=where)


def _show(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    values = report.to_dict()
    table = Table(title=f"{report.lines:,} lines in {report.system.seconds:.1f} s", title_justify="left")
    for column in ("", "score", "95 % interval"):
        table.add_column(column, justify="left" if not column else "right")
    for name, score in NAMES.items():
        low, high = values[f"{score}_interval"]
        table.add_row(name, f"{values[score]:.2f}", f"{low:.2f} to {high:.2f}")
    out = Console(markup=False)
    out.print(table)
    lengths = Table(title="BLEU by source length", title_justify="left")
    for column in ("words", "lines", "BLEU"):
        lengths.add_column(column, justify="right")
    for b in report.by_length:
        lengths.add_row(
            f"{b.low} to {b.high}" if b.high else f"{b.low} and more", f"{b.lines:,}", f"{b.bleu.value:.1f}"
        )
    out.print(lengths)
    if report.rival:
        rival = values["against"]
        for name, score in NAMES.items():
            sign = f"{rival[f'{score}_difference']:+.2f}"
            out.print(f"against {rival['name']} ({rival[score]:.2f} {name}): {sign}, p = {rival[f'{score}_p']:.3f}")
    for system in (report.system, *([report.rival.system] if report.rival else [])):
        for line in _told(system):
            out.print(line, soft_wrap=True)
    out.print(f"BLEU {report.bleu.signature}\nchrF {report.chrf.signature}\nTER {report.ter.signature}", soft_wrap=True)


NAMES = {"BLEU": "bleu", "chrF": "chrf", "TER (lower is better)": "ter"}


def _told(system: System) -> list[str]:
    """Return lines about how a system translated, and what went wrong."""
    from onehop.tasks import DecodeConfig

    if system.decode is None:
        how = ["a file of translations; how they were made is not known"]
    else:
        default = DecodeConfig().model_dump()
        changed = {key: value for key, value in system.decode.model_dump().items() if value != default[key]}
        shown = changed if system.decode.sample else {"beam_size": system.decode.beam_size, **changed}
        how = [f"{system.models} models together"] if (system.models or 1) > 1 else []
        how += [", ".join(f"decode.{key} = {value}" for key, value in shown.items())]
    how += [f"does not do what it did when it was made: {system.drift}"] if system.drift else []
    counts = (
        (system.empty, "translations are empty"),
        (system.dropped, "lines too long and left out"),
        (system.cut, "lines too long and cut"),
        (system.windows, "lines too long and translated in windows"),
        (system.incomplete, "lines ended by decode.max_length"),
    )
    return [f"{system.name}: {'; '.join(how)}", *(f"{system.name}: {n} {what}" for n, what in counts if n)]
