from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from onehop.nn import KV, Memory, State
from onehop.nn.state import Slots, over_time, static


@dataclass(frozen=True)
class Toy(State):
    """A state with each kind of field."""

    own: Tensor
    cache: tuple[KV, ...]
    name: str
    shared: tuple[KV, ...] = static()
    hint: Tensor | None = static()
    log: Tensor = over_time(1)


def kv(rows: int, size: int) -> KV:
    return KV(torch.randn(rows, 2, size, 3), torch.randn(rows, 2, size, 3))


def toy(examples: int, beams: int, size: int) -> Toy:
    rows = examples * beams
    return Toy(beams, torch.randn(rows, 4), (kv(rows, size), kv(rows, size)), "toy", (kv(examples, size + 2),),
               torch.randn(examples), torch.randn(rows, size, 2))  # fmt: skip


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.data())
def test_select_takes_whole_examples(examples: int, beams: int, data: st.DataObject):
    state = toy(examples, beams, 5)
    chosen = data.draw(st.lists(st.integers(0, examples - 1), max_size=5))
    found = state.select(torch.tensor(chosen, dtype=torch.int64))
    rows = [e * beams + k for e in chosen for k in range(beams)]
    assert torch.equal(found.own, state.own[rows])
    assert torch.equal(found.cache[1].values, state.cache[1].values[rows])
    assert torch.equal(found.shared[0].keys, state.shared[0].keys[chosen])
    assert found.hint is not None
    assert state.hint is not None
    assert torch.equal(found.hint, state.hint[chosen])
    assert (found.beams, found.name) == (beams, "toy")


def test_reorder_moves_rows_and_leaves_what_belongs_to_the_example():
    state, rows = toy(2, 3, 5), torch.tensor([2, 2, 0, 3, 5, 4])
    found = state.reorder(rows)
    assert torch.equal(found.own, state.own[rows])
    assert torch.equal(found.cache[0].keys, state.cache[0].keys[rows])
    assert found.shared[0].keys is state.shared[0].keys
    assert found.hint is state.hint


def test_expand_repeats_rows_next_to_each_other():
    state = toy(2, 1, 5)
    found = state.expand(3)
    assert torch.equal(found.own, state.own[[0, 0, 0, 1, 1, 1]])
    assert found.shared[0].values is state.shared[0].values
    assert found.beams == 3
    with pytest.raises(ValueError, match="3 beams already"):
        found.expand(3)


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 5), st.integers(0, 5))
def test_merge_pads_time_with_zeros_and_nothing_else(one: int, two: int, short: int, long: int):
    first, second = toy(one, 2, short), toy(two, 2, long)
    found, size = first.merge(second), max(short, long)
    assert torch.equal(found.own, torch.cat([first.own, second.own]))
    for name, part, rows in (("cache", found.cache[0], 2), ("shared", found.shared[0], 1)):
        assert part.keys.shape == (rows * (one + two), 2, size + (2 if name == "shared" else 0), 3)
    assert torch.equal(found.cache[0].keys[: 2 * one, :, :short], first.cache[0].keys)
    assert torch.equal(found.cache[0].keys[2 * one :, :, :long], second.cache[0].keys)
    assert not found.cache[0].keys[: 2 * one, :, short:].any()
    assert torch.equal(found.log[2 * one :, :long], second.log)
    with pytest.raises(ValueError, match="2 and 1 beams"):
        first.merge(toy(1, 1, 3))


def test_fork_copies_what_decoding_writes():
    state = toy(2, 2, 5)
    fork = state.fork()
    before = fork.own.clone()
    state.own.zero_()
    state.cache[0].keys.zero_()
    assert torch.equal(fork.own, before)
    assert fork.cache[0].keys.any()
    assert fork.shared[0].keys is state.shared[0].keys


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=4).flatmap(
    lambda row: st.tuples(st.lists(st.lists(st.integers(0, 3), min_size=len(row), max_size=len(row)), max_size=30),
                          st.booleans())))  # fmt: skip
def test_a_cache_holds_what_was_appended_in_order(case: tuple[list[list[int]], bool]):
    chunks, grad = case
    rows = len(chunks[0]) if chunks else 1
    slots = Slots(torch.zeros(rows, dtype=torch.int64))
    cache = KV(torch.zeros(rows, 2, 0, 3), torch.zeros(rows, 2, 0, 3))
    expected: list[list[Tensor]] = [[] for _ in range(rows)]
    with torch.set_grad_enabled(grad):
        for lengths in chunks:
            new = kv(rows, 3)
            new.keys.requires_grad_(grad)
            cache = cache.append(new, slots)
            slots = slots.advance(3, torch.tensor(lengths))
            for row, length in enumerate(lengths):
                expected[row] += list(new.keys[row, :, :length].unbind(1))
    assert slots.lengths.tolist() == [len(part) for part in expected]
    assert slots.size == max(len(part) for part in expected)
    assert slots.ragged or len({len(part) for part in expected}) == 1
    for row, part in enumerate(expected):
        assert torch.equal(cache.keys[row, :, : len(part)], torch.stack(part, 1) if part else torch.zeros(2, 0, 3))


def test_filled_gives_views_of_the_first_entries():
    cache = kv(2, 6)
    part = cache.filled(4)
    assert torch.equal(part.keys, cache.keys[:, :, :4])
    assert part.values.data_ptr() == cache.values.data_ptr()
    assert cache.filled(6) is cache


def test_merged_slots_are_ragged_where_lengths_differ():
    same = Slots(torch.tensor([3, 3]), 3).merge(Slots(torch.tensor([3]), 3))
    assert (same.lengths.tolist(), same.size, same.ragged) == ([3, 3, 3], 3, False)
    apart = Slots(torch.tensor([3]), 3).merge(Slots(torch.tensor([5]), 5))
    assert (apart.lengths.tolist(), apart.size, apart.ragged) == ([3, 5], 5, True)
    assert apart.advance(1, None).merge(same).ragged


def test_merged_memories_keep_the_lengths_of_both_also_where_all_rows_were_full() -> None:
    one, two = Memory(torch.randn(2, 3, 4)), Memory(torch.randn(1, 5, 4), torch.tensor([4]))
    both = one.merge(two)
    assert both.states.shape == (3, 5, 4)
    assert both.known_lengths().tolist() == [3, 3, 4]
    with pytest.raises(ValueError, match="packed"):
        one.merge(Memory(torch.randn(1, 3, 4), segments=torch.zeros(1, 3, dtype=torch.int64)))
