import copy
from functools import partial
from typing import Any

import torch

from onehop.data import Batch
from onehop.tasks.translation_loss import loss_sum
from onehop.train.loop import Update, loop
from onehop.train.optimizer import adamw
from tests.laws.cases import END, Case, every_value, sources
from tests.laws.close import assert_same

CASES = every_value


def batch(case: Case, *lengths: tuple[int, int]) -> Batch:
    """Return a batch of these source and target lengths, padded."""
    source = sources(*(s for s, _ in lengths))
    assert source.lengths is not None
    target_lengths = torch.tensor([t for _, t in lengths])
    target = case.targets(len(lengths), int(target_lengths.max()) + 1)[:, 1:]
    target.masked_fill_(torch.arange(target.size(1)) >= target_lengths.unsqueeze(1), 0)
    target.scatter_(1, target_lengths.unsqueeze(1) - 1, END)
    pairs = tuple(range(len(lengths)))
    return Batch(source.tokens, source.lengths, target, target_lengths, pairs, int(target_lengths.sum()))


def joined(one: Batch, two: Batch) -> Batch:
    """Return two batches as one."""

    def cat(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        width = max(a.size(1), b.size(1))
        return torch.cat([torch.nn.functional.pad(x, [0, width - x.size(1)]) for x in (a, b)])

    return Batch(
        cat(one.source, two.source), torch.cat([one.source_lengths, two.source_lengths]),
        cat(one.target, two.target), torch.cat([one.target_lengths, two.target_lengths]),
        one.pairs + two.pairs, one.num_targets + two.num_targets,
    )  # fmt: skip


def trained(model: Any, batches: list[Batch], accumulate: int) -> tuple[list[Update], dict[str, torch.Tensor]]:
    model = copy.deepcopy(model)
    optimizer = adamw(model, weight_decay=0.1, betas=(0.9, 0.98), epsilon=1e-9)
    task = partial(loss_sum, smoothing=0.1)
    updates = list(loop(model, task, iter(batches), optimizer, lambda: 1e-2, accumulate=accumulate))
    return updates, dict(model.named_parameters())


def test_small_batches_accumulated_are_one_big_batch(case: Case):
    model = case.model()
    small = [batch(case, *lengths) for lengths in ([(5, 6), (2, 1)], [(3, 9)], [(4, 2), (1, 4), (7, 3)], [(6, 5)])]
    big = [joined(small[0], small[1]), joined(small[2], small[3])]
    apart, weights = trained(model, small, 2)
    together, expected = trained(model, big, 1)
    assert [u.num_targets for u in apart] == [u.num_targets for u in together] == [16, 14]
    for name in ("loss", "norm"):
        found, wanted = (torch.tensor([getattr(u, name) for u in updates]) for updates in (apart, together))
        assert_same(found, wanted, 1e-6)
    assert_same(weights, expected, 1e-6)
    still = [name for name, p in model.named_parameters() if torch.equal(expected[name], p)]
    assert all(gets_no_gradient(case, name) for name in still), still


def gets_no_gradient(case: Case, name: str) -> bool:
    """Whether a parameter has no gradient by what it is for: it asks for, or is, what a score by place does not read.

    Nor does a hard choice pass any to what it was made by.
    """
    chosen = set(case.row.values())
    return (
        (bool(chosen & {"location", "hard"}) and name.endswith(("projections.key.bias", "projections.query.bias")))
        or ("hard" in chosen and name.endswith("cross_residual.before.weight"))
    )  # fmt: skip


def test_a_last_group_of_fewer_batches_is_used_as_it_is(case: Case):
    model = case.model()
    small = [batch(case, (5, 6)), batch(case, (3, 4)), batch(case, (2, 3))]
    apart, weights = trained(model, small, 2)
    _, expected = trained(model, [joined(small[0], small[1]), small[2]], 1)
    assert [u.num_targets for u in apart] == [10, 3]
    assert_same(weights, expected, 1e-6)
