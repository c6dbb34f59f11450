"""Correlations and errors of numbers."""

import numpy as np
import pytest

from onehop.metrics.regression import bootstrap, compare, numbers, ranks


def test_figures_are_those_of_their_definitions():
    draw = np.random.default_rng(2)
    one, other = draw.normal(size=200), draw.normal(size=200)
    found = numbers(one.tolist(), other.tolist())
    assert found.pearson == pytest.approx(np.corrcoef(one, other)[0, 1])
    order = [np.argsort(np.argsort(x)) for x in (one, other)]
    assert found.spearman == pytest.approx(np.corrcoef(*order)[0, 1])
    assert found.rmse == pytest.approx(np.sqrt(np.mean((one - other) ** 2)))
    assert found.mean_rmse == pytest.approx(other.std())
    assert ranks(np.array([5.0, 5.0, 1.0])).tolist() == [1.5, 1.5, 0.0]


def test_a_constant_has_no_correlation_and_a_monotone_map_keeps_the_ranks():
    assert numbers([1.0] * 5, [1.0, 2, 3, 4, 5]).spearman == 0.0
    assert numbers([1.0, 8, 27, 64], [1.0, 2, 3, 4]).spearman == pytest.approx(1.0)


def test_the_interval_holds_the_figure_and_chance_is_told_from_more():
    draw = np.random.default_rng(3)
    wanted = draw.normal(size=100)
    good, bad = wanted + 0.2 * draw.normal(size=100), draw.normal(size=100)
    found = bootstrap(good.tolist(), wanted.tolist(), 200)["spearman"]
    assert found.low < numbers(good.tolist(), wanted.tolist()).spearman < found.high
    assert compare(good.tolist(), bad.tolist(), wanted.tolist(), 200).p_value < 0.05
    assert compare(good.tolist(), good.tolist(), wanted.tolist(), 200).p_value == 1.0
