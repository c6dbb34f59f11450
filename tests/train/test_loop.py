from types import SimpleNamespace

import pytest
import torch
from torch import nn

from onehop.models import build
from onehop.train import adamw, loop
from onehop.train.optimizer import load_optimizer_tensors, optimizer_tensors


def batch(count: int) -> SimpleNamespace:
    return SimpleNamespace(x=torch.randn(count, 3), y=torch.randn(count, 1), num_targets=count)


def loss_sum(model: nn.Module, given: SimpleNamespace) -> torch.Tensor:
    return ((model(given.x) - given.y) ** 2).sum()


def trained(batches, steps: int, **settings):
    torch.manual_seed(1)
    model = nn.Linear(3, 1)
    sgd = torch.optim.SGD(model.parameters())
    updates = loop(model, loss_sum, iter(batches), sgd, lambda: 0.1, **settings)
    return [next(updates) for _ in range(steps)], model


def test_accumulated_batches_of_unequal_size_are_one_large_batch():
    parts = [batch(1), batch(5), batch(2)]
    whole = SimpleNamespace(
        x=torch.cat([p.x for p in parts]),
        y=torch.cat([p.y for p in parts]),
        num_targets=sum(p.num_targets for p in parts),
    )
    (one,), first = trained(parts, 1, accumulate=3)
    (other,), second = trained([whole], 1)
    assert (one.num_targets, one.loss, one.norm) == (8, pytest.approx(other.loss), pytest.approx(other.norm))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_last_group_that_is_not_full_is_used_and_then_it_ends():
    updates, _ = trained([batch(2), batch(3), batch(4)], 2, accumulate=2)
    assert [update.num_targets for update in updates] == [5, 4]
    with pytest.raises(StopIteration):
        trained([batch(2)], 2)


def test_a_gradient_longer_than_the_limit_is_scaled_to_it_and_its_length_told():
    given = batch(4)
    (free,), before = trained([given], 1, max_norm=0.0)
    (cut,), after = trained([given], 1, max_norm=free.norm / 2)
    (same,), untouched = trained([given], 1, max_norm=free.norm * 2)
    assert free.norm == cut.norm == same.norm
    _, start = trained([], 0)
    for name, value in start.state_dict().items():
        step = before.state_dict()[name] - value
        torch.testing.assert_close(after.state_dict()[name] - value, step / 2, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(untouched.state_dict()[name] - value, step)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_changes_no_weight_and_training_goes_on(poison):
    bad = batch(2)
    bad.x[0, 0] = poison
    updates, model = trained([bad, batch(2)], 2)
    assert [update.skipped for update in updates] == [True, False]
    _, start = trained([], 0)
    skipped, unmoved = trained([bad], 1)
    assert skipped[0].skipped
    assert all(torch.equal(a, b) for a, b in zip(unmoved.parameters(), start.parameters(), strict=True))
    assert all(torch.isfinite(p).all() for p in model.parameters())


def small() -> nn.Module:
    torch.manual_seed(3)
    settings = {"dim": 8, "ffn_dim": 8, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 1}
    return build("transformer", {**settings, "attention_bias": True}, 20)


def test_weight_decay_shrinks_matrices_and_neither_biases_nor_norms_nor_embeddings():
    model = small()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = adamw(model, weight_decay=0.5, betas=(0.9, 0.98), epsilon=1e-9)
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    shrunk = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert shrunk == {name for name, p in model.named_parameters() if p.dim() > 1 and "embedding" not in name}
    for name in shrunk:
        torch.testing.assert_close(model.get_parameter(name).detach(), before[name] * 0.95)


def test_an_optimizer_put_back_by_name_goes_on_as_the_one_that_was_taken_down():
    def step(model, optimizer, seed):
        torch.manual_seed(seed)
        for group in optimizer.param_groups:
            group["lr"] = 0.1
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()

    settings = {"weight_decay": 0.1, "betas": (0.9, 0.98), "epsilon": 1e-9}
    model, other = small(), small()
    first, second = adamw(model, **settings), adamw(other, **settings)
    step(model, first, 1)
    other.load_state_dict(model.state_dict())
    load_optimizer_tensors(other, second, {k: v.clone() for k, v in optimizer_tensors(model, first).items()})
    step(model, first, 2)
    step(other, second, 2)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
