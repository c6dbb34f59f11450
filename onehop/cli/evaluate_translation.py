"""`onehop evaluate` of a translation: what is read, what it is compared with, and how a report is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onehop.errors import ConfigError, DataError

if TYPE_CHECKING:
    from onehop.data import Columns
    from onehop.evaluate import Report, System
    from onehop.tasks import Translator


@dataclass(frozen=True)
class Texts:
    """What a model is evaluated on.

    Args:
        sources: Lines to translate.
        references: Their translations.
        name: Of the file, for messages.
    """

    sources: list[str]
    references: list[str]
    name: str


def read_texts(source: str | None, reference: str | None, data: str | None, columns: Columns) -> Texts:
    """Read the texts of two files, or of a table.

    Raises:
        ConfigError: Neither is given, or both, or one column alone is named.
        DataError: The files have not as many lines.
    """
    from onehop.data import read_table
    from onehop.files import read_lines

    if bool(columns.source) != bool(columns.target):
        raise ConfigError(
            "one column named", "Give --source-column and --target-column, or neither.", "onehop evaluate"
        )
    if data and not (source or reference):
        pairs = list(read_table(data, columns))
        return Texts([pair.source for pair in pairs], [pair.target for pair in pairs], data)
    if source and reference and not data:
        sources, references = list(read_lines(source)), list(read_lines(reference))
        if len(sources) != len(references):
            raise DataError(
                f"{len(sources)} lines, but {len(references)} in {reference}",
                "Give one reference a line.",
                source,
            )
        return Texts(sources, references, source)
    raise ConfigError("nothing to evaluate on", "Give --source and --reference, or --data.", "onehop evaluate")


def other_system(against: str, texts: Texts, beam: int | None, long: Any, load: Callable[[str], Translator]) -> System:
    """Return the other system's translations: of a file, or made by another model as its own package says.

    Raises:
        DataError: The file has not a line for each source.
    """
    from onehop.cli.options import decoding
    from onehop.evaluate import System, run
    from onehop.files import read_lines

    sources = texts.sources
    if not Path(against).is_file():
        other = load(against)
        decode = decoding(other.settings.decode, beam, None)
        return run(other, sources, name=against, decode=decode, long=long, where=texts.name)
    lines = list(read_lines(against))
    if len(lines) != len(sources):
        raise DataError(f"{len(lines)} lines, but {len(sources)} sources", "Give one for each line.", against)
    return System(against, lines)


def show(report: Report, output: Path | None, as_json: bool) -> None:
    """Print a report, and write its translations where they are wanted."""
    from onehop.cli import console
    from onehop.files import new_text

    if output:
        with new_text(output) as out:
            out.writelines(console.flat(line) + "\n" for line in report.hypotheses)
    if as_json:
        console.print_json(report.to_dict())
    else:
        _print(report)


def _print(report: Report) -> None:
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
        (system.incomplete, "lines ended by decode.max_length"),
    )
    told = [f"{n} {what}" for n, what in counts if n] + (system.fates.told("lines") if system.fates else [])
    return [f"{system.name}: {'; '.join(how)}", *(f"{system.name}: {line}" for line in told)]
