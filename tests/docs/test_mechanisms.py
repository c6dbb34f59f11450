"""The page of mechanisms tells of every row of the lab what the lab tells."""

import re

from onehop.lab import ROWS
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "mechanisms.md"


def table() -> str:
    """Return the table as the page must have it; to renew it, print it."""
    lines = ["| id | what it is | source | check |", "|---|---|---|---|"]
    for name, row in ROWS.items():
        parts = (check.partition(":") for check in row.checks.values())
        checks = [f"{tier}: `onehop/lab/{module}.py`, `{function}`"
                  for tier, (module, _, function) in zip(row.checks, parts, strict=True)]  # fmt: skip
        missing = [f"not {'checked' if checks else 'built'}: {row.missing}"] if row.missing else []
        lines.append(f"| {name} | {row.title} | {row.source} | {'; '.join(checks + missing)} |")
    return "\n".join(lines) + "\n"


def test_the_table_of_the_lab_is_that_of_its_rows():
    text = PAGE.read_text("utf-8")
    assert table() in text, f"put this into {PAGE.name}, under 'In the lab':\n{table()}"


def test_every_mechanism_of_the_page_is_a_row_that_has_a_check():
    built = re.findall(r"^\| ([A-Z]-\d\d) \|", PAGE.read_text("utf-8").partition("## In the lab")[0], re.M)
    assert len(built) >= 20
    assert [name for name in built if not ROWS[name].checks] == []
