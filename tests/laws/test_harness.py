import math
import types
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onehop.errors import ConfigError
from onehop.models.registry import architecture, names
from tests.laws.cases import ENTRIES, Case, axes, entries, every_pair, some_rows
from tests.laws.combinations import pairwise


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
    min_size=2,
)


@settings(deadline=None)
@given(small_axes)
def test_pairwise_rows_hold_every_pair(found: dict[str, list[int]]):
    rows = pairwise(found)
    for a in found:
        for b in found:
            for x in found[a]:
                for y in found[b]:
                    assert a == b or any(row[a] == x and row[b] == y for row in rows)
    assert all(list(row) == list(found) for row in rows)


@settings(deadline=None)
@given(small_axes)
def test_pairwise_rows_hold_every_pair_that_is_not_refused(found: dict[str, list[int]]):
    first, second = list(found)[:2]
    worst = (found[first][0], found[second][0])

    def refused(row: dict[str, int]) -> bool:
        return (row.get(first), row.get(second)) == worst

    free = len(found[first]) > 1 and len(found[second]) > 1
    rows = pairwise(found, refused) if free else []
    assert not any(refused(row) for row in rows)
    for x in found[first] if free else []:
        for y in found[second]:
            assert (x, y) == worst or any((row[first], row[second]) == (x, y) for row in rows)
