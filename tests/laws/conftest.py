"""A law is a test function of a `case`; here it meets its cases.

Laws of layers meet every pair of settings. Those of search and training, which see a model through a step or a loss
alone, meet every value: their module says so, `CASES = every_value`. Under `slow` each meets every combination.
"""

import jaxtyping
import pytest
import torch

from onehop.nn.attention.selects import Gumbel, Hard
from tests.fixtures.tiny import one_thread
from tests.laws.cases import axes, entries, every_combination, every_pair, every_value, is_whole

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
    tested, many = every_pair(), every_combination()
    for family in entries():
        counts = [sum(case.family == family for case in cases) for cases in (tested, many)]
        terminalreporter.write_line(
            f"laws: {family}: {counts[0]} combinations hold every pair of kinds of {len(axes(family))} axes, and every "
            f"value; {counts[1]} "
            f"{'are the full product' if is_whole(family) else 'drawn from the full product'} (-m slow)"
        )
