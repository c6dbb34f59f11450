"""Figures of search against their definitions, and intervals that hold them."""

import random

import pytest

from onehop.metrics.retrieval import bootstrap, compare, retrieval


def test_figures_are_their_definitions_on_random_places():
    draw = random.Random(1)
    places = [draw.randrange(0, 30) for _ in range(500)]
    found = retrieval(places)
    assert found.mrr == pytest.approx(sum(1 / place for place in places if place) / 500)
    assert found.accuracy == places.count(1) / 500
    assert found.hit_rate == sum(1 <= place <= 10 for place in places) / 500
    for name, interval in bootstrap(places).items():
        assert interval.low < getattr(found, name) < interval.high
    assert retrieval([]).to_dict() == {"mrr": 0.0, "accuracy": 0.0, "hit_rate": 0.0}


def test_a_system_that_is_not_better_is_not_told_as_better():
    draw = random.Random(2)
    ours = [draw.randrange(1, 20) for _ in range(300)]
    shuffled = random.Random(3).sample(ours, len(ours))
    difference, chance = compare(ours, shuffled)
    assert difference == pytest.approx(0)
    assert chance > 0.2
    better = [max(1, place - 3) for place in ours]
    difference, chance = compare(better, ours)
    assert difference > 0
    assert chance < 0.01
    assert compare(ours, better)[0] == -difference
