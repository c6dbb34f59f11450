"""`onehop evaluate`: how good a model is on text with references."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onehop.cli.options import Beam, Device, Json, Long, Settings, Threads
from onehop.errors import ConfigError, DataError

if TYPE_CHECKING:
    from onehop.evaluate import Report


def evaluate(
    model: Annotated[str, typer.Argument(help="A run, a package, or a bundled name.")],
    source: Annotated[str | None, typer.Option("--source", help="Source lines.")] = None,
    reference: Annotated[str | None, typer.Option("--reference", help="Reference lines.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="Pairs: .tsv, .txt or .jsonl.")] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Another model, or a file of its translations.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the translations there.")] = None,
    beam: Beam = None,
    tokenize: Annotated[str | None, typer.Option("--tokenize", help="sacreBLEU's tokenizer.")] = None,
    as_json: Json = False,
    long: Long = "error",
    settings: Settings = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Translate and score: BLEU and chrF with 95 % intervals, by length, and against another system."""
    from onehop.cli import console
    from onehop.cli.options import decoding, policy, use
    from onehop.evaluate import evaluate as run
    from onehop.files import new_text
    from onehop.tasks import load_translator

    chosen, device = policy(long), use(threads, device)
    sources, references, name = _read(source, reference, data)
    translator = load_translator(model)
    translator.model.to(device)
    rival = None
    if against:
        rival = against, _translations(against, sources, beam, chosen, name, device)
        if len(rival[1]) != len(sources):
            raise DataError(f"{len(rival[1])} lines, but {len(sources)} sources", "Give one for each line.", against)
    report = run(
        translator, sources, references, decode=decoding(translator.settings.decode, beam, settings), tokenize=tokenize,
        long=chosen, where=name, against=rival,
    )  # fmt: skip
    if output:
        with new_text(output) as out:
            out.writelines(console.flat(line) + "\n" for line in report.hypotheses)
    if as_json:
        console.print_json(report.to_dict())
    else:
        _show(report)


def _read(source: str | None, reference: str | None, data: str | None) -> tuple[list[str], list[str], str]:
    from onehop.data import read_table
    from onehop.files import read_lines

    if data and not (source or reference):
        pairs = list(read_table(data))
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


def _translations(against: str, sources: list[str], beam: int | None, long: Any, where: str, device: str) -> list[str]:
    """Return the other system's translations: of a file, or made by another model."""
    from onehop.cli.options import decoding
    from onehop.files import read_lines
    from onehop.tasks import load_translator

    if Path(against).is_file():
        return list(read_lines(against))
    other = load_translator(against)
    other.model.to(device)
    found = other.translate(sources, decoding(other.settings.decode, beam, None), split=False, long=long, where=where)
    return [translation.text for translation in found]


def _show(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    values = report.to_dict()
    table = Table(title=f"{report.lines:,} lines in {report.seconds:.1f} s", title_justify="left")
    for column in ("", "score", "95 % interval"):
        table.add_column(column, justify="left" if not column else "right")
    for name, score in (("BLEU", "bleu"), ("chrF", "chrf")):
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
        for name in ("bleu", "chrf"):
            sign = f"{rival[f'{name}_difference']:+.2f}"
            out.print(f"against {rival['name']} ({rival[name]:.2f} {name}): {sign}, p = {rival[f'{name}_p']:.3f}")
    for count, what in (
        (report.dropped, "too long and left out"),
        (report.cut, "too long and cut"),
        (report.incomplete, "ended by decode.max_length"),
    ):
        if count:
            out.print(f"{count} lines {what}")
    out.print(f"BLEU {report.bleu.signature}\nchrF {report.chrf.signature}", soft_wrap=True)
