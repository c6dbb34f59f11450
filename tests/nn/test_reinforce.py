"""What hard attention learns from its draws, against the exact gradient: the sum over everything that may be drawn."""

from itertools import product
from math import nan

import pytest
import torch
from torch import Tensor, nn

from onehop.nn import Attention, Mask, Projections
from onehop.nn.attention.scores import scaled_dot
from onehop.nn.attention.selects import Gumbel, Hard, Select, StraightThrough, choices
from onehop.nn.reinforce import Reinforce

KEYS, STEPS, DRAWS = 4, 3, 20_000
ERRORS = 3.0  # standard errors that a mean may lie away
DOUBLE = torch.float64


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(5)


def task() -> tuple[Tensor, list[Tensor]]:
    """Return scores `(T, S)`, and the loss of each token by the keys drawn up to it."""
    return torch.randn(STEPS, KEYS, dtype=DOUBLE), [
        3 + torch.randn([KEYS] * (t + 1), dtype=DOUBLE) for t in range(STEPS)
    ]


def exact(scores: Tensor, losses: list[Tensor]) -> Tensor:
    """Return the gradient of the expected loss by the scores."""
    scores = scores.clone().requires_grad_()
    probs, total = scores.softmax(-1), torch.zeros((), dtype=DOUBLE)
    for drawn in product(range(KEYS), repeat=STEPS):
        chance = torch.stack([probs[t, key] for t, key in enumerate(drawn)]).prod()
        total = total + chance * sum(float(losses[t][drawn[: t + 1]]) for t in range(STEPS))
    return torch.autograd.grad(total, scores)[0]


def estimates(scores: Tensor, losses: list[Tensor], learn: Reinforce) -> Tensor:
    """Return the gradient by the scores of each of many draws."""
    leaf = scores.expand(DRAWS, 1, STEPS, KEYS).clone().requires_grad_()
    with choices() as made:
        weights = Hard(expected=0.0).train()(leaf)
    drawn = weights.squeeze(1).argmax(-1)
    each = torch.stack([losses[t][tuple(drawn[:, : t + 1].T)] for t in range(STEPS)], 1)
    term = learn.term(made, each, torch.ones(DRAWS, STEPS, dtype=torch.bool), guess=0.0)
    return torch.autograd.grad(term, leaf)[0].squeeze(1)


def away(found: Tensor, expected: Tensor) -> float:
    """Return how many standard errors the mean of `found (N, ...)` lies from what it should be, at most."""
    error = found.std(0) / len(found) ** 0.5
    return float(((found.mean(0) - expected).abs() / error.clamp(min=1e-12)).max())


@pytest.mark.parametrize("baseline", [None, -3.0])
def test_the_mean_of_the_estimates_is_the_exact_gradient_with_or_without_a_baseline(baseline: float | None):
    scores, losses = task()
    learn = Reinforce(entropy=0.0)
    learn.baseline = baseline
    assert away(estimates(scores, losses, learn), exact(scores, losses)) < ERRORS


def test_a_draw_is_not_judged_by_what_came_before_it_and_a_baseline_lowers_the_variance():
    scores, losses = task()
    plain, with_baseline = Reinforce(entropy=0.0), Reinforce(entropy=0.0)
    with_baseline.baseline = -3.0
    before, after = (float(estimates(scores, losses, x).var(0).sum()) for x in (plain, with_baseline))
    assert after < before / 4
    moved = [losses[0] + 100, *losses[1:]]  # the first token's loss concerns the first draw alone
    later = estimates(scores, moved, plain)[:, 1:]
    assert float(later.var(0).sum()) < 2 * before


@pytest.mark.parametrize("select", [StraightThrough(), Gumbel()])
def test_straight_through_and_gumbel_are_biased_where_the_loss_bends(select: Select):
    scores, values = torch.tensor([0.5, 0.0, -0.5], dtype=DOUBLE), torch.tensor([0.0, 1.0, 3.0], dtype=DOUBLE)
    leaf = scores.clone().requires_grad_()
    [wanted] = torch.autograd.grad((leaf.softmax(-1) * values.square()).sum(), leaf)
    many = scores.expand(DRAWS, 1, 3).clone().requires_grad_()
    [found] = torch.autograd.grad((select(many) @ values).square().sum(), many)
    assert away(found.squeeze(1) + 1e-9 * torch.randn(DRAWS, 3, dtype=DOUBLE), wanted) > 10 * ERRORS


def test_the_entropy_is_raised_and_padding_teaches_nothing():
    scores = torch.randn(2, 1, 3, KEYS, dtype=DOUBLE, requires_grad=True)
    real = torch.tensor([[True, True, False], [True, False, False]])
    with choices() as made:
        Hard(expected=0.0).train()(scores)
    [found] = torch.autograd.grad(Reinforce(0.0, 0.5).term(made, real.to(DOUBLE), real, 0.0), scores)
    probs = scores.softmax(-1)
    entropy = -(probs * probs.log()).sum(-1).squeeze(1)
    [wanted] = torch.autograd.grad(-0.5 * entropy[real].sum(), scores)
    torch.testing.assert_close(found, wanted)


