"""The laws once more, where every three settings meet: those of layers; and where every two do: of search and training.

The whole product is beyond all bounds. What goes wrong needs one setting or two, and seldom three, so cases that hold
every three values of different kinds find more than thousands that are drawn.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from inspect import signature
from pathlib import Path

import jaxtyping
import pytest
import torch

from tests.laws.cases import Case, every_pair_of_values, every_three, every_value

Law = Callable[[Case], None]


def laws() -> Iterator[tuple[Law, Callable[[], list[Case]]]]:
    """Find the laws, which are the tests that take a case and nothing else, and the cases that each is to meet."""
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        if file.stem != Path(__file__).stem:
            module = import_module(f"tests.laws.{file.stem}")
            cases = every_pair_of_values if getattr(module, "CASES", None) is every_value else every_three
            for name, value in sorted(vars(module).items()):
                if name.startswith("test_") and "case" in signature(value).parameters:
                    yield value, cases


def test_every_law_takes_a_case_alone():
    found = [law for law, _ in laws()]
    assert len(found) >= 25
    assert all(list(signature(law).parameters) == ["case"] for law in found)


@pytest.fixture
def without_shape_checks() -> Iterator[None]:
    """Make no checks that the quick run has made, which take most of the time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.slow
@pytest.mark.parametrize(("law", "cases"), list(laws()), ids=lambda value: value.__name__)
def test_the_law_holds_where_many_settings_meet(law: Law, cases: Callable[[], list[Case]], without_shape_checks: None):
    for case in cases():
        torch.manual_seed(0)
        try:
            law(case)
        except BaseException as error:
            error.add_note(f"in case {case}")
            raise
