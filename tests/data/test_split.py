"""Holding out validation pairs: no source on both sides, and a function of the text alone."""

import hashlib
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import onehop.data.store as module
from onehop.data import Pair, PairStore, hold_out

WORDS = st.sampled_from(["yes", "no", "\ud800", "שלום", "a\nb", "\0", *map(str, range(40))])


def filled(pairs) -> PairStore:
    store = PairStore()
    store.add(pairs, "pairs.tsv")
    return store


def numbered(count: int) -> list[Pair]:
    return [Pair(f"source {n}", f"target {n}") for n in range(count)]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.builds(Pair, WORDS, st.sampled_from("abc")), min_size=1, max_size=120))
def test_no_source_stands_on_both_sides(pairs):
    split = hold_out(filled(pairs))
    held = set(split.held.tolist())
    validating = [pair.source for pair in split.validation]
    training = {pair.source for number, pair in enumerate(pairs) if number not in held}
    assert not training & set(validating)
    assert {pairs[number].source for number in held} == set(validating)
    assert len(validating) == len(set(validating))
    assert len(held) <= len(pairs) / 5
    assert split.held.tolist() == sorted(held)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.builds(Pair, WORDS, st.sampled_from("abc")), min_size=10, max_size=80), st.randoms())
def test_the_order_of_the_lines_does_not_choose_the_sources(pairs, randoms):
    shuffled = randoms.sample(pairs, len(pairs))
    first, second = hold_out(filled(pairs)), hold_out(filled(shuffled))
    assert sorted(p.source for p in first.validation) == sorted(p.source for p in second.validation)


@pytest.mark.parametrize(
    ("size", "expected"), [(1, 0), (4, 0), (5, 1), (300, 60), (1_000, 200), (30_000, 300), (250_000, 2_000)]
)
def test_a_hundredth_validates_within_its_bounds(size, expected):
    split = hold_out(filled(numbered(size)))
    assert len(split.validation) == len(split.held) == expected


def test_the_smallest_hashes_are_held_out(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_PAIRS", 64)
    pairs = numbered(500)
    smallest = sorted(pairs, key=lambda pair: hashlib.sha256(pair.source.encode()).digest())[:100]
    split = hold_out(filled(pairs))
    assert split.validation == sorted(smallest, key=pairs.index)
    assert [pairs[number] for number in split.held] == split.validation


def test_a_source_with_several_targets_validates_with_its_first():
    pairs = [Pair(f"source {n % 500}", f"target {n}") for n in range(1_500)]
    random.Random(0).shuffle(pairs)
    split = hold_out(filled(pairs))
    for pair in split.validation:
        assert pair.target == next(target for source, target in pairs if source == pair.source)
    assert len(split.validation) == 100  # three pairs each: a fifth of the corpus
    assert np.array_equal(split.held, [n for n, p in enumerate(pairs) if p.source in dict(split.validation)])


def test_a_source_that_is_half_of_the_corpus_keeps_training():
    frequent = min(numbered(600), key=lambda pair: hashlib.sha256(pair.source.encode()).digest())
    split = hold_out(filled([*numbered(600), *[frequent] * 600]))
    assert frequent.source not in dict(split.validation)
    assert len(split.validation) == 200


def test_a_longer_corpus_keeps_validation_sources():
    few, many = (dict(hold_out(filled(numbered(size))).validation) for size in (1_000, 1_100))
    assert len(few.keys() & many.keys()) > 150
