"""What saves time or memory in training changes neither loss nor gradients, to the stated tolerance."""

import copy
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from onehop.nn import cross_entropy
from onehop.nn.interfaces import Source
from onehop.tasks.translation_loss import loss_sum, shift_right
from onehop.train.flops import flops_per_cell
from onehop.train.recompute import recompute
from tests.laws.cases import Case, every_value
from tests.laws.close import assert_same, gradients
from tests.laws.test_accumulation import batch

CASES, SHAPES = every_value, True

LENGTHS = [(5, 6), (2, 1), (7, 9), (3, 4)]


def test_the_loss_over_chunks_is_the_loss_over_all_logits(case: Case):
    model, pairs = case.model(), batch(case, *LENGTHS)
    hidden, _ = model.decode(
        shift_right(pairs.target), model.start(model.encode(Source(pairs.source, pairs.source_lengths)))
    )
    real = torch.arange(pairs.target.size(1)) < pairs.target_lengths.unsqueeze(1)
    plain = cross_entropy(model.logits(hidden)[real], pairs.target[real], 0.1)
    chunked = loss_sum(model, pairs, 0.1)
    assert_same(chunked, plain)
    assert_same(gradients(model, chunked), gradients(model, plain))


def test_activations_computed_again_give_the_same_bits(case: Case):
    model = case.build(dropout=0.3).train()
    again = copy.deepcopy(model)
    found: list[Any] = []
    for each in (model, again):
        torch.manual_seed(7)
        loss = loss_sum(each, batch_of(case), 0.1)
        found.append((loss.detach(), gradients(each, loss)))
        if each is model and not recompute(again):
            raise AssertionError("no block to compute again")
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(found[0][1][name], found[1][1][name]) for name in found[0][1])


def test_operations_are_counted_as_train_does_before_its_first_update(case: Case):
    model = case.model()
    pairs = batch(case, *LENGTHS)
    found = flops_per_cell(model, lambda each, few: loss_sum(each, few, 0.1), pairs)
    assert all(parameter.grad is None for parameter in model.parameters())
    added = {torch.ops.aten.addmm_: lambda added, one, two, **_: 2 * one[0] * one[1] * two[1]}
    with torch.random.fork_rng(), FlopCounterMode(display=False, custom_mapping=added) as counter:
        gradients(model, loss_sum(model, pairs, 0.1))
    assert found == counter.get_total_flops() / pairs.num_cells > 0


def batch_of(case: Case) -> Any:
    torch.manual_seed(3)
    pairs = batch(case, *LENGTHS)
    torch.manual_seed(7)
    return pairs


def test_r_drop_without_dropout_is_the_plain_loss(case: Case):
    model, pairs = case.model(), batch(case, *LENGTHS)
    plain, twice = loss_sum(model, pairs, 0.1), loss_sum(model, pairs, 0.1, r_drop=5.0)
    assert_same(twice, plain)
    assert_same(gradients(model, twice), gradients(model, plain), 1e-9)


def test_bfloat16_gives_the_loss_to_a_hundredth_and_the_gradient_to_a_quarter(case: Case):
    torch.manual_seed(1)
    model, pairs = case.build(), batch(case, *LENGTHS)
    torch.manual_seed(2)
    exact = loss_sum(model, pairs, 0.1)
    wanted = torch.cat([g.flatten() for g in gradients(model, exact).values()])
    torch.manual_seed(2)  # Gumbel's noise is the same
    with torch.autocast("cpu", torch.bfloat16):
        near = loss_sum(model, pairs, 0.1)
    found = torch.cat([g.flatten() for g in gradients(model, near).values()])
    assert near.dtype == found.dtype == torch.float32
    chooses = {"gumbel", "straight_through", "hard"} & {case.row.get("select"), case.row.get("cross_select")}
    loss, gradient = (5e-2, 0.5) if chooses else (1e-2, 0.25)  # rounding may choose the other of two keys as good
    assert abs(float((near / exact).detach()) - 1) < loss
    assert float((found - wanted).norm() / wanted.norm()) < gradient  # 0.305 is the worst, 0.013 the median