def test_calls_step_by_step_count_as_one_call_and_layers_add_up():
    scores, real = torch.randn(2, 2, 3, KEYS), torch.ones(2, 3, dtype=torch.bool)
    losses = torch.rand(2, 3)

    def gradient(parts: list[Tensor]) -> list[Tensor]:
        torch.manual_seed(1)
        leaves = [part.clone().requires_grad_() for part in parts]
        with choices() as made, pytest.MonkeyPatch.context() as patch:
            patch.setattr(Hard, "draw", lambda self, weights: weights.argmax(-1, keepdim=True))
            for leaf in leaves:
                Hard(expected=0.0).train()(leaf)
        return list(torch.autograd.grad(Reinforce().term(made, losses, real, -1.0), leaves))

    [whole] = gradient([scores])
    torch.testing.assert_close(torch.cat(gradient(list(scores.split(1, 2))), 2), whole)
    torch.testing.assert_close(gradient([scores, scores]), [whole, whole])


def hear(learn: Reinforce, *losses: float) -> None:
    real = torch.ones(1, len(losses), dtype=torch.bool)
    with choices() as made:
        Hard(expected=0.0).train()(torch.zeros(1, 1, len(losses), 2))
    learn.term(made, torch.tensor([losses]), real, guess=0.0)


def test_the_baseline_moves_by_a_tenth_of_each_update_however_many_batches_it_had():
    learn = Reinforce()
    hear(learn, 4.0, 2.0)
    learn.updated()
    assert learn.baseline == -3.0
    hear(learn, 1.0)
    hear(learn, 2.0, 3.0)
    learn.updated()
    assert learn.baseline == pytest.approx(0.9 * -3 + 0.1 * -2)


def test_the_baseline_survives_a_resume_and_hears_neither_nan_nor_what_is_only_measured():
    learn, other = Reinforce(), Reinforce()
    assert learn.state_dict() == {}
    hear(learn, 1.0)
    learn.updated()
    other.load_state_dict(learn.state_dict())
    assert other.baseline == -1.0
    hear(other, nan)
    other.updated()
    with other.unheard():
        hear(other, 7.0)
    other.updated()
    assert other.baseline == -1.0


class Lookup(nn.Module):
    """A table of keys and values, and a question: the value of one key, read by one hard attention."""

    def __init__(self, keys: int, values: int, dim: int = 24) -> None:
        super().__init__()
        self.key, self.value = nn.Embedding(keys, dim), nn.Embedding(values, dim)
        self.asks, self.answers = nn.Embedding(keys, dim), nn.Linear(dim, values)
        maps = Projections(dim, dim, 1, 1, dim, bias=False)
        self.read = Attention(
            maps, nn.Linear(dim, dim), num_heads=1, num_kv_heads=1, score=scaled_dot(dim), select=Hard(expected=0.0)
        )

    def forward(self, keys: Tensor, values: Tensor, question: Tensor) -> Tensor:
        where = torch.arange(keys.size(1)).expand(keys.shape)
        kv = self.read.project(self.key(keys) + self.value(values), where)
        return self.answers(self.read.read(self.asks(question).unsqueeze(1), kv, Mask(), where[:, :1])).squeeze(1)


def looked_up(reward: float, updates: int = 1500, keys: int = 6, values: int = 8) -> float:
    """Return the share of right answers after learning with so much reward."""
    model, learn = Lookup(keys, values).train(), Reinforce(reward, 0.01)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)

    def draw(rows: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        table, answers = torch.rand(rows, keys).argsort(1), torch.randint(0, values, (rows, keys))
        asked = torch.randint(0, keys, (rows,))
        return table, answers, table.gather(1, asked.unsqueeze(1)).squeeze(1), answers.gather(1, asked.unsqueeze(1))

    for _ in range(updates):
        table, answers, question, right = draw(128)
        with choices() as made:
            logits = model(table, answers, question)
        losses = nn.functional.cross_entropy(logits, right.squeeze(1), reduction="none")
        term = learn.term(made, losses.detach().unsqueeze(1), torch.ones(128, 1, dtype=torch.bool), guess=-2.0)
        optimizer.zero_grad()
        ((losses.sum() + term) / 128).backward()
        optimizer.step()
        learn.updated()
    table, answers, question, right = draw(1000)
    return float((model.eval()(table, answers, question).argmax(-1) == right.squeeze(1)).float().mean())


@pytest.mark.slow
def test_where_to_look_is_learned_from_reward_alone():
    assert looked_up(1.0) >= 0.95
    assert looked_up(0.0) < 0.5  # draws that learn nothing find the right key by chance
