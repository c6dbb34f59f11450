"""The loss of a model that draws where it looks, as training sees it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from onehop.data import Batch
from onehop.errors import ConfigError
from onehop.models import build
from onehop.nn.attention.selects import Hard
from onehop.tasks.translation_loss import loss_sum
from onehop.train import train
from onehop.train.loop import loop
from onehop.train.objective import objective
from onehop.train.recipe import TrainConfig
from tests.fixtures.tiny import tiny_recipe
from tests.laws.close import assert_same, gradients

TRANSFORMER = {"dim": 16, "ffn_dim": 24, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 2}
FAMILIES = {
    "transformer": ("transformer", {**TRANSFORMER, "cross_select": "hard"}),
    "recurrent": ("recurrent", {"dim": 16, "hidden_dim": 16, "select": "hard"}),
    "recurrent-at-once": ("recurrent", {"dim": 16, "hidden_dim": 16, "select": "hard", "query": "current"}),
}


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(3)
    family, settings = FAMILIES[request.param]
    return build(family, {**settings, "dropout": 0.0, "hard_expected": 0.0}, 30).double().train()


@pytest.fixture
def best_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the best key, so that two ways to one loss draw alike."""
    monkeypatch.setattr(Hard, "draw", lambda self, weights: weights.argmax(-1, keepdim=True))


def batch(*lengths: tuple[int, int]) -> Batch:
    source, target = (torch.tensor(side) for side in zip(*lengths, strict=True))
    rows = [torch.randint(3, 30, (len(lengths), int(side.max()))) for side in (source, target)]
    return Batch(rows[0], source, rows[1], target, tuple(range(len(lengths))), int(target.sum()))


def joined(one: Batch, other: Batch) -> Batch:
    """Return the rows of two batches of equal widths as one batch."""
    sides = [
        torch.cat([getattr(b, name) for b in (one, other)])
        for name in ("source", "source_lengths", "target", "target_lengths")
    ]
    return Batch(*sides, (0, 1, 2, 3), one.num_targets + other.num_targets)


def test_the_loss_is_the_cross_entropy_and_the_maps_of_hard_attention_learn(model: Any, best_drawn: None):
    pairs, learn = batch((5, 4), (3, 6)), objective(TrainConfig(), "cpu")
    found, plain = learn(model, pairs), loss_sum(model, pairs, 0.1)
    assert_same(found, plain)
    learned, blind = gradients(model, found), gradients(model, plain)
    maps = [name for name in learned if ("score" in name or "projections.query" in name) and "encoder" not in name]
    cross = [name for name in maps if not blind[name].any()]
    assert cross
    assert all(learned[name].any() for name in cross)


def test_small_batches_accumulated_are_one_big_batch(model: Any, best_drawn: None):
    first, second = batch((5, 4), (3, 6)), batch((5, 2), (1, 6))
    learn = objective(TrainConfig(), "cpu")
    apart = [gradients(model, learn(model, pairs)) for pairs in (first, second)]
    learn.updated()
    baseline = learn.state_dict()
    learn.load_state_dict({})
    whole = gradients(model, learn(model, joined(first, second)))
    learn.updated()
    assert baseline["baseline"] == pytest.approx(learn.state_dict()["baseline"], abs=1e-12)
    for name in whole:
        assert_same(apart[0][name] + apart[1][name], whole[name])


def test_a_packed_batch_teaches_what_its_pairs_do(model: Any, best_drawn: None):
    pairs, learn = batch((3, 4), (2, 3)), objective(TrainConfig(), "cpu")
    segments = [torch.tensor([[0] * a + [1] * b + [-1]]) for a, b in ((3, 2), (4, 3))]
    lengths = [(pairs.source, pairs.source_lengths), (pairs.target, pairs.target_lengths)]
    rows = [torch.cat([side[0, : n[0]], side[1, : n[1]], torch.zeros(1).long()])[None] for side, n in lengths]
    packed = Batch(rows[0], torch.tensor([5]), rows[1], torch.tensor([7]), (0, 1), 7, *segments)
    found, wanted = (gradients(model, learn(model, each)) for each in (packed, pairs))
    for name in wanted:
        assert_same(found[name], wanted[name])


def test_a_model_that_only_measures_draws_nothing_and_has_the_plain_loss(model: Any):
    pairs, learn = batch((5, 4), (3, 6)), objective(TrainConfig(), "cpu")
    model.eval()
    assert_same(learn(model, pairs), loss_sum(model, pairs, 0.1))
    learn.updated()
    assert learn.state_dict() == {}


def test_the_loop_trains_it(model: Any):
    learn, pairs = objective(TrainConfig(), "cpu"), batch((5, 4), (3, 6))
    sgd = torch.optim.SGD(model.parameters())
    before = {name: p.clone() for name, p in model.named_parameters()}
    updates = list(loop(model, learn, iter([pairs] * 2), sgd, lambda: 0.1))
    assert not any(update.skipped for update in updates)
    unmoved = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert unmoved == []


@pytest.mark.parametrize(("key", "value"), [("r_drop", 5.0), ("activation_checkpointing", True)])
def test_what_passes_a_batch_twice_is_refused_where_a_model_draws(key: str, value: Any, tmp_path: Path, pairs: str):
    with pytest.raises(ConfigError, match="hard attention draws") as caught:
        train(tiny_recipe(pairs, train={key: value}, model={"cross_select": "hard"}), tmp_path / "run")
    assert caught.value.where == f"train.{key}"
    assert "gumbel" in caught.value.remedy
