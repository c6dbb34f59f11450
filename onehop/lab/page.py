"""The report of a run as one offline page: by chapter of the notes, each value beside threshold and reference."""

from __future__ import annotations

import inspect
import re
from html import escape
from pathlib import Path

from onehop.files import os_errors, to_json, write_text
from onehop.lab.experiments import Report
from onehop.lab.figures import draw
from onehop.lab.measured import Finding, Grid, Result
from onehop.lab.rows import CHAPTERS, ROWS, load_check

STYLE = Path(__file__).with_name("page.css")


def write(report: Report, folder: str | Path) -> Path:
    """Write `report.html` and `report.json` into a folder, which is made; return the page.

    Raises:
        FileError: They cannot be written.
    """
    folder = Path(folder)
    with os_errors(folder, "write"):
        folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "report.json", to_json(report.to_dict()))
    write_text(folder / "report.html", page(report))
    return folder / "report.html"


def page(report: Report) -> str:
    """Return the page.

    Example:
        >>> page(Report((), 0.0)).startswith("<!doctype html>")
        True
    """
    chapters = [_chapter(letter, report) for letter in CHAPTERS]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Onehop lab</title>'
        f"<style>{STYLE.read_text('utf-8')}</style><main>{_head(report)}{''.join(chapters)}{_foot(report)}</main></html>\n"
    )


def number(value: float) -> str:
    """Return a value as people write it: whole numbers whole, others with three digits.

    Example:
        >>> number(44140544.0), number(1e-06), number(0.125)
        ('44,140,544', '1e-06', '0.125')
    """
    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.3g}"


def _head(report: Report) -> str:
    values = sum(len(result.findings) for result in report.results)
    failed = sum(not result.passed for result in report.results)
    verdict = _word(not failed) if not failed else f'<b class="fail">{failed} FAIL</b>'
    ids = "".join(
        f'<a class="{"pass" if result.passed else "fail"}" href="#{_anchor(result)}">{result.row}</a>'
        for result in report.results
    )
    part = sum(bool(ROWS[result.row].missing) for result in report.results)
    partly = f" {part} of the rows are checked in part; each says what is missing." if part else ""
    return (
        f"<header><h1>Onehop lab</h1><p>{verdict} {len(report.results)} rows, {values} values, "
        f"{report.seconds:.0f} s.{partly} Every threshold was set before its check was "
        f"first run; where anything changed after that, it says what and why.</p><nav>{ids}</nav></header>"
    )


def _word(passed: bool) -> str:
    return '<b class="pass">PASS</b>' if passed else '<b class="fail">FAIL</b>'


def _anchor(result: Result) -> str:
    return f"{result.row}-{result.tier}"


def _chapter(letter: str, report: Report) -> str:
    shown = [_row(result) for result in report.results if result.row.startswith(letter)]
    if not shown:
        return ""
    missing = [
        f"<li><code>{name}</code> {escape(row.title)}: {escape(row.missing)}</li>"
        for name, row in ROWS.items()
        if name.startswith(letter) and not row.checks
    ]
    rest = f'<p class="missing">Not built:</p><ul class="missing">{"".join(missing)}</ul>' if missing else ""
    return f"<h2>{escape(CHAPTERS[letter])}</h2>{''.join(shown)}{rest}"


def _row(result: Result) -> str:
    row, check = ROWS[result.row], load_check(result.row, result.tier)
    file = check.__module__.replace(".", "/") + ".py"
    notes = f'<p class="error">{escape(result.error)}</p>' if result.error else ""
    notes += f'<p class="note">Not checked: {escape(row.missing)}.</p>' if row.missing else ""
    code = escape(inspect.getsource(check))
    return (
        f'<section id="{_anchor(result)}"><h3><span>{result.row}</span> {escape(row.title)} {_word(result.passed)}</h3>'
        f"{_docstring(inspect.getdoc(check) or '')}{_findings(result.findings)}{notes}"
        f"{''.join(map(_grid, result.grids))}"
        f"{''.join(f'<figure>{draw(f)}<figcaption>{escape(f.title)}</figcaption></figure>' for f in result.figures)}"
        f"<details><summary><code>{file}</code>, <code>{check.__name__}</code>, {result.tier}, "
        f"{result.seconds:.2f} s</summary><pre>{code}</pre></details></section>"
    )


def _docstring(text: str) -> str:
    """Return what a check says of its mechanism: a sentence, the formula, the source."""
    parts = re.split(r"^(Formula|Source):", text, flags=re.M)
    told = _prose(parts[0].split(", ", 1)[-1] if parts[0][:1].isupper() else parts[0])
    html = f"<p>{escape(told[:1].upper() + told[1:])}</p>"
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        kind = "formula" if name == "Formula" else "source"
        html += f'<p class="{kind}">{escape(_prose(body))}</p>'
    return html


def _prose(text: str) -> str:
    return " ".join(text.split()).replace("`", "")


def _findings(findings: tuple[Finding, ...]) -> str:
    rows = "".join(
        f'<tr class="{"" if finding.passed else "fail"}"><td>{escape(finding.threshold.what)}</td>'
        f'<td class="number">{number(finding.measured)}</td>'
        f'<td class="number">{escape(finding.threshold.compare)} {number(finding.threshold.value)}'
        f"<small>{escape(finding.threshold.why)}</small></td>"
        f"<td>{escape(finding.threshold.reference)}</td><td>{_word(finding.passed)}</td></tr>"
        for finding in findings
    )
    head = "<tr><th>measured<th>value<th>threshold<th>reference<th></tr>"
    return f'<div class="wide"><table class="findings">{head}{rows}</table></div>'


def _grid(grid: Grid) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in grid.head)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in grid.rows)
    return f'<div class="wide"><table><caption>{escape(grid.title)}</caption><tr>{head}</tr>{rows}</table></div>'


def _foot(report: Report) -> str:
    versions = ", ".join(f"{escape(name)} {escape(str(value))}" for name, value in report.to_dict()["versions"].items())
    return f"<footer>{versions}</footer>"
