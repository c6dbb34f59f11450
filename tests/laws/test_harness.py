import math
import types
from functools import partial
from itertools import combinations, product
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehop.errors import ConfigError
from onehop.models.registry import architecture, names
from tests.laws.cases import ENTRIES, Case, axes, entries, every_pair, some_rows
from tests.laws.combinations import covering, pairwise


def test_every_registered_family_has_an_entry():
    assert sorted(ENTRIES) == sorted(names())


def choices(annotation: Any) -> set[Any]:
    """Return the values a setting can have, if they are few."""
    if annotation is bool:
        return {True, False}
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        found = [choices(part) for part in get_args(annotation) if part is not type(None)]
        return set().union({None}, *found) if all(found) else set()
    return set()


@pytest.mark.parametrize("family", names())
def test_every_setting_with_few_values_is_an_axis_with_all_of_them(family: str):
    known = architecture(family)
    for key, setting in known.config.model_fields.items():
        assert choices(setting.annotation) <= set(known.axes.get(key, ())), key
    assert set(known.axes) <= set(known.config.model_fields)


@pytest.mark.parametrize("family", names())
def test_combinations_that_fit_no_model_are_refused_with_a_remedy(family: str):
    refused = [row for row in pairwise(axes(family)) if ENTRIES[family].refused(row)]
    for row in refused:
        with pytest.raises(ConfigError) as caught:
            Case(family, row).build()
        assert caught.value.remedy or "use " in str(caught.value)
    assert refused


@pytest.mark.slow
def test_every_combination_is_built_or_refused_as_the_harness_expects():
    for family in entries():
        for row in some_rows(family):
            try:
                Case(family, row).build()
                built = True
            except ConfigError:
                built = False
            assert built is not ENTRIES[family].refused(row), row


def test_few_cases_stand_for_all_of_them():
    for family in entries():
        tested = sum(case.family == family for case in every_pair())
        assert tested * 20 < math.prod(len(values) for values in axes(family).values())


small_axes = st.dictionaries(
    st.sampled_from("abcde"),
    st.lists(st.integers(0, 4), min_size=1, max_size=4, unique=True),
    min_size=3,
)


WAYS = {
    "greedy, 2": (pairwise, 2),
    "drawn, 2": (partial(covering, strength=2), 2),
    "drawn, 3": (partial(covering, strength=3), 3),
}


@pytest.mark.parametrize(("rows_of", "strength"), WAYS.values(), ids=WAYS)
@given(found=small_axes)
def test_few_rows_hold_every_combination_of_so_many_axes(rows_of: Any, strength: int, found: dict[str, list[int]]):
    rows = rows_of(found)
    for group in combinations(found, strength):
        held = {tuple(row[name] for name in group) for row in rows}
        assert held == set(product(*(found[name] for name in group)))
    assert all(list(row) == list(found) for row in rows)
    assert rows == rows_of(found)


@pytest.mark.parametrize(("rows_of", "strength"), WAYS.values(), ids=WAYS)
@given(found=small_axes)
def test_few_rows_hold_every_combination_that_is_not_refused(rows_of: Any, strength: int, found: dict[str, list[int]]):
    first, second = list(found)[:2]
    worst = (found[first][0], found[second][0])

    def refused(row: dict[str, int]) -> bool:
        return (row.get(first), row.get(second)) == worst

    free = len(found[first]) > 1 and len(found[second]) > 1
    rows = rows_of(found, refused=refused) if free else []
    assert not any(refused(row) for row in rows)
    for group in combinations(found, strength) if free else []:
        held = {tuple(row[name] for name in group) for row in rows}
        wanted = product(*(found[name] for name in group))
        assert held == {values for values in wanted if not refused(dict(zip(group, values, strict=True)))}
