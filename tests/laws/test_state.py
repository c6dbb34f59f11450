"""A state is a value: rows of it may be chosen, ordered, multiplied, joined and doubled."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from onehop.decode import BeamSearch, Hypothesis, Rules, penalty, search, stepper
from onehop.nn import Source
from onehop.nn.state import Batched
from tests.laws.cases import BEGIN, END, PAD, Case, sources
from tests.laws.close import assert_same

SHAPES = True
LENGTHS = (5, 2, 7)


def read(model: Any, source: Source, tokens: Tensor) -> Any:
    """Return the state of `source` behind `tokens`."""
    return model.decode(tokens, model.start(model.encode(source)))[1]


def tensors(value: Any) -> list[Tensor]:
    """Return every tensor of a state, however deep."""
    if isinstance(value, Tensor):
        return [value]
    parts = list(vars_of(value)) if isinstance(value, Batched) else value if isinstance(value, tuple) else ()
    return [tensor for part in parts for tensor in tensors(part)]


def vars_of(value: Any) -> list[Any]:
    return [getattr(value, name) for name in value.__dataclass_fields__]


@torch.no_grad()
def test_selecting_examples_then_decoding_is_decoding_then_selecting(case: Case):
    model, source, more = case.model(), sources(*LENGTHS), case.targets(3, 3)
    tokens, chosen = case.targets(3, 4), torch.tensor([2, 0, 0])
    whole, _ = model.decode(more, read(model, source, tokens))
    part, _ = model.decode(more[chosen], read(model, source, tokens).select(chosen))
    assert_same(part, whole[chosen])


@torch.no_grad()
def test_permuting_beams_then_decoding_is_decoding_then_permuting(case: Case):
    model, source = case.model(), sources(*LENGTHS)
    rows = torch.tensor([1, 0, 0, 3, 5, 4, 8, 8, 7])  # within each example's three beams
    first, second = case.targets(9, 2), case.targets(9, 3)
    state = model.decode(first, model.start(model.encode(source)).expand(3))[1]
    whole, _ = model.decode(second, state.fork())
    permuted, _ = model.decode(second[rows], state.reorder(rows))
    assert_same(permuted, whole[rows])


@torch.no_grad()
def test_a_beam_decodes_as_an_example_of_its_own(case: Case):
    model, source, tokens = case.model(), sources(*LENGTHS), case.targets(6, 5)
    state = model.decode(tokens[:, :3], model.start(model.encode(source)).expand(2))[1]
    beams, _ = model.decode(tokens[:, 3:], state)
    assert source.lengths is not None
    copies = Source(source.tokens.repeat_interleave(2, 0), source.lengths.repeat_interleave(2, 0))
    alone, _ = model.decode(tokens, model.start(model.encode(copies)))
    assert_same(beams, alone[:, 3:])


@torch.no_grad()
def test_selecting_examples_keeps_all_their_beams(case: Case):
    model, source, tokens = case.model(), sources(*LENGTHS), case.targets(6, 5)
    state = model.decode(tokens[:, :3], model.start(model.encode(source)).expand(2))[1]
    whole, _ = model.decode(tokens[:, 3:], state.fork())
    rows = torch.tensor([4, 5, 0, 1])
    part, _ = model.decode(tokens[rows, 3:], state.select(torch.tensor([2, 0])))
    assert_same(part, whole[rows])


@torch.no_grad()
def test_expanding_and_reordering_copy_nothing_of_the_source(case: Case):
    model, memory = case.model(), None
    memory = model.encode(sources(*LENGTHS))
    state = model.start(memory)
    wide = state.expand(4)
    moved = wide.reorder(torch.randperm(12))
    held = [x for x in tensors(state) if x.numel() and x.size(0) == 3]
    kept = {x.data_ptr() for x in tensors(moved)}
    shared = [x for x in held if x.data_ptr() in kept]
    assert shared
    if any(x.dim() > 2 for x in held):  # the decoder reads every position, not only a summary
        assert sum(x.numel() for x in shared) >= memory.states.size(1) * 3
        assert max(x.numel() for x in held) == max(x.numel() for x in shared)
    assert all(x.size(0) in (3, 12) for x in tensors(moved))


@torch.no_grad()
def test_a_state_can_be_expanded_once_only(case: Case):
    model = case.model()
    state = model.start(model.encode(sources(3)))
    with pytest.raises(ValueError, match="2 beams already"):
        state.expand(2).expand(2)
    with pytest.raises(ValueError, match="1 and 3 beams"):
        state.merge(state.expand(3))


@torch.no_grad()
def test_merged_states_of_different_lengths_decode_as_apart(case: Case):
    model, beams = case.model(), 2
    long, short, new = sources(7, 3), sources(2, 4, 3), sources(5)
    states = [
        read_wide(model, source, case.targets(len(source.tokens) * beams, width), beams)
        for source, width in ((long, 6), (short, 2))
    ] + [model.start(model.encode(new)).expand(beams)]
    tokens = [case.targets(rows * beams, 4) for rows in (2, 3, 1)]
    apart = [decode_twice(model, state.fork(), chunk) for state, chunk in zip(states, tokens, strict=True)]
    for order in ([0, 1, 2], [2, 1, 0]):
        first, second, third = (states[i].fork() for i in order)
        together = decode_twice(model, first.merge(second).merge(third), torch.cat([tokens[i] for i in order]))
        assert_same(together, torch.cat([apart[i] for i in order]))


def read_wide(model: Any, source: Source, tokens: Tensor, beams: int) -> Any:
    return model.decode(tokens, model.start(model.encode(source)).expand(beams))[1]


def decode_twice(model: Any, state: Any, tokens: Tensor) -> Tensor:
    first, state = model.decode(tokens[:, :1], state)
    return torch.cat([first, model.decode(tokens[:, 1:], state)[0]], 1)


@torch.no_grad()
def test_a_fork_and_its_origin_do_not_touch_each_other(case: Case):
    model, source, tokens = case.model(), sources(*LENGTHS), case.targets(3, 12)
    state = model.decode(tokens[:, 3:4], read(model, source, tokens[:, :3]))[1]  # now there is room to write into
    fork = state.fork()
    before = [x.clone() for x in tensors(fork)]
    ours, _ = model.decode(tokens[:, 4:8], state)
    assert all(torch.equal(x, y) for x, y in zip(tensors(fork), before, strict=True))
    other, _ = model.decode(tokens[:, 8:], fork)
    for found, rest in ((ours, tokens[:, 4:8]), (other, tokens[:, 8:])):
        whole, _ = model.decode(torch.cat([tokens[:, :4], rest], 1), model.start(model.encode(source)))
        assert_same(found, whole[:, 4:])


@torch.no_grad()
def test_examples_admitted_while_others_run_find_the_same_hypotheses(case: Case):
    model, limits = case.model(), [9, 3, 8, 6]
    source = sources(5, 2, 7, 4)
    rules = Rules(2, penalty("wu", 0.6), BEGIN, END, (PAD, BEGIN), stop="bound")
    expected = search(stepper(model), model.start(model.encode(source)), rules, limits)
    machine = BeamSearch(rules)
    state: Any = None
    for when in ((0, 1), (2,), (3,)):
        chosen = torch.tensor(when)
        assert source.lengths is not None
        part = Source(source.tokens[chosen], source.lengths[chosen])
        assert machine.admit([limits[i] for i in when]) == list(when)
        fresh = model.start(model.encode(part)).expand(2)
        state = fresh if state is None else state.merge(fresh)
        state = advance(model, machine, state, 2 if when != (3,) else 99)
    assert [hypotheses(machine.finished[i]) for i in range(4)] == [hypotheses(found) for found in expected]
    found = [h.log_prob for i in range(4) for h in machine.finished[i]]
    assert_same(torch.tensor(found), torch.tensor([h.log_prob for hs in expected for h in hs]), 1e-5)


def advance(model: Any, machine: BeamSearch, state: Any, steps: int) -> Any:
    for _ in range(steps):
        if not machine.ids:
            break
        logits, state = stepper(model)(machine.last, state)
        rows, keep = machine.advance(logits)
        state = state.reorder(rows)
        state = state if keep is None else state.select(keep)
    return state


def hypotheses(found: list[Hypothesis]) -> list[Hypothesis]:
    return [replace(h, log_prob=0.0, score=0.0) for h in found]
