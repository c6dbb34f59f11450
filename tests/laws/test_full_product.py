"""Every law over every combination, where the other files take as many as hold every pair of values."""

from collections.abc import Callable, Iterator
from importlib import import_module
from inspect import signature
from pathlib import Path

import jaxtyping
import pytest
import torch

from tests.laws.cases import Case, every_combination


def laws() -> Iterator[Callable[[Case], None]]:
    """Find the laws: the tests that take a case and nothing else."""
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        if file.stem != Path(__file__).stem:
            module = import_module(f"tests.laws.{file.stem}")
            for name, value in sorted(vars(module).items()):
                if name.startswith("test_") and "case" in signature(value).parameters:
                    yield value


def test_every_law_takes_a_case_alone():
    found = list(laws())
    assert len(found) >= 25
    assert all(list(signature(law).parameters) == ["case"] for law in found)


@pytest.fixture
def without_shape_checks() -> Iterator[None]:
    """Make no checks that the quick run has made, which take most of the time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.slow
@pytest.mark.parametrize("law", list(laws()), ids=lambda law: law.__name__)
def test_the_law_holds_for_every_combination(law: Callable[[Case], None], without_shape_checks: None):
    for case in every_combination():
        torch.manual_seed(0)
        try:
            law(case)
        except BaseException as error:
            error.add_note(f"in case {case}")
            raise
