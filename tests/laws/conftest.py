"""A law is a test function of a `case`; here it meets its cases.

Laws of layers meet every pair of kinds of settings. Those of search and training, which see a model through a step or
a loss alone, meet every value: their module says so, `CASES = every_value`. Under `slow` the first meet every three,
the others every pair; see `test_every_three`.
"""

import jaxtyping
import pytest
import torch

from onehop.nn.attention.selects import Gumbel, Hard
from tests.fixtures.tiny import one_thread
from tests.laws.cases import axes, entries, every_pair, every_value

__all__ = ["one_thread"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", getattr(metafunc.module, "CASES", every_pair)(), ids=str)


@pytest.fixture(autouse=True)
def shapes(request: pytest.FixtureRequest) -> None:
    """Check shape annotations in the cases that hold every value, where a law passes through every layer and state."""
    case = request.node.callspec.params.get("case") if hasattr(request.node, "callspec") else None
    checked = getattr(request.module, "SHAPES", False) and case in every_value()
    jaxtyping.config.update("jaxtyping_disable", not checked)


@pytest.fixture(autouse=True)
def no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing: what a law compares are two ways to one result, and they would draw apart. Dropout is 0 as well."""
    monkeypatch.setattr(Gumbel, "noise", lambda self, scores: torch.zeros_like(scores))
    monkeypatch.setattr(Hard, "draw", lambda self, weights: weights.argmax(-1, keepdim=True))
    monkeypatch.setattr(
        Hard, "averaged", lambda self, scores: scores.new_zeros(scores.size(0), *[1] * (scores.dim() - 1)) > 0
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for family in entries():
        few = sum(case.family == family for case in every_pair())
        terminalreporter.write_line(
            f"laws: {family}: {few} combinations hold every value and every pair of kinds of {len(axes(family))} axes; "
            "-m slow takes every three, and every pair of values"
        )
