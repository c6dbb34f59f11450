from typing import Any

import torch
from torch import Tensor

from onehop.nn.state import SPARE
from tests.laws.cases import Case, sources
from tests.laws.close import assert_same, gradients

ROWS, WIDTH = 3, 9


def in_chunks(model: Any, memory: Any, tokens: Tensor, cuts: list[int]) -> Tensor:
    """Decode `tokens` chunk by chunk, `cuts` being where a new one begins."""
    state, hidden = model.start(memory), []
    for begin, end in zip([0, *cuts], [*cuts, tokens.size(1)], strict=True):
        chunk, state = model.decode(tokens[:, begin:end], state)
        hidden.append(chunk)
    return torch.cat(hidden, 1)


def random_cuts(width: int) -> list[int]:
    return sorted((torch.randperm(width - 1)[: int(torch.randint(1, 4, ()))] + 1).tolist())


def test_a_target_in_chunks_decodes_as_in_one_piece(case: Case):
    model, tokens = case.model(), case.targets(ROWS, WIDTH)
    memory = model.encode(sources(7, 2, 5))
    whole, _ = model.decode(tokens, model.start(memory))
    assert_same(in_chunks(model, memory, tokens, random_cuts(WIDTH)), whole)
    with torch.no_grad():
        for cuts in (random_cuts(WIDTH), random_cuts(WIDTH), list(range(1, WIDTH))):
            assert_same(in_chunks(model, memory, tokens, cuts), whole.detach())


def test_a_target_in_chunks_has_the_gradients_of_one_piece(case: Case):
    model, tokens, source = case.model(), case.targets(ROWS, WIDTH), sources(7, 2, 5)
    weights = torch.randn(ROWS, WIDTH, 16, dtype=torch.float64)
    whole, _ = model.decode(tokens, model.start(model.encode(source)))
    expected = gradients(model, (whole * weights).sum())
    pieces = in_chunks(model, model.encode(source), tokens, random_cuts(WIDTH))
    assert_same(gradients(model, (pieces * weights).sum()), expected)


def test_a_target_that_outgrows_what_was_allocated_decodes_as_in_one_piece(case: Case):
    model, tokens = case.model(), case.targets(2, 3 * SPARE)
    with torch.inference_mode():
        memory = model.encode(sources(4, 3))
        whole, _ = model.decode(tokens, model.start(memory))
        little_by_little = [3, 4, 3 + SPARE, 4 + SPARE, 5 + SPARE, 5 + 2 * SPARE]
        for cuts in (little_by_little, [3]):  # and more at once than is ever spare
            assert_same(in_chunks(model, memory, tokens, cuts), whole)


def test_the_state_may_be_continued_after_the_logits_were_read(case: Case):
    model, tokens = case.model(), case.targets(ROWS, 4)
    memory = model.encode(sources(7, 2, 5))
    first, state = model.decode(tokens[:, :2], model.start(memory))
    before = model.logits(first).clone()
    model.decode(tokens[:, 2:], state)
    assert torch.equal(model.logits(first), before)


def test_logits_do_not_depend_on_which_rows_meet_the_vocabulary(case: Case):
    model = case.model()
    hidden = torch.randn(2, 3, 4, 16, dtype=torch.float64)
    everything = model.logits(hidden)
    assert_same(model.logits(hidden[1]), everything[1])
    assert_same(model.logits(hidden[0, 1, 2:3]), everything[0, 1, 2:3])
