"""A law is a test function of a `case`; here it meets every case."""

import pytest

from tests.laws.cases import axes, entries, every_combination, every_pair


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", every_pair(), ids=str)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tested, possible = every_pair(), every_combination()
    for family in entries():
        counts = [sum(case.family == family for case in cases) for cases in (tested, possible)]
        terminalreporter.write_line(
            f"laws: {family}: {counts[0]} combinations hold every pair of {len(axes(family))} axes; "
            f"{counts[1]} in the full product (-m slow)"
        )
