"""Packed rows: every pair once and whole, within the budget, and little padding."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onehop.data import Batch
from onehop.data.packing import LONGEST_ROW, pack
from tests.data.test_batches import EOS, PAD, Letters, batches_of, corpus, epoch_of

LENGTHS = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), max_size=80)


def segments_of(tokens, segments, lengths) -> list[list[list[int]]]:
    """Return the sentences of each row, after a look at how they stand in it."""
    found = []
    for row, numbers, length in zip(tokens.tolist(), segments.tolist(), lengths.tolist(), strict=True):
        parts = defaultdict(list)
        for token, number in zip(row[:length], numbers[:length], strict=True):
            parts[number].append(token)
        assert numbers[:length] == sorted(numbers[:length])
        assert list(parts) == list(range(len(parts)))
        assert row[length:] == [PAD] * (len(row) - length)
        assert numbers[length:] == [-1] * (len(row) - length)
        assert all(part[-1] == EOS for part in parts.values())
        found.append([part[:-1] for part in parts.values()])
    return found


def pairs_of(batch: Batch) -> list[tuple[list[int], list[int]]]:
    sources = segments_of(batch.source, batch.source_segments, batch.source_lengths)
    targets = segments_of(batch.target, batch.target_segments, batch.target_lengths)
    assert [len(row) for row in sources] == [len(row) for row in targets]
    return [pair for rows in zip(sources, targets, strict=True) for pair in zip(*rows, strict=True)]


@pytest.mark.parametrize("batch_tokens", [1, 30, 400])
def test_an_epoch_holds_every_pair_once_and_whole_in_segments(batch_tokens):
    pairs = corpus(600)
    seen = []
    for batch in epoch_of(batches_of(pairs, packing=True, batch_tokens=batch_tokens)):
        seen += batch.pairs
        expected = [Letters().encode_batch(list(pairs[number])) for number in batch.pairs]
        assert [list(pair) for pair in pairs_of(batch)] == expected
        assert batch.num_targets == sum(len(pairs[number].target) + 1 for number in batch.pairs)
    assert sorted(seen) == list(range(600))


@settings(deadline=None, max_examples=80)
@given(LENGTHS, st.integers(1, 200), st.randoms())
def test_rows_are_filled_within_the_budget(lengths, budget, randoms):
    source, target = np.array(lengths, np.int64).reshape(-1, 2).T
    order = randoms.sample(range(len(lengths)), len(lengths))
    layouts = pack(order, source, target, budget)
    assert sorted(np.concatenate([[], *(layout.pairs for layout in layouts)])) == list(range(len(lengths)))
    for layout in layouts:
        assert layout.rows is not None
        for side in (source, target):
            totals = np.bincount(layout.rows, side[layout.pairs])
            assert (totals > 0).all()
            assert len(totals) * totals.max() <= budget or len(totals) == 1
            assert totals.max() <= budget or totals.max() <= max(source.max(), target.max())


def test_packing_leaves_less_padding_than_sorting_by_length():
    pairs, shares = corpus(16_000), []
    for packing in (False, True):
        epoch = epoch_of(batches_of(pairs, packing=packing, batch_tokens=2_048))
        shares.append(1 - sum(b.num_tokens for b in epoch) / sum(b.num_cells for b in epoch))
    assert shares[1] < shares[0]
    assert shares[1] < 0.06


def test_a_packed_batch_moves_as_a_whole():
    batch = next(batches_of(corpus(10), packing=True)).to("meta")
    assert batch.source_segments is not None
    assert batch.target_segments is not None
    assert batch.source_segments.device.type == batch.target_segments.device.type == "meta"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=60), st.integers(1, 4_000), st.randoms())
def test_long_texts_fill_no_long_rows_and_stand_with_others_of_their_length(lengths, budget, randoms):
    source = np.array(lengths, np.int64)
    target = np.full(len(lengths), 2, np.int64)
    order = randoms.sample(range(len(lengths)), len(lengths))
    layouts = pack(order, source, target, budget)
    assert sorted(np.concatenate([layout.pairs for layout in layouts])) == list(range(len(lengths)))
    for layout in layouts:
        totals, counts = np.bincount(layout.rows, source[layout.pairs]), np.bincount(layout.rows)
        assert (totals[counts > 1] <= LONGEST_ROW).all()
        assert len(totals) * totals.max() <= budget or len(totals) == 1


def test_batches_of_long_texts_come_between_those_of_short_ones_and_hold_little_padding():
    draw = np.random.default_rng(1)
    source = np.concatenate([draw.integers(5, 60, 400), draw.integers(300, 900, 100)])
    layouts = pack(draw.permutation(500).tolist(), source, np.full(500, 2), 4_096)
    long = [number for number, layout in enumerate(layouts) if source[layout.pairs].max() > 256]
    assert min(long) < len(layouts) / 3
    assert max(long) > len(layouts) / 3
    assert max(np.diff(long)) < len(layouts) / 2
    cells = 0
    for layout in layouts:
        totals = np.bincount(layout.rows, source[layout.pairs])
        cells += len(totals) * totals.max()
    assert 1 - source.sum() / cells < 0.15
